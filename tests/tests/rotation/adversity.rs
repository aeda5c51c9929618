//! What a rotation does when it is disturbed.

use crate::{on_every_database, site::Site};
use reseal_engine::{
    operate::{self, GiveUp, Resolved},
    source::{CellColumn, Fence, Rule},
};
use reseal_entities::{
    ledger::{quarantine, retry},
    state::{KeyState, RotationState},
};
use reseal_keyring::Layout;
use sea_orm::DbBackend;
use std::time::Duration;

on_every_database! {
    poison_rows_are_quarantined_and_keep_the_key,
    an_abandoned_row_is_null_and_its_bytes_are_kept,
    steps_cut_off_anywhere_are_done_again_without_loss,
    an_application_that_writes_underneath_always_wins,
    an_unregistered_copy_blocks_the_proof_by_name,
    a_base64_copy_in_a_text_column_blocks_the_proof_by_name,
    a_fence_that_is_taken_down_while_waiting_is_noticed,
    an_old_cell_restored_past_the_fence_is_noticed_before_clearing,
    unrelated_updates_of_rows_not_rotated_yet_pass_the_fence,
    a_paused_rotation_stands_still_and_resumes_where_it_was,
}

async fn poison(site: &Site) {
    let good = site.message(1).await;
    let mut flipped = site.message(9).await;
    *flipped.last_mut().unwrap() ^= 1;
    let mut unknown = site.message(19).await;
    unknown[1..5].copy_from_slice(&7u32.to_be_bytes());
    site.set_message(1, Some(good[..20].to_vec())).await.unwrap();
    site.set_message(9, Some(flipped)).await.unwrap();
    site.set_message(19, Some(unknown)).await.unwrap();
    let (a, b) = (site.message(31).await, site.message(45).await);
    site.set_message(31, Some(b)).await.unwrap();
    site.set_message(45, Some(a)).await.unwrap();
    site.set_message(61, Some(b"plaintext".to_vec())).await.unwrap();
}

async fn poison_rows_are_quarantined_and_keep_the_key(backend: DbBackend) {
    let site = Site::new(backend).await;
    let truth = site.seed(120).await;
    let saved: Vec<_> = [
        site.message(1).await,
        site.message(9).await,
        site.message(19).await,
        site.message(31).await,
        site.message(45).await,
        site.message(61).await,
    ]
    .into();
    poison(&site).await;
    let id = site.request().await;
    let status = site.drive(id, |s| s.needs_attention && s.rows_done == s.rows).await;
    assert_eq!((status.state, status.quarantined), (RotationState::Reencrypting, 6));
    assert!(status.summary.contains("needs attention"), "{}", status.summary);
    assert_eq!(status.old_key_state, Some(KeyState::Deactivated));
    let rows = quarantine::list(site.engine.ledger.db(), Some(id), false, 100).await.unwrap();
    let mut codes: Vec<_> = rows.iter().map(|r| (r.row_key.parse::<i64>().unwrap(), r.code.as_str())).collect();
    codes.sort_unstable();
    let expected = [
        (1, "cell_truncated"),
        (9, "not_authentic"),
        (19, "unknown_key"),
        (31, "not_authentic"),
        (45, "not_authentic"),
        (61, "cell_wrong_version"),
    ];
    assert_eq!(codes, expected);
    let still = operate::resolve(&site.engine, "tester", rows[0].id, GiveUp::No, Some("looks fine")).await;
    assert_eq!(still.unwrap_err().code(), "still_unreadable", "no resolving by note alone");
    for (key, cell) in [1, 9, 19, 31, 45, 61].into_iter().zip(saved) {
        site.set_message(key, Some(cell)).await.unwrap();
    }
    let txn = site.engine.ledger.begin().await.unwrap();
    let retried = retry::retry(&txn, "tester", id, retry::What::All).await.unwrap();
    txn.commit().await.unwrap();
    assert_eq!(retried.rows, 6);
    site.drive_to(id, RotationState::Completed).await;
    assert_eq!(site.read_all().await, truth);
}

async fn an_abandoned_row_is_null_and_its_bytes_are_kept(backend: DbBackend) {
    let site = Site::new(backend).await;
    let mut truth = site.seed(30).await;
    site.set_message(9, Some(b"broken".to_vec())).await.unwrap();
    let id = site.request().await;
    site.drive(id, |s| s.quarantined == 1 && s.rows_done == s.rows).await;
    let row = quarantine::list(site.engine.ledger.db(), Some(id), false, 1).await.unwrap().remove(0);
    let resolved =
        operate::resolve(&site.engine, "tester", row.id, GiveUp::ToNull, Some("lost in 2019")).await.unwrap();
    assert_eq!(resolved, Resolved::Abandoned);
    site.drive_to(id, RotationState::Completed).await;
    truth.remove("messages.encrypted_content:9");
    assert_eq!(site.read_all().await, truth);
    let kept = quarantine::list(site.engine.ledger.db(), Some(id), true, 1).await.unwrap().remove(0);
    assert_eq!(kept.abandoned_cell.as_deref(), Some(&b"broken"[..]));
    // who gave it up is on the record before it is gone
    let said = "SELECT count(*) FROM reseal_audit a JOIN reseal_audit b ON b.seq > a.seq WHERE a.action = \
                'quarantine.abandoning' AND b.action = 'quarantine.resolved' AND a.actor = 'tester'";
    assert_eq!(site.ledger_count(said).await, 1);
}

