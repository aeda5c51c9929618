//! Promises of the configuration.

use std::{path::Path, time::Duration};

use reseal_config::{ChunkRows, Config, ConfigError, Origin, ReplicaLagMax};

const TABLE: &str = r#"
[[source]]
name = "app"
url = "sqlite:app.sqlite"

[[table]]
source = "app"
name = "messages"
primary_key = ["id"]
columns = [{ name = "a" }, { name = "b", keyset = "other" }]
"#;

fn load(toml: &str, env: &[(&str, &str)]) -> Result<Config, ConfigError> {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("reseal.toml");
    std::fs::write(&file, toml).unwrap();
    load_file(Some(&file), env).map(|loaded| loaded.config)
}

fn load_file(file: Option<&Path>, env: &[(&str, &str)]) -> Result<reseal_config::Loaded, ConfigError> {
    let home = [("HOME", "/home/u")];
    let env = home.iter().chain(env).map(|(k, v)| (k.to_string(), v.to_string()));
    Config::load_from(file, env)
}

/// The option that was refused, and the whole message.
fn refused(toml: &str, env: &[(&str, &str)]) -> (String, String) {
    let error = load(toml, env).expect_err("must be refused");
    let text = error.to_string();
    match error {
        ConfigError::Option { option, .. } => (option, text),
        other => (String::new(), other.to_string()),
    }
}

#[test]
fn the_production_example_loads() {
    let file = Path::new(env!("CARGO_MANIFEST_DIR")).join("production.example.toml");
    let loaded = load_file(Some(&file), &[]).unwrap();
    assert_eq!(loaded.origin, Origin::File(file));
    let config = loaded.config;
    assert_eq!(config.tables[0].columns[0].associated_data, "messages.encrypted_content:{id}");
    assert_eq!(config.rotation.require_clear_after().unwrap(), Duration::from_secs(7 * 86_400));
    assert!(config.sources[0].ddl_url.is_some());
}

#[test]
fn without_a_file_everything_is_in_the_data_folder() {
    let loaded = load_file(None, &[]).unwrap();
    assert_eq!(loaded.origin, Origin::Embedded);
    let config = loaded.config;
    assert_eq!(config.ledger.url.expose(), "sqlite:///home/u/.local/share/reseal/ledger.sqlite");
    assert_eq!(config.queue.url.expose(), "memory:");
    assert_eq!(config.rotation.clear_after, Some(Duration::from_secs(7 * 86_400)));
    let elsewhere = load_file(None, &[("RESEAL_DATA_DIR", "/d?%"), ("XDG_DATA_HOME", "/x")]).unwrap();
    assert_eq!(elsewhere.config.ledger.url.expose(), "sqlite:///d%3F%25/ledger.sqlite");
    assert_eq!(elsewhere.config.kek.uri.expose(), "file:/d?%/kek");
}

#[test]
fn the_demo_stays_in_its_folder_and_waits_for_nobody() {
    let config = Config::demo(Path::new("/srv/demo \"x"));
    assert_eq!(config.sources[0].url.expose(), "sqlite:///srv/demo \"x/app.sqlite");
    assert_eq!(config.tables.len(), 3);
    assert_eq!(config.rotation.clear_after, Some(Duration::ZERO));
    assert_eq!(config.rotation.writer_ttl, Duration::from_secs(1));
}

#[test]
fn a_file_gets_missing_sections_from_the_embedded_default_but_no_waiting_time() {
    let config = load(TABLE, &[]).unwrap();
    assert_eq!(config.queue.url.expose(), "memory:");
    assert_eq!(config.ledger.key_backup, Path::new("/home/u/.local/share/reseal/keys"));
    assert_eq!(config.rotation.chunk_rows, ChunkRows::Auto);
    assert_eq!(config.rotation.clear_after, None);
    let text = config.rotation.require_clear_after().unwrap_err().to_string();
    assert!(text.contains("rotation.clear_after") && text.contains("unreadable"), "{text}");
}

#[test]
fn an_unknown_key_names_its_path_and_the_file() {
    let (option, text) = refused(&TABLE.replace("keyset", "keysett"), &[]);
    assert_eq!(option, "table[0].columns[1].keysett");
    assert!(text.contains("reseal.toml: "), "{text}");
    let (option, text) = refused(TABLE, &[("RESEAL__ROTATION__BATCH_ROW", "10")]);
    assert_eq!(option, "rotation.batch_row");
    assert!(text.starts_with("environment variable RESEAL__ROTATION__BATCH_ROW: "), "{text}");
    assert_eq!(refused("[ledgr]\nurl = 'x'", &[]).0, "ledgr");
}

