//! Whose fault it is when a source refuses rows: the rows', or its own.

use crate::{on_every_database, site::Site};
use reseal_config::SecretUrl;
use reseal_engine::{Engine, check, dry_run};
use reseal_entities::{
    batches,
    ledger::{quarantine, retry},
    state::RotationState,
};
use sea_orm::{DbBackend, EntityTrait};

on_every_database! {
    a_source_that_refuses_every_update_costs_no_row_and_no_attempt_however_long,
    a_source_that_becomes_read_only_pauses_its_batches_and_they_resume_by_themselves,
    a_row_that_a_trigger_refuses_is_quarantined_while_rows_beside_it_pass,
    rows_that_are_refused_by_one_rule_are_not_at_fault_when_none_passes,
    a_rule_that_begins_midway_quarantines_no_row,
    updates_that_a_trigger_ignores_pause_the_table_and_name_it,
    a_row_that_a_trigger_ignores_is_quarantined_while_rows_beside_it_pass,
    check_and_dry_run_say_before_what_a_rotation_would_meet,
    one_batch_at_a_time_tries_a_table_with_a_fault,
}

/// Does what is rung for and lets every pause end, so many times.
async fn tries(site: &Site, rounds: usize) {
    for _ in 0..rounds {
        site.end_pauses().await;
        site.dispatch().await;
        while let Some(job) = site.next_job() {
            let _ = site.perform(&job).await;
        }
    }
}

async fn codes(site: &Site) -> Vec<String> {
    let found = quarantine::list(site.engine.ledger.db(), None, false, 999).await.unwrap();
    found.into_iter().map(|f| f.code).collect()
}

async fn attempts(site: &Site) -> i32 {
    let all = batches::Entity::find().all(site.engine.ledger.db()).await.unwrap();
    all.iter().map(|b| b.attempts).sum()
}

/// Every UPDATE of `messages` fails with a code that says nothing of rows.
async fn break_updates(site: &Site) {
    if site.is_postgres() {
        site.sql("ALTER TABLE messages REPLICA IDENTITY NOTHING; CREATE PUBLICATION p FOR TABLE messages").await;
    } else {
        site.sql("CREATE TRIGGER t AFTER UPDATE ON messages BEGIN SELECT app_hash(NEW.id); END").await;
    }
}

async fn mend_updates(site: &Site) {
    site.sql(if site.is_postgres() { "DROP PUBLICATION p" } else { "DROP TRIGGER t" }).await;
}

async fn a_source_that_refuses_every_update_costs_no_row_and_no_attempt_however_long(backend: DbBackend) {
    let site = Site::new(backend).await;
    let truth = site.seed(120).await;
    break_updates(&site).await;
    let id = site.request().await;
    tries(&site, 30).await;
    let status = site.status(id).await;
    assert_eq!((codes(&site).await, attempts(&site).await), (Vec::<String>::new(), 0), "{status:#?}");
    assert_eq!(status.code.as_deref(), Some("source_refused"), "{status:#?}");
    let (detail, summary) = (status.detail.unwrap(), status.summary);
    let named = if site.is_postgres() { "replica identity" } else { "no such function: app_hash" };
    assert!(detail.contains("messages: ") && detail.contains(named) && summary.contains(named), "{detail}; {summary}");
    assert!(!status.batches.contains_key("failed"));
    // the other tables were not stopped by it
    assert!(status.tables.iter().filter(|t| t.fault.is_none()).all(|t| t.rows_done == t.rows), "{:#?}", status.tables);
    mend_updates(&site).await;
    site.end_pauses().await;
    let status = site.drive_to(id, RotationState::Completed).await;
    assert!(status.tables.iter().all(|t| t.fault.is_none()));
    assert_eq!(site.read_all().await, truth);
}