/// Every job is dropped after a short time of growing length, as if its process had died there, and
/// its leases are let run out; what it did must be found and gone on from.
async fn steps_cut_off_anywhere_are_done_again_without_loss(backend: DbBackend) {
    let mut site = Site::new(backend).await;
    let truth = site.seed(120).await;
    let id = site.request().await;
    site.complete_cut_off_anywhere(id).await;
    assert_eq!(site.read_all().await, truth);
    let status = site.status(id).await;
    assert_eq!((status.quarantined, status.old_key_state), (0, Some(KeyState::Destroyed)));
    let verdict = reseal_entities::ledger::audit::verify(site.engine.ledger.db()).await.unwrap();
    assert_eq!(verdict.broken, None);
}

async fn an_application_that_writes_underneath_always_wins(backend: DbBackend) {
    let site = Site::with(backend, false, |c| c.rotation.chunk_rows = reseal_config::ChunkRows::Fixed(50)).await;
    let mut truth = site.seed(200).await;
    let id = site.request().await;
    site.drive_to(id, RotationState::Reencrypting).await;
    let keyset = site.engine.keyring.keyset("default").await.unwrap();
    let keys: Vec<i64> = (0..200).map(|i: i64| 1 + i * i + 7 * i).collect();
    let rotated = async { site.drive_to(id, RotationState::Proving).await };
    let written = async {
        let mut last = std::collections::BTreeMap::new();
        for round in 0..4 {
            for key in keys.iter().rev() {
                let (place, text) =
                    (format!("messages.encrypted_content:{key}"), format!("round {round}").into_bytes());
                site.set_message(*key, Some(keyset.encrypt(&text, place.as_bytes()))).await.unwrap();
                last.insert(place, text);
            }
        }
        last
    };
    let (_, last) = tokio::join!(rotated, written);
    truth.extend(last);
    site.drive_to(id, RotationState::Completed).await;
    assert_eq!(site.read_all().await, truth);
}

fn keep_history(backend: DbBackend, ty: &str, expression: &str) -> String {
    let table = format!("CREATE TABLE history (id bigint, content {ty});");
    match backend {
        DbBackend::Postgres => format!(
            "{table} CREATE FUNCTION keep() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN \
             INSERT INTO history VALUES (OLD.id, {expression}); RETURN NEW; END $$; \
             CREATE TRIGGER keep BEFORE UPDATE ON messages FOR EACH ROW EXECUTE FUNCTION keep();"
        ),
        _ => format!(
            "{table} CREATE TRIGGER keep BEFORE UPDATE ON messages BEGIN \
             INSERT INTO history VALUES (OLD.id, {expression}); END;"
        ),
    }
}

async fn an_unregistered_copy_blocks_the_proof_by_name(backend: DbBackend) {
    let site = Site::new(backend).await;
    let truth = site.seed(60).await;
    let blob = if backend == DbBackend::Postgres { "bytea" } else { "blob" };
    site.sql(&keep_history(backend, blob, "OLD.encrypted_content")).await;
    let id = site.request().await;
    let status = site.drive(id, |s| s.code.as_deref() == Some("proof_blocked")).await;
    assert!(status.needs_attention);
    let detail = status.detail.unwrap();
    assert!(detail.contains("history.content is not registered and holds 54 cells"), "{detail}");
    assert_eq!(status.old_key_state, Some(KeyState::Deactivated));
    site.sql("DELETE FROM history").await;
    site.drive_to(id, RotationState::Completed).await;
    assert_eq!(site.read_all().await, truth);
}

async fn a_base64_copy_in_a_text_column_blocks_the_proof_by_name(backend: DbBackend) {
    let site = Site::new(backend).await;
    site.seed(30).await;
    let copy = {
        use base64::Engine;
        base64::engine::general_purpose::STANDARD.encode(site.message(9).await)
    };
    site.sql(&format!("CREATE TABLE outbox (id bigint, payload text); INSERT INTO outbox VALUES (1, '{copy}')")).await;
    let id = site.request().await;
    let status = site.drive(id, |s| s.code.as_deref() == Some("proof_blocked")).await;
    assert!(status.detail.unwrap().contains("outbox.payload is not registered and holds 1 cells"));
}

async fn waiting_for_an_hour(backend: DbBackend) -> (Site, i64) {
    let hour = Duration::from_secs(3_600);
    let site = Site::with(backend, false, |c| c.rotation.clear_after = Some(hour)).await;
    site.seed(60).await;
    let id = site.request().await;
    site.drive_to(id, RotationState::Waiting).await;
    (site, id)
}