#[test]
fn a_wrong_type_or_size_names_its_path() {
    for (toml, option) in [
        ("[rotation]\nbatch_rows = 'many'", "rotation.batch_rows"),
        ("[rotation]\nbatch_rows = -1", "rotation.batch_rows"),
        ("[rotation]\nbatch_rows = 9", "rotation.batch_rows"),
        ("[rotation]\nchunk_rows = 'car'", "rotation.chunk_rows"),
        ("[rotation]\nchunk_rows = 5001", "rotation.chunk_rows"),
        ("[rotation]\noutstanding_batches_max = 2001", "rotation.outstanding_batches_max"),
        ("[rotation]\nclear_after = 7", "rotation.clear_after"),
        ("[rotation]\nclear_after = 'soon'", "rotation.clear_after"),
        ("[rotation]\ncryptoperiod = 'a season'", "rotation.cryptoperiod"),
        ("[rotation]\ncryptoperiod = '0s'", "rotation.cryptoperiod"),
        ("[worker]\nlanes = 0", "worker.lanes"),
        ("[server]\nbind = 'here'", "server.bind"),
        ("[server]\nrequests_per_second = 0", "server.requests_per_second"),
        ("[server]\ntls_certificate = 'a.pem'", "server.tls_key"),
        ("[server]\ntls_key = 'a.key'", "server.tls_certificate"),
        ("[kek]\nuri = 'kek'", "kek.uri"),
        ("[ledger]\nurl = 'sqlite:x'", "ledger.key_backup"),
        ("[ledger]\nkey_backup = 'x'", "ledger.url"),
        ("ledger = 'x'", "ledger"),
    ] {
        assert_eq!(refused(toml, &[]).0, option, "{toml}");
    }
}

#[test]
fn literal_braces_in_associated_data_are_doubled() {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("reseal.toml");
    std::fs::write(&file, TABLE.replace("keyset = \"other\"", "associated_data = '{{\"row\":{id}}}'")).unwrap();
    let loaded =
        reseal_config::Config::load_from(Some(&file), [("HOME".to_owned(), "/nowhere".to_owned())].into_iter());
    assert_eq!(loaded.unwrap().config.tables[0].columns[1].associated_data, "{{\"row\":{id}}}");
}

#[test]
fn a_table_that_cannot_be_right_is_refused_by_path() {
    for (from, to, option) in [
        ("\"b\"", "\"a\"", "table[0].columns[1].name"),
        ("[{ name = \"a\" }, { name = \"b\", keyset = \"other\" }]", "[]", "table[0].columns"),
        ("primary_key = [\"id\"]", "", "table[0].primary_key"),
        ("[\"id\"]", "[\"id\", \"id\"]", "table[0].primary_key"),
        ("source = \"app\"", "source = \"ap\"", "table[0].source"),
        ("keyset = \"other\"", "associated_data = \"b:{i}\"", "table[0].columns[1].associated_data"),
        ("keyset = \"other\"", "associated_data = \"b:{id\"", "table[0].columns[1].associated_data"),
        ("keyset = \"other\"", "format = \"raw\"", "table[0].columns[1].format"),
        ("keyset = \"other\"", "encoding = \"hex\"", "table[0].columns[1].encoding"),
        ("sqlite:app", "mysql://app", "source[0].url"),
    ] {
        assert!(TABLE.contains(from));
        assert_eq!(refused(&TABLE.replace(from, to), &[]).0, option, "{to}");
    }
    let (option, text) = refused(&format!("{TABLE}fence = \"none\""), &[]);
    assert_eq!(option, "table[0].fence");
    assert!(text.contains("clearing without a fence is not built yet"), "{text}");
    let (source, table) = TABLE.split_at(TABLE.find("[[table]]").unwrap());
    assert_eq!(refused(&format!("{source}{table}{table}"), &[]).0, "table[1].name");
    assert_eq!(refused(&format!("{source}{source}{table}"), &[]).0, "source[1].name");
    let ignored = TABLE.replace(
        "
[[table]]",
        "ignore_columns = ['a.b', 'x']
[[table]]",
    );
    assert_eq!(refused(&ignored, &[]).0, "source[0].ignore_columns[1]");
}

#[test]
fn a_replicas_lag_is_a_time_or_off_and_a_default_is_told_from_a_limit_that_was_written_down() {
    let with = |line: &str| TABLE.replace("[[table]]", &format!("{line}\n[[table]]"));
    let max = |line: &str| load(&with(line), &[]).unwrap().sources[0].replica_lag_max;
    assert_eq!(max(""), ReplicaLagMax::Default);
    assert_eq!(max("replica_lag_max = 'off'"), ReplicaLagMax::Off);
    assert_eq!(max("replica_lag_max = '1500ms'"), ReplicaLagMax::At(ReplicaLagMax::DEFAULT));
    assert_eq!(max("replica_lag_max = '1.5s'"), ReplicaLagMax::At(ReplicaLagMax::DEFAULT));
    for wrong in ["soon", "0s", "-1.5s", "NaNs", "infs"] {
        let (option, text) = refused(&with(&format!("replica_lag_max = '{wrong}'")), &[]);
        assert_eq!(option, "source[0].replica_lag_max");
        assert!(text.contains("write e.g. \"1.5s\""), "{text}");
    }
}

