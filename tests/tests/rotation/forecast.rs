//! What a dry run says, beside what then happens; and that it leaves nothing behind.

use crate::{on_every_database, site::Site};
use reseal_engine::dry_run::dry_run;
use sea_orm::{ConnectionTrait, DbBackend, Statement};

on_every_database! {
    a_dry_run_counts_what_a_rotation_then_does_and_leaves_nothing_behind,
    a_dry_run_names_what_would_stop_a_rotation,
}

impl Site {
    async fn ledger_rows(&self) -> Vec<i64> {
        let mut counts = Vec::new();
        for table in ["keys", "catalog", "rotations", "batches", "audit", "sources", "planned_tables"] {
            let db = self.engine.ledger.db();
            let sql = format!("SELECT count(*) FROM reseal_{table}");
            let row = db.query_one_raw(Statement::from_string(db.get_database_backend(), sql)).await.unwrap().unwrap();
            counts.push(row.try_get_by_index(0).unwrap());
        }
        counts
    }

    async fn size(&self) -> i64 {
        let size = "SELECT (pg_total_relation_size('messages') + pg_total_relation_size('sync_queue') \
                    + pg_total_relation_size('user_profiles'))::bigint";
        self.count(size).await
    }
}

async fn a_dry_run_counts_what_a_rotation_then_does_and_leaves_nothing_behind(backend: DbBackend) {
    let site = Site::new(backend).await;
    let truth = site.seed(1_200).await;
    if site.is_postgres() {
        site.sql("VACUUM FULL").await; // of what the inserts left
    }
    let before = if site.is_postgres() { site.size().await } else { 0 };
    let (ledger, first) = (site.ledger_rows().await, site.message(1).await);

    let said = dry_run(&site.engine, "default", None).await.unwrap();

    assert!(said.would_complete(), "{said:#?}");
    assert_eq!(site.ledger_rows().await, ledger);
    assert_eq!(site.message(1).await, first);
    assert!(said.tables.iter().all(|t| t.sampled_rows > 0 && t.unreadable_rows == 0), "{said:#?}");

    let status = site.rotate().await;

    assert_eq!(site.read_all().await, truth);
    let (rows, batches) =
        (said.tables.iter().map(|t| t.rows).sum::<i64>(), said.tables.iter().map(|t| t.batches).sum::<i64>());
    assert_eq!((rows, batches), (status.rows, status.batches["done"]));
    assert_eq!(said.tables.iter().filter_map(|t| t.cells).sum::<i64>(), status.reencrypted);
    if site.is_postgres() {
        let (will, did) = (said.tables.iter().map(|t| t.growth_bytes).sum::<i64>(), site.size().await - before);
        assert!(will <= 2 * did && did <= 2 * will, "{will} bytes of growth were said and it were {did}");
    }
}

async fn a_dry_run_names_what_would_stop_a_rotation(backend: DbBackend) {
    let site = Site::new(backend).await;
    site.seed(30).await;
    let blob = if site.is_postgres() { "bytea" } else { "blob" };
    site.sql(&format!("CREATE TABLE history (id bigint PRIMARY KEY, old {blob})")).await;
    site.sql("INSERT INTO history SELECT id, encrypted_content FROM messages WHERE encrypted_content IS NOT NULL")
        .await;
    site.set_message(1, Some(b"plain".to_vec())).await.unwrap();

    let db = site.engine.ledger.db();
    reseal_entities::ledger::writers::beat(db, "app-1", "default", 5, 0).await.unwrap();

    let said = dry_run(&site.engine, "default", None).await.unwrap();

    assert!(said.writers.iter().any(|w| w.name == "app-1" && w.straggles), "{:?}", said.writers);
    assert!(!said.would_complete());
    assert_eq!((said.unregistered.len(), said.unregistered[0].cells), (1, 27), "{said:#?}");
    assert!(said.unregistered[0].column.ends_with("history.old"));
    assert_eq!(said.tables.iter().map(|t| t.unreadable_rows).sum::<u64>(), 1);
    assert!(said.warnings.iter().any(|w| w.contains("cell_wrong_version")), "{:#?}", said.warnings);
    assert!(!said.locks.is_empty() && said.scan.columns > 0);

    let nobody = dry_run(&site.engine, "nobody", None).await.unwrap();
    assert!(nobody.problems[0].contains("no column uses keyset `nobody`"));
    site.sql("ALTER TABLE messages RENAME TO gone").await;
    let gone = dry_run(&site.engine, "default", None).await.unwrap();
    assert!(gone.problems.iter().any(|p| p.contains("no table `messages`")), "{:#?}", gone.problems);
}
