//! The sentences of the house: what each crate does not know, over everything that it links.

use cargo_metadata::{CargoOpt, MetadataCommand};
use reseal_tests::Graph;

/// With all features: a sentence must hold for every binary that can be built.
fn house() -> Graph {
    let mut command = MetadataCommand::new();
    command.manifest_path(concat!(env!("CARGO_MANIFEST_DIR"), "/../Cargo.toml"));
    command.features(CargoOpt::AllFeatures).other_options(["--locked".to_owned()]);
    Graph::of(&command.exec().expect("cargo metadata"))
}

/// A word ends with `*` where any ending is meant.
fn knows_none(graph: &Graph, crate_name: &str, words: &[&str]) {
    let found = graph.path(crate_name, |name| {
        words.iter().any(|word| match word.strip_suffix('*') {
            Some(start) => name.starts_with(start),
            None => name == *word,
        })
    });
    if let Some(path) = found {
        panic!("{crate_name} knows {}: {}", path[path.len() - 1], path.join(" → "));
    }
}

const DATABASES: &[&str] = &["sea-orm*", "sea-query*", "sqlx*", "libsqlite3-sys", "rusqlite", "tokio-postgres"];
/// Ciphers and their trait; hashes and MACs, which drivers log in with, are no key of ours.
const KEYS: &[&str] = &["reseal-keyring", "aes-gcm", "aes-gcm-siv", "aes", "aead", "chacha20poly1305", "tink*"];
const QUEUES: &[&str] = &["reseal-queue", "apalis*", "redis", "fred"];
const HTTP: &[&str] = &["axum*", "hyper*", "actix*", "warp", "reqwest"];

#[test]
fn the_keyring_knows_no_database() {
    knows_none(&house(), "reseal-keyring", DATABASES);
}

#[test]
fn entities_know_no_key() {
    knows_none(&house(), "reseal-entities", KEYS);
}

#[test]
fn the_engine_knows_no_queue() {
    knows_none(&house(), "reseal-engine", QUEUES);
}

#[test]
fn the_producer_knows_no_key_and_no_engine() {
    knows_none(&house(), "reseal-producer", KEYS);
    knows_none(&house(), "reseal-producer", &["reseal-engine"]);
}

#[test]
fn the_worker_knows_no_http() {
    knows_none(&house(), "reseal-worker", HTTP);
}

/// A KMS is asked by the command line alone, so that no process that works links its client.
#[test]
fn neither_the_keyring_nor_the_engine_knows_http() {
    knows_none(&house(), "reseal-keyring", HTTP);
    knows_none(&house(), "reseal-engine", HTTP);
}

/// Its client adds about a minute to a cold build.
#[test]
fn the_binary_by_default_links_no_kms_client() {
    let linked = tree("reseal-cli");
    assert!(!linked.iter().any(|name| name.starts_with("aws-")), "cargo tree -p reseal-cli");
    assert!(linked.contains(&"clap".to_owned()), "the question finds what is there");
}

#[test]
fn storage_knows_no_engine_and_no_queue() {
    knows_none(&house(), "reseal-storage", QUEUES);
    let rooms = ["reseal-engine", "reseal-worker", "reseal-producer", "reseal-config", "reseal-migration"];
    knows_none(&house(), "reseal-storage", &rooms);
}

/// With the feature `http` it serves what it does, for who asks for it.
#[test]
fn storage_by_default_links_no_server() {
    let linked = tree("reseal-storage");
    assert!(!linked.iter().any(|name| ["axum", "hyper"].contains(&name.as_str())), "cargo tree -p reseal-storage");
}

#[test]
fn what_http_surfaces_share_knows_no_key_no_database_and_no_queue() {
    for words in [KEYS, DATABASES, QUEUES] {
        knows_none(&house(), "reseal-http", words);
    }
    knows_none(&house(), "reseal-http", &["reseal-entities"]);
}

#[test]
fn worker_and_producer_do_not_link_what_applications_embed() {
    knows_none(&house(), "reseal-worker", &["reseal-storage"]);
    knows_none(&house(), "reseal-producer", &["reseal-storage"]);
}

/// Asked of `cargo tree`, because `cargo metadata` gives a crate the features that any other
/// member of the workspace switches on, and a service that depends on this crate alone does not.
#[test]
fn the_producer_by_default_links_no_server_and_no_database() {
    let linked = tree("reseal-producer");
    for name in ["axum", "axum-server", "sea-orm", "sqlx"] {
        assert!(!linked.contains(&name.to_owned()), "cargo tree -p reseal-producer -i {name}");
    }
    assert!(tree("reseal-entities").contains(&"sea-orm".to_owned()), "the question finds what is there");
}

fn tree(package: &str) -> Vec<String> {
    let cargo = std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
    let out = std::process::Command::new(cargo)
        .args(["tree", "--locked", "-p", package, "-e", "normal,build", "--prefix", "none"])
        .args(["-f", "{p}"])
        .current_dir(env!("CARGO_MANIFEST_DIR"))
        .output()
        .expect("cargo tree");
    assert!(out.status.success(), "{}", String::from_utf8_lossy(&out.stderr));
    let text = String::from_utf8(out.stdout).expect("UTF-8");
    text.lines().filter_map(|line| line.split(' ').next()).map(str::to_owned).collect()
}

#[test]
#[should_panic(expected = "reseal-engine knows reseal-keyring: reseal-engine → reseal-keyring")]
fn a_false_sentence_is_reported_with_its_path() {
    knows_none(&house(), "reseal-engine", KEYS);
}

#[test]
fn the_path_is_the_shortest_and_ends_at_the_first_offender() {
    let graph = Graph::from_edges(&[("a", "b"), ("b", "c"), ("c", "sqlx-core"), ("a", "d"), ("d", "c"), ("c", "a")]);
    let path = graph.path("a", |name| name.starts_with("sqlx"));
    assert_eq!(path.unwrap(), ["a", "b", "c", "sqlx-core"]);
    assert_eq!(graph.path("sqlx-core", |name| name == "a"), None);
    assert_eq!(graph.path("a", |name| name == "e"), None);
}

#[test]
#[should_panic(expected = "no crate")]
fn a_sentence_about_a_crate_that_is_not_there_fails() {
    knows_none(&Graph::from_edges(&[("a", "b")]), "reseal-a", &["b"]);
}
