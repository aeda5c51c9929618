//! What an application's role may do on the ledger: the GRANTs of `docs/storage.md`.

use crate::{
    drive_past_writers, open,
    site::{Postgres, Site},
    stale,
};
use reseal_entities::{app::messages, ledger::writers, state::RotationState};
use reseal_storage::{Field, Options, Storage, Text};
use reseal_tests::eventually;
use std::{
    sync::{Arc, Mutex},
    time::Duration,
};

const CONTENT: Field<messages::Entity, Text> = Field::new(messages::Column::EncryptedContent);
const GUIDE: &str = include_str!("../../../docs/storage.md");

/// The statements in the guide, for a role of this name.
fn grants(role: &str) -> Vec<String> {
    let block = GUIDE.split("```sql\n").nth(1).and_then(|rest| rest.split("```").next()).expect("GRANTs in the guide");
    let statements = block.split(';').map(str::trim).filter(|s| s.starts_with("GRANT"));
    statements.map(|s| s.replace("app_role", role)).collect()
}

async fn as_role(site: &Site, role: &str) -> Storage {
    site.ledger_sql(&format!("CREATE ROLE {role} LOGIN")).await;
    let url = site.engine.config.ledger.url.expose().replace("postgres@", &format!("{role}@"));
    let options =
        Options::default().name(role).beat_every(Duration::from_millis(50)).refresh_every(Duration::from_millis(200));
    Storage::open_with(&url, site.engine.config.kek.uri.expose(), options).await.unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn the_documented_grants_are_enough_for_everything() {
    let site = Site::with(Postgres, false, |c| c.rotation.clear_after = Some(Duration::from_secs(3_600))).await;
    let role = format!("enough_{}", std::process::id());
    let granted = grants(&role);
    assert!(granted.len() >= 3, "{granted:?}");
    let storage = as_role(&site, &role).await;
    assert_eq!(storage.load_keyset("default").await.unwrap_err().code(), "ledger_failed", "nothing is granted yet");
    for statement in granted {
        site.ledger_sql(&statement).await;
    }
    eventually(Duration::from_secs(20), "it loads", async || storage.load_keyset("default").await.ok()).await;
    storage.messages::<Text>().send(&site.app, "hello").await.unwrap();
    let db = site.engine.ledger.db();
    eventually(Duration::from_secs(20), "it is listed", async || {
        (writers::alive(db, "default").await.unwrap().len() == 1).then_some(())
    })
    .await;
    eventually(Duration::from_secs(20), "it counts", async || {
        use sea_orm::EntityTrait;
        let keys = reseal_entities::keys::Entity::find().all(db).await.unwrap();
        (keys[0].encryptions == 1).then_some(())
    })
    .await;
    let copy = storage.seal(CONTENT, 1, "a copy").await.unwrap();
    let rotation = site.request().await;
    site.drive_to(rotation, RotationState::Waiting).await;
    eventually(Duration::from_secs(20), "it holds the clearing", async || {
        storage.unseal(CONTENT, 1, &copy).await.err()?;
        site.rotation(rotation).await.hold_at
    })
    .await;
    assert!(site.status(rotation).await.detail.unwrap().contains(&role));
    storage.close().await;
    assert!(writers::alive(db, "default").await.unwrap().is_empty());
    let url = site.engine.config.ledger.url.expose().replace("postgres@", &format!("{role}@"));
    let as_app = reseal_storage::Ledger::connect_as_application(&url).await.unwrap();
    use sea_orm::ConnectionTrait;
    for forbidden in ["UPDATE reseal_keys SET state = 'active'", "DELETE FROM reseal_keys", "DELETE FROM reseal_audit"]
    {
        assert!(as_app.db().execute_unprepared(forbidden).await.is_err(), "{forbidden}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn without_the_rights_of_presence_storage_still_reads_and_writes() {
    let site = Site::new(Postgres).await;
    let role = format!("reader_{}", std::process::id());
    let storage = as_role(&site, &role).await;
    site.ledger_sql(&grants(&role)[0]).await;
    for n in 0..20 {
        let text = format!("hello {n}");
        let id = storage.messages::<Text>().send(&site.app, &text).await.unwrap();
        assert_eq!(storage.messages::<Text>().read(&site.app, id).await.unwrap().unwrap().as_str(), text);
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    assert!(writers::alive(site.engine.ledger.db(), "default").await.unwrap().is_empty());
    storage.close().await;
    drop(open(&site, stale()).await);
}

/// What this process logs as an error.
#[derive(Clone, Default)]
struct Log(Arc<Mutex<Vec<u8>>>);

impl Log {
    fn errors() -> Self {
        let log = Self::default();
        let writer = log.clone();
        let fmt = tracing_subscriber::fmt().with_ansi(false).with_max_level(tracing::Level::ERROR);
        fmt.with_writer(move || writer.clone()).init();
        log
    }

    fn text(&self) -> String {
        String::from_utf8_lossy(&self.0.lock().unwrap()).into_owned()
    }
}

impl std::io::Write for Log {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        self.0.lock().unwrap().write(bytes)
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn without_the_right_to_hold_a_clearing_a_read_is_refused_and_an_error_names_the_key() {
    let log = Log::errors();
    let site = Site::with(Postgres, false, |c| c.rotation.clear_after = Some(Duration::from_secs(3_600))).await;
    let copy = open(&site, stale()).await.seal(CONTENT, 1, "a secret").await.unwrap();
    let id = site.request().await;
    drive_past_writers(&site, id, RotationState::Waiting).await;
    let role = format!("may_not_hold_{}", std::process::id());
    let storage = as_role(&site, &role).await;
    site.ledger_sql(&format!("GRANT SELECT ON reseal_keysets, reseal_keys TO {role}")).await;
    assert_eq!(storage.unseal(CONTENT, 1, &copy).await.unwrap_err().code(), "key_suspended");
    let named = format!("key {} is suspended", site.status(id).await.old_keys[0].key_id);
    let text = log.text();
    let line = text.lines().find(|line| line.contains(&named)).unwrap_or_else(|| panic!("{named}: {text}"));
    for word in ["ERROR", "messages.encrypted_content:1", "docs/storage.md"] {
        assert!(line.contains(word), "{word}: {line}");
    }
    assert!(!text.contains("a secret"));
    assert!(site.rotation(id).await.hold_at.is_none(), "it really may not");
}
