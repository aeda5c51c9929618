//! What the command line says, word for word: `cases/*.md`. After a change of words that is meant,
//! `TRYCMD=overwrite cargo test -p reseal-tests --test command_line cases` writes them anew; look at the difference.

use reseal_tests::reseal_bin;

#[test]
fn help_mistakes_and_first_steps_read_as_they_are_written_down() {
    trycmd::TestCases::new()
        .register_bin("reseal", reseal_bin())
        // A narrow terminal, nobody's own settings, and the same person everywhere.
        .env("COLUMNS", "80")
        .env("RESEAL_CONFIG", "reseal.toml")
        .env("RESEAL_DATA_DIR", "data")
        .env("RUST_LOG", "")
        .env("USER", "ada")
        .case("tests/command_line/cases/*.md");
}
