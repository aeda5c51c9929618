//! The examples run.

use crate::{on_every_database, site::Site};
use reseal_tests::{Leash, example_bin};
use sea_orm::DbBackend;
use std::time::Duration;

async fn run(site: &Site, example: &str, args: &[&str]) -> String {
    let config = &site.engine.config;
    let environment = [
        ("APP_URL", config.sources[0].url.expose()),
        ("LEDGER_URL", config.ledger.url.expose()),
        ("KEK_URI", config.kek.uri.expose()),
    ];
    let leash = Leash::new();
    let output = leash.start(example_bin(example), args, &environment).wait(Duration::from_secs(60));
    assert_eq!(output.code, 0, "{example}: {}", output.stderr);
    output.stdout
}

async fn ten_lines_store_a_message_and_read_it(backend: DbBackend) {
    let site = Site::new(backend).await;
    run(&site, "ten_lines", &[]).await;
    assert_eq!(site.count("SELECT count(*) FROM messages WHERE encrypted_content IS NOT NULL").await, 1);
}

async fn the_messenger_finds_everything_as_it_was_written(backend: DbBackend) {
    let site = Site::new(backend).await;
    site.engine.keyring.create("tester", "drafts").await.unwrap();
    let summary: serde_json::Value =
        serde_json::from_str(run(&site, "messenger", &["--seconds", "2"]).await.trim()).unwrap();
    for never in ["failed_reads", "failed_writes", "lost", "refused"] {
        assert_eq!(summary[never], 0, "{summary}");
    }
    assert!(summary["reads"].as_i64().unwrap() > 50 && summary["writes"].as_i64().unwrap() > 20, "{summary}");
    let verified: serde_json::Value =
        serde_json::from_str(run(&site, "messenger", &["--verify"]).await.trim()).unwrap();
    assert_eq!((&verified["failed_reads"], &verified["rows"]), (&0.into(), &verified["shadows"]), "{verified}");
}

#[test]
fn the_guide_begins_with_the_example() {
    let example = include_str!("../../../storage/examples/ten_lines.rs");
    let code = example.split_once("\n\n").expect("a title").1;
    let guide = include_str!("../../../docs/storage.md");
    assert!(guide.lines().nth(2) == Some("```rust") && guide.contains(&format!("```rust\n{code}```")));
}

on_every_database!(ten_lines_store_a_message_and_read_it, the_messenger_finds_everything_as_it_was_written);
