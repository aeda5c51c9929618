//! What an application embeds, on every database; rotations and fences are the engine's own.

mod adopting;
mod examples;
mod fenced;
mod fields;
mod http;
mod keysets;
mod presence;
mod rekeying;
mod rights;
#[allow(dead_code, reason = "made for the rotation's own tests")]
#[path = "../rotation/site.rs"]
mod site;
mod strict;
mod suspended;
mod tables;
mod taking;

use reseal_entities::{
    exemptions::Kind,
    ledger::{exclude, read::RotationStatus},
    state::RotationState,
};
use reseal_storage::{Ledger, Options, Storage};
use site::Site;
use std::{collections::BTreeSet, sync::Mutex, time::Duration};

/// Makes a test of each `async fn name(backend)` for every database.
macro_rules! on_every_database {
    ($($name:ident),+ $(,)?) => {
        mod sqlite { $(#[tokio::test(flavor = "multi_thread")] async fn $name() { super::$name(crate::site::Sqlite).await } )+ }
        mod postgres { $(#[tokio::test(flavor = "multi_thread")] async fn $name() { super::$name(crate::site::Postgres).await } )+ }
    };
}
pub(crate) use on_every_database;

/// Never refreshes by itself.
pub(crate) fn stale() -> Options {
    let day = Duration::from_secs(86_400);
    Options::default().refresh_every(day).confirmed_within(day)
}

pub(crate) async fn open(site: &Site, options: Options) -> Storage {
    let config = &site.engine.config;
    let ledger = Ledger::connect_as_application(config.ledger.url.expose()).await.unwrap();
    let kek = reseal_keyring::kek::open(config.kek.uri.expose()).unwrap();
    Storage::with_kek(ledger, kek, options).unwrap()
}

/// Makes the keyset's next key and promotes it, without a rotation.
pub(crate) async fn promote(site: &Site) -> i64 {
    let (key_id, _) = site.engine.keyring.create("tester", "default").await.unwrap();
    site.ledger_sql("UPDATE reseal_keys SET state = 'deactivated' WHERE keyset = 'default' AND state = 'active'").await;
    site.ledger_sql(&format!("UPDATE reseal_keys SET state = 'active' WHERE key_id = {key_id}")).await;
    key_id
}

/// Drives a rotation to a state although live applications still write with the old key: excludes each of them, as an
/// operator may.
pub(crate) async fn drive_past_writers(site: &Site, id: i64, state: RotationState) -> RotationStatus {
    let excluded = Mutex::new(BTreeSet::new());
    let lag = |s: &RotationStatus| {
        matches!(s.code.as_deref(), Some("writer_ttl" | "writers_lag"))
            && s.stragglers.iter().any(|w| !excluded.lock().unwrap().contains(&w.name))
    };
    loop {
        let status = site.drive(id, |s| s.state == state || lag(s)).await;
        if status.state == state {
            return status;
        }
        let txn = site.engine.ledger.begin().await.unwrap();
        for writer in &status.stragglers {
            exclude::exclude(&txn, "ada", id, (Kind::Writer, &writer.name), "it never refreshes").await.unwrap();
            excluded.lock().unwrap().insert(writer.name.clone());
        }
        txn.commit().await.unwrap();
    }
}

/// A whole rotation, in the same way.
pub(crate) async fn rotate_past_writers(site: &Site) -> RotationStatus {
    drive_past_writers(site, site.request().await, RotationState::Completed).await
}