async fn let_the_time_pass(site: &Site, id: i64) {
    let sql = format!(
        "UPDATE reseal_rotations SET waited_ms = clear_after_ms, step_due_at = 0, next_ring_at = 0 WHERE id = {id}"
    );
    site.ledger_sql(&sql).await;
}

async fn take_the_fence_down(site: &Site) {
    let schema = if site.app.get_database_backend() == DbBackend::Postgres { "public" } else { "main" };
    site.engine.source("app").unwrap().unfence(schema, "messages", "encrypted_content").await.unwrap();
}

async fn a_fence_that_is_taken_down_while_waiting_is_noticed(backend: DbBackend) {
    let (site, id) = waiting_for_an_hour(backend).await;
    let removed = operate::remove_fence(&site.engine, "tester", "messages.encrypted_content").await;
    assert_eq!(removed.unwrap_err().code(), "fence_in_use");
    take_the_fence_down(&site).await;
    let_the_time_pass(&site, id).await;
    let status = site.drive_to(id, RotationState::Proving).await;
    assert_eq!(status.old_key_state, Some(KeyState::Deactivated), "it must decrypt again");
    let status = site.drive_to(id, RotationState::Waiting).await;
    assert!(status.waiting_left_ms.unwrap() > 3_500_000, "the waiting time begins anew");
}

async fn an_old_cell_restored_past_the_fence_is_noticed_before_clearing(backend: DbBackend) {
    let hour = Duration::from_secs(3_600);
    let site = Site::with(backend, false, |c| c.rotation.clear_after = Some(hour)).await;
    let truth = site.seed(60).await;
    let old = site.message(9).await;
    let id = site.request().await;
    site.drive_to(id, RotationState::Waiting).await;
    let refused = site.set_message(9, Some(old.clone())).await;
    assert!(refused.unwrap_err().to_string().contains("reload the keyset"));
    take_the_fence_down(&site).await;
    site.set_message(9, Some(old)).await.unwrap();
    let_the_time_pass(&site, id).await;
    site.drive_to(id, RotationState::Proving).await;
    site.drive_to(id, RotationState::Waiting).await;
    let_the_time_pass(&site, id).await;
    site.drive_to(id, RotationState::Completed).await;
    assert_eq!(site.read_all().await, truth);
}

async fn unrelated_updates_of_rows_not_rotated_yet_pass_the_fence(backend: DbBackend) {
    let site = Site::new(backend).await;
    site.seed(30).await;
    let source = site.engine.source("app").unwrap();
    let shape = source
        .shape(None, "messages", &["id".into()], &[CellColumn::wanted("encrypted_content", Layout::NATIVE)])
        .await
        .unwrap();
    let keyset = site.engine.keyring.keyset("default").await.unwrap();
    let fence = Fence {
        keyset: "default".into(),
        column: "encrypted_content".into(),
        text: false,
        rule: Rule::Deny(vec![reseal_keyring::cell::header(keyset.active())]),
    };
    source.fence(&shape, &fence).await.unwrap();
    site.sql("UPDATE messages SET created_at = 5 WHERE id = 9").await;
    let rewritten = site.set_message(9, Some(keyset.encrypt(b"new", b"messages.encrypted_content:9"))).await;
    assert!(rewritten.unwrap_err().to_string().contains("reload the keyset"));
    let inserted = site.count("SELECT count(*) FROM messages WHERE created_at = 5").await;
    assert_eq!(inserted, 1);
}

async fn a_paused_rotation_stands_still_and_resumes_where_it_was(backend: DbBackend) {
    use reseal_entities::ledger::steps;
    let site = Site::new(backend).await;
    let truth = site.seed(120).await;
    let id = site.request().await;
    site.drive(id, |s| s.batches.get("done").copied() >= Some(2)).await;
    let txn = site.engine.ledger.begin().await.unwrap();
    assert!(steps::pause(&txn, id, "tester", Some("lunch")).await.unwrap());
    txn.commit().await.unwrap();
    let before = site.status(id).await.reencrypted;
    while site.dispatch().await || site.next_job().is_some() {}
    for batch in 1..=9 {
        site.perform(&reseal_entities::job::Job { kind: reseal_entities::job::JobKind::Batch, id: batch })
            .await
            .unwrap();
    }
    let status = site.status(id).await;
    assert_eq!((status.reencrypted, status.paused_by.as_deref()), (before, Some("tester")));
    let txn = site.engine.ledger.begin().await.unwrap();
    assert!(steps::resume(&txn, id, "tester").await.unwrap());
    txn.commit().await.unwrap();
    site.ledger_sql("UPDATE reseal_batches SET next_ring_at = 0").await;
    site.drive_to(id, RotationState::Completed).await;
    assert_eq!(site.read_all().await, truth);
}