async fn a_source_that_becomes_read_only_pauses_its_batches_and_they_resume_by_themselves(backend: DbBackend) {
    let mut site = Site::new(backend).await;
    let truth = site.seed(120).await;
    let id = site.request().await;
    site.drive(id, |s| s.batches.get("done").copied() >= Some(1)).await;
    let before = site.engine.clone();
    let (mut config, ledger) = (before.config.clone(), before.ledger.clone());
    let url = config.sources[0].url.expose().to_owned();
    let database = url.rsplit_once('/').unwrap().1.to_owned();
    if site.is_postgres() {
        site.sql(&format!("ALTER DATABASE {database} SET default_transaction_read_only = on")).await;
    } else {
        config.sources[0].url = SecretUrl::new(url.replace("mode=rwc", "mode=ro"));
    }
    site.engine = Engine::open(config, ledger, "read-only".into()).await.unwrap().into();
    tries(&site, 12).await;
    let status = site.status(id).await;
    assert_eq!((codes(&site).await, attempts(&site).await), (Vec::<String>::new(), 0), "{status:#?}");
    if status.rows_done < status.rows {
        assert_eq!(status.code.as_deref(), Some("source_read_only"), "{status:#?}");
    }
    if site.is_postgres() {
        site.sql(&format!(
            "SET transaction_read_only = off; ALTER DATABASE {database} RESET default_transaction_read_only"
        ))
        .await;
    }
    site.engine = before;
    site.end_pauses().await;
    site.drive_to(id, RotationState::Completed).await;
    assert_eq!(site.read_all().await, truth);
}

/// A trigger that raises, or ignores the row, where `condition` holds of `OLD`.
async fn refuse(site: &Site, how: &str, condition: &str) {
    if site.is_postgres() {
        let body =
            if how == "raise" { "RAISE EXCEPTION 'rows are immutable' USING ERRCODE = '55000'" } else { "RETURN NULL" };
        site.sql(&format!(
            "CREATE FUNCTION keep() RETURNS trigger LANGUAGE plpgsql AS \
             $$ BEGIN IF {condition} THEN {body}; END IF; RETURN NEW; END $$; \
             CREATE TRIGGER keep BEFORE UPDATE ON messages FOR EACH ROW EXECUTE FUNCTION keep()"
        ))
        .await;
    } else {
        let raise = if how == "raise" { "RAISE(ABORT, 'rows are immutable')" } else { "RAISE(IGNORE)" };
        // A connection that made the trigger once still knows it after another one has dropped it.
        site.sql(&format!(
            "DROP TRIGGER IF EXISTS keep; \
             CREATE TRIGGER keep BEFORE UPDATE ON messages WHEN {condition} BEGIN SELECT {raise}; END"
        ))
        .await;
    }
}

async fn allow(site: &Site) {
    let drop = if site.is_postgres() { "DROP FUNCTION keep() CASCADE" } else { "DROP TRIGGER keep" };
    site.sql(drop).await;
}

async fn retry_all(site: &Site, id: i64) {
    let txn = site.engine.ledger.begin().await.unwrap();
    retry::retry(&txn, "tester", id, retry::What::All).await.unwrap();
    txn.commit().await.unwrap();
    site.end_pauses().await;
}

async fn one_row_is_quarantined(backend: DbBackend, how: &str, code: &str) {
    let site = Site::new(backend).await;
    let truth = site.seed(60).await;
    let old = site.message(9).await;
    refuse(&site, how, "OLD.id = 9").await;
    let id = site.request().await;
    site.drive(id, |s| s.quarantined == 1 && s.rows_done == s.rows).await;
    assert_eq!(codes(&site).await, [code]);
    allow(&site).await;
    retry_all(&site, id).await;
    site.drive_to(id, RotationState::Proving).await;
    // the sweep meets such a row alone, and does not blame the source for it
    site.set_message(9, Some(old)).await.unwrap();
    refuse(&site, how, "OLD.id = 9").await;
    let status = site.drive(id, |s| s.code.is_some()).await;
    assert_eq!((status.code.as_deref(), codes(&site).await), (Some("rows_quarantined"), vec![code.to_owned()]));
    allow(&site).await;
    retry_all(&site, id).await;
    site.drive_to(id, RotationState::Completed).await;
    assert_eq!(site.read_all().await, truth);
}

async fn a_row_that_a_trigger_refuses_is_quarantined_while_rows_beside_it_pass(backend: DbBackend) {
    one_row_is_quarantined(backend, "raise", "write_refused").await;
}

async fn a_row_that_a_trigger_ignores_is_quarantined_while_rows_beside_it_pass(backend: DbBackend) {
    one_row_is_quarantined(backend, "ignore", "write_ignored").await;
}

async fn rows_that_are_refused_by_one_rule_are_not_at_fault_when_none_passes(backend: DbBackend) {
    let site = Site::new(backend).await;
    let truth = site.seed(60).await;
    refuse(&site, "raise", "OLD.id > 0").await;
    let id = site.request().await;
    tries(&site, 10).await;
    let status = site.status(id).await;
    assert_eq!((codes(&site).await, attempts(&site).await), (Vec::<String>::new(), 0), "{status:#?}");
    assert_eq!(status.code.as_deref(), Some("write_refused"), "{status:#?}");
    assert!(status.detail.unwrap().contains("trigger"));
    allow(&site).await;
    site.end_pauses().await;
    site.drive_to(id, RotationState::Completed).await;
    assert_eq!(site.read_all().await, truth);
}