#[test]
fn the_two_person_rule_is_off_until_it_is_said_and_is_a_yes_or_a_no() {
    assert!(!load("", &[]).unwrap().rotation.two_person);
    assert!(load("[rotation]\ntwo_person = true", &[]).unwrap().rotation.two_person);
    assert!(load("", &[("RESEAL__ROTATION__TWO_PERSON", "true")]).unwrap().rotation.two_person);
    assert_eq!(refused("[rotation]\ntwo_person = \"ada\"", &[]).0, "rotation.two_person");
}

#[test]
fn a_url_and_its_file_are_never_both_taken() {
    let folder = tempfile::tempdir().unwrap();
    let secret = folder.path().join("url");
    std::fs::write(&secret, "postgres://u:hunter2@db/ledger\n").unwrap();
    let secret = secret.to_str().unwrap();
    let ledger = |more: &str| format!("[ledger]\nkey_backup = 'k'\nurl_file = '{secret}'\n{more}");

    assert_eq!(load(&ledger(""), &[]).unwrap().ledger.url.expose(), "postgres://u:hunter2@db/ledger");
    assert_eq!(refused(&ledger("url = 'sqlite:x'"), &[]).0, "ledger.url_file");
    assert_eq!(refused(&ledger(""), &[("RESEAL__LEDGER__URL", "sqlite:x")]).0, "ledger.url_file");
    assert_eq!(refused("[ledger]\nurl_file = 'nowhere'", &[]).0, "ledger.url_file");
    // the embedded default's own url is no second opinion
    let from_env = load("", &[("RESEAL__LEDGER__URL_FILE", secret)]).unwrap();
    assert_eq!(from_env.ledger.url.scheme(), "postgres");
}

#[test]
fn the_environment_goes_over_the_file_and_only_with_two_underscores() {
    let env = [
        ("RESEAL__ROTATION__BATCH_ROWS", "20"),
        ("RESEAL__ROTATION__CLEAR_AFTER", "1h"),
        ("RESEAL__LEDGER__URL", "postgres://u:12@db/x"),
        ("RESEAL_DATA_DIR", "/data"),
        ("RESEAL_LOG", "debug"),
    ];
    let config = load("[rotation]\nbatch_rows = 30\nchunk_rows = 40", &env).unwrap();
    assert_eq!(config.rotation.batch_rows, 20);
    assert_eq!(config.rotation.chunk_rows, ChunkRows::Fixed(40));
    assert_eq!(config.rotation.clear_after, Some(Duration::from_secs(3600)));
    assert_eq!(config.ledger.url.scheme(), "postgres");
    assert_eq!(config.ledger.key_backup, Path::new("/data/keys"));
}

#[test]
fn a_file_that_was_named_must_be_there() {
    let named = load_file(Some(Path::new("nowhere.toml")), &[]).unwrap_err();
    assert!(matches!(&named, ConfigError::Read { path, .. } if path == Path::new("nowhere.toml")));
    let by_env = load_file(None, &[("RESEAL_CONFIG", "nowhere.toml")]).unwrap_err();
    assert!(by_env.to_string().contains("nowhere.toml"));
}

#[test]
fn no_print_and_no_error_shows_a_password() {
    let url = "postgres://u:hunter2@db/x";
    let whole = format!(
        "[ledger]\nurl='{url}'\nkey_backup='k'\n[queue]\nurl='redis://:hunter2@q'\n[[source]]\n\
         name='a'\nurl='{url}'\nddl_url='{url}'\n"
    );
    let config = load(&whole, &[]).unwrap();
    let shown = format!("{config:?} {config:#?}");
    assert!(!shown.contains("hunter2") && shown.contains("postgres://db/x"), "{shown}");
    for broken in [
        format!("ledger = '{url}'"),
        format!("[ledger]\nurl = '{url}"),
        format!("[ledger]\nurl = {url}"),
        format!("[ledger]\nkey_backup='k'\nurl = 'x{url}'"),
        format!("[worker]\nlanes = '{url}'"),
        format!("[rotation]\nchunk_rows = '{url}'"),
        format!("[[source]]\nname = 'a'\nurl = ['{url}']"),
    ] {
        let error = load(&broken, &[]).unwrap_err();
        assert!(!format!("{error} {error:?}").contains("hunter2"), "{error}");
    }
}