async fn a_rule_that_begins_midway_quarantines_no_row(backend: DbBackend) {
    let site = Site::new(backend).await;
    let truth = site.seed(150).await;
    let id = site.request().await;
    site.drive(id, |s| s.batches.get("done").copied() >= Some(2)).await;
    refuse(&site, "raise", "OLD.id > 0").await;
    tries(&site, 10).await;
    assert_eq!((codes(&site).await, attempts(&site).await), (Vec::<String>::new(), 0));
    allow(&site).await;
    site.end_pauses().await;
    site.drive_to(id, RotationState::Completed).await;
    assert_eq!(site.read_all().await, truth);
}

async fn updates_that_a_trigger_ignores_pause_the_table_and_name_it(backend: DbBackend) {
    let site = Site::new(backend).await;
    let truth = site.seed(60).await;
    refuse(&site, "ignore", "OLD.id > 0").await;
    let id = site.request().await;
    tries(&site, 10).await;
    let status = site.status(id).await;
    assert_eq!((codes(&site).await, status.code.as_deref()), (Vec::<String>::new(), Some("write_ignored")));
    assert!(status.detail.unwrap().contains("trigger keep"));
    allow(&site).await;
    site.end_pauses().await;
    site.drive_to(id, RotationState::Completed).await;
    assert_eq!(site.read_all().await, truth);
}

async fn check_and_dry_run_say_before_what_a_rotation_would_meet(backend: DbBackend) {
    for trouble in ["ignored", "raised", "unknown", "none"] {
        let site = Site::new(backend).await;
        site.seed(30).await;
        let said = match trouble {
            "ignored" => {
                refuse(&site, "ignore", "OLD.id > 0").await;
                "trigger keep"
            }
            "raised" => {
                refuse(&site, "raise", "OLD.id > 0").await;
                "trigger"
            }
            "unknown" => {
                break_updates(&site).await;
                if site.is_postgres() { "replica identity" } else { "app_hash" }
            }
            _ => "",
        };
        let found = check::check(&site.engine).await.unwrap();
        let dry = dry_run::dry_run(&site.engine, "default", None).await.unwrap();
        if trouble == "none" {
            assert!(found.good() && dry.would_complete(), "{found:#?} {:?}", dry.problems);
            continue;
        }
        let problems: Vec<&String> = found.columns.iter().flat_map(|c| &c.problems).collect();
        assert!(problems.len() == 1 && problems[0].contains(said), "{trouble}: {problems:?}");
        let named = |p: &String| p.contains("messages") && p.contains(said);
        assert!(!dry.would_complete() && dry.problems.iter().all(named), "{trouble}: {:?}", dry.problems);
        assert_eq!(site.read_all().await.len(), 27 * 3, "what was tried was taken back");
    }
}

async fn one_batch_at_a_time_tries_a_table_with_a_fault(backend: DbBackend) {
    let site = Site::new(backend).await;
    site.seed(300).await;
    break_updates(&site).await;
    let id = site.request().await;
    tries(&site, 3).await;
    let claims = "SELECT CAST(sum(b.epoch) AS bigint) FROM reseal_batches b JOIN reseal_planned_tables t ON \
                  t.id = b.planned_table_id WHERE t.table_name = 'messages'";
    let before = site.ledger_count(claims).await;
    tries(&site, 5).await;
    let after = site.ledger_count(claims).await;
    assert!((1..=5).contains(&(after - before)), "{before} {after}");
    // and none while the pause lasts
    let later = reseal_entities::ledger::now_ms(site.engine.ledger.db()).await.unwrap() + 600_000;
    site.ledger_sql(&format!("UPDATE reseal_planned_tables SET fault_until = {later} WHERE faults > 0")).await;
    site.ledger_sql("UPDATE reseal_batches SET due_at = 0, next_ring_at = 0 WHERE state = 'pending'").await;
    while site.dispatch().await {
        while let Some(job) = site.next_job() {
            let _ = site.perform(&job).await;
        }
    }
    assert_eq!(site.ledger_count(claims).await, after);
    mend_updates(&site).await;
    site.end_pauses().await;
    site.drive_to(id, RotationState::Completed).await;
}
