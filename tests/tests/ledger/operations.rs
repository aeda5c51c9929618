//! Operations: asked for once, whatever is sent twice, lost or tried at once.

use reseal_entities::{
    ledger::{
        Ledger, LedgerError, audit,
        operations::{self, Ask, Caller, Filter, OperationStatus},
        retry::RetryFilter,
    },
    operations::{Model, OperationKind},
    state::{BatchState, OperationState, RotationState},
};
use serde_json::json;
use tokio::task::JoinSet;

use crate::{
    ground::{alone, for_each_ledger, run, warm},
    rows::{World, batch, keyset},
};

pub(crate) fn by(key: Option<&str>) -> Caller {
    Caller { actor: "ada".into(), request_id: Some("r-1".into()), idempotency_key: key.map(str::to_owned) }
}

pub(crate) async fn ask(ledger: &Ledger, ask: Ask, key: Option<&str>) -> Result<(Model, bool), LedgerError> {
    alone(ledger, async |txn| operations::request(txn, &ask, &by(key)).await).await
}

pub(crate) fn census() -> Ask {
    Ask::Census { column: None, key_id: None }
}

/// How often the audit says `action`.
async fn said(ledger: &Ledger, action: &str) -> usize {
    use sea_orm::{ColumnTrait, EntityTrait, PaginatorTrait, QueryFilter};
    let entries = reseal_entities::audit::Entity::find().filter(reseal_entities::audit::Column::Action.eq(action));
    assert_eq!(audit::verify(ledger.db()).await.unwrap().broken, None);
    usize::try_from(entries.count(ledger.db()).await.unwrap()).unwrap()
}

#[test]
fn the_same_request_again_finds_the_first_operation() {
    for_each_ledger(async |ledger| {
        let keyset = keyset(ledger.db()).await;
        let dry_run = || Ask::DryRun { keyset: keyset.clone(), to_key_id: None };
        let (first, created) = ask(&ledger, dry_run(), Some("k")).await.unwrap();
        assert!(created);
        assert_eq!((first.kind, first.state), (OperationKind::DryRun, OperationState::Requested));
        assert_eq!((first.keyset.as_deref(), first.requested_by.as_str()), (Some(keyset.as_str()), "ada"));
        assert_eq!(first.request_id.as_deref(), Some("r-1"));
        assert_eq!(Ask::of(&first), Some(dry_run()));

        assert_eq!(ask(&ledger, dry_run(), Some("k")).await.unwrap(), (first.clone(), false));
        assert!(ask(&ledger, dry_run(), Some("another")).await.unwrap().1);
        assert!(ask(&ledger, dry_run(), None).await.unwrap().1);
        assert!(ask(&ledger, dry_run(), None).await.unwrap().1, "without a key each request is one of its own");
        assert_eq!(said(&ledger, "operation.requested").await, 4);
    });
}

#[test]
fn an_idempotency_key_of_another_request_is_refused() {
    for_each_ledger(async |ledger| {
        let (keyset, other) = (keyset(ledger.db()).await, keyset(ledger.db()).await);
        let dry_run = |keyset: &String| Ask::DryRun { keyset: keyset.clone(), to_key_id: None };
        ask(&ledger, dry_run(&keyset), Some("k")).await.unwrap();
        for reused in [dry_run(&other), census()] {
            assert_eq!(ask(&ledger, reused, Some("k")).await.unwrap_err().code(), "idempotency_key_reused");
        }
        let w = World::at(ledger.db(), RotationState::Reencrypting).await;
        let retried = operations::retry(&ledger, &by(Some("k")), w.id, &RetryFilter::default()).await;
        assert_eq!(retried.unwrap_err().code(), "idempotency_key_reused");
        for bad in ["", &"x".repeat(129)] {
            assert_eq!(ask(&ledger, census(), Some(bad)).await.unwrap_err().code(), "idempotency_key_length");
        }
    });
}

#[test]
fn what_is_not_there_is_not_asked_about() {
    for_each_ledger(async |ledger| {
        let nowhere = || "nowhere".to_owned();
        for (asked, code) in [
            (Ask::DryRun { keyset: nowhere(), to_key_id: None }, "unknown_keyset"),
            (Ask::Census { column: Some(nowhere()), key_id: None }, "unknown_column"),
            (Ask::Census { column: None, key_id: Some(1) }, "unknown_key"),
            (Ask::Clear { key_id: 1 }, "unknown_key"),
        ] {
            assert_eq!(ask(&ledger, asked, None).await.unwrap_err().code(), code);
        }
        assert_eq!(operations::get(ledger.db(), 999).await.unwrap_err().code(), "unknown_operation");
        assert_eq!(said(&ledger, "operation.requested").await, 0);
    });
}

#[test]
fn of_sixteen_equal_requests_at_once_one_makes_an_operation() {
    for_each_ledger(async |ledger| {
        warm(&ledger).await;
        let mut all = JoinSet::new();
        for _ in 0..16 {
            let ledger = ledger.clone();
            all.spawn(async move { ask(&ledger, census(), Some("k")).await.unwrap() });
        }
        let answers = all.join_all().await;
        assert_eq!(answers.iter().filter(|(_, created)| *created).count(), 1);
        assert!(answers.iter().all(|(operation, _)| operation.id == answers[0].0.id));
        assert_eq!(said(&ledger, "operation.requested").await, 1);
    });
}

#[test]
fn a_retry_that_is_asked_for_again_has_one_effect() {
    for_each_ledger(async |ledger| {
        let w = World::at(ledger.db(), RotationState::Reencrypting).await;
        let b = w.batch(ledger.db(), BatchState::Failed).await;
        let filter = RetryFilter { batch_ids: Some(vec![b.id]), ..RetryFilter::default() };
        let (first, created) = operations::retry(&ledger, &by(Some("k")), w.id, &filter).await.unwrap();
        assert!(created);
        assert_eq!((first.kind, first.state), (OperationKind::Retry, OperationState::Succeeded));
        assert_eq!((first.matched, first.applied, first.skipped), (Some(1), Some(1), Some(0)));
        assert_eq!((first.rotation_id, first.ended_at.is_some()), (Some(w.id), true));

        run(ledger.db(), "UPDATE reseal_batches SET state = 'failed'").await;
        let again = operations::retry(&ledger, &by(Some("k")), w.id, &filter).await.unwrap();
        assert_eq!(again, (first, false));
        assert_eq!(batch(ledger.db(), b.id).await.state, BatchState::Failed, "the second did nothing");
        for action in ["operation.requested", "operation.ended", "rotation.retried"] {
            assert_eq!(said(&ledger, action).await, 1, "{action}");
        }
        let other = World::at(ledger.db(), RotationState::Reencrypting).await;
        let reused = operations::retry(&ledger, &by(Some("k")), other.id, &filter).await;
        assert_eq!(reused.unwrap_err().code(), "idempotency_key_reused", "of another rotation");
    });
}

#[test]
fn of_sixteen_equal_retries_at_once_one_has_an_effect() {
    for_each_ledger(async |ledger| {
        warm(&ledger).await;
        let w = World::at(ledger.db(), RotationState::Reencrypting).await;
        for _ in 0..5 {
            w.batch(ledger.db(), BatchState::Failed).await;
        }
        let mut all = JoinSet::new();
        for _ in 0..16 {
            let (ledger, id) = (ledger.clone(), w.id);
            all.spawn(
                async move { operations::retry(&ledger, &by(Some("k")), id, &RetryFilter::default()).await.unwrap() },
            );
        }
        let answers = all.join_all().await;
        assert_eq!(answers.iter().filter(|(_, created)| *created).count(), 1);
        assert!(answers.iter().all(|(o, _)| (o.id, o.matched, o.applied) == (answers[0].0.id, Some(5), Some(5))));
        assert_eq!(said(&ledger, "rotation.retried").await, 1);
    });
}

/// Others retry and close the same rotation; each takes the audit's head last, or two would wait for each other.
#[test]
fn retries_of_one_rotation_at_once_wait_for_each_other_and_not_in_a_circle() {
    for_each_ledger(async |ledger| {
        warm(&ledger).await;
        let w = World::at(ledger.db(), RotationState::Reencrypting).await;
        w.batch(ledger.db(), BatchState::Failed).await;
        let mut all = JoinSet::new();
        for n in 0..24 {
            let (ledger, id) = (ledger.clone(), w.id);
            all.spawn(async move {
                if n % 2 == 0 {
                    operations::retry(&ledger, &by(None), id, &RetryFilter::default()).await.map(|_| ())
                } else {
                    use reseal_entities::ledger::retry::{What, retry};
                    alone(&ledger, async |txn| retry(txn, "bob", id, What::All).await).await.map(|_| ())
                }
            });
        }
        for done in all.join_all().await {
            done.unwrap();
        }
        assert_eq!(said(&ledger, "rotation.retried").await, 24);
    });
}

#[test]
fn a_refused_retry_leaves_no_operation() {
    for_each_ledger(async |ledger| {
        let ended = World::at(ledger.db(), RotationState::Completed).await;
        let refused = operations::retry(&ledger, &by(Some("k")), ended.id, &RetryFilter::default()).await;
        assert_eq!(refused.unwrap_err().code(), "rotation_ended");
        let refused = operations::retry(&ledger, &by(Some("k")), 999_999, &RetryFilter::default()).await;
        assert_eq!(refused.unwrap_err().code(), "unknown_rotation");
        assert!(operations::page(ledger.db(), &Filter::default(), None, 10).await.unwrap().is_empty());
    });
}

#[test]
fn pages_go_back_from_the_newest_and_keep_to_their_filter() {
    for_each_ledger(async |ledger| {
        let keyset = keyset(ledger.db()).await;
        let mut ids = Vec::new();
        for n in 0..5 {
            let asked = if n % 2 == 0 { census() } else { Ask::DryRun { keyset: keyset.clone(), to_key_id: None } };
            ids.push(ask(&ledger, asked, None).await.unwrap().0.id);
        }
        ids.reverse();
        let page = async |filter: &Filter, before: Option<i64>| -> Vec<i64> {
            let found = operations::page(ledger.db(), filter, before, 2).await.unwrap();
            found.iter().map(|o| o.id).collect()
        };
        let all = Filter::default();
        assert_eq!(page(&all, None).await, ids[..2]);
        assert_eq!(page(&all, Some(ids[1])).await, ids[2..4]);
        assert_eq!(page(&all, Some(ids[3])).await, ids[4..]);
        let of_keyset = Filter { keyset: Some(keyset), ..Filter::default() };
        assert_eq!(page(&of_keyset, None).await, [ids[1], ids[3]]);
        let censuses = Filter { kind: Some(OperationKind::Census), ..Filter::default() };
        assert_eq!(page(&censuses, Some(ids[2])).await, [ids[4]]);

        let latest = async || operations::latest_succeeded(ledger.db(), OperationKind::Census).await.unwrap();
        assert_eq!(latest().await, None);
        run(ledger.db(), format!("UPDATE reseal_operations SET state = 'succeeded' WHERE id = {}", ids[2])).await;
        assert_eq!(latest().await.map(|o| o.id), Some(ids[2]));
    });
}

#[test]
fn an_operation_that_nobody_can_do_says_so() {
    for_each_ledger(async |ledger| {
        let (operation, _) = ask(&ledger, census(), None).await.unwrap();
        let told = OperationStatus::of(operation.clone(), 0);
        assert_eq!(told.summary, "requested; waits for a worker, and none is alive");
        assert_eq!(told.params, json!({"column": null, "key_id": null}));
        assert_eq!(OperationStatus::of(operation, 3).summary, "requested; waits for a worker");
    });
}

#[test]
fn a_split_of_many_that_is_asked_for_again_has_one_effect() {
    for_each_ledger(async |ledger| {
        let w = World::at(ledger.db(), RotationState::Reencrypting).await;
        let b = w.batch(ledger.db(), BatchState::Failed).await;
        let all = RetryFilter::default();
        let (first, created) = operations::split(&ledger, &by(Some("k")), w.id, &all).await.unwrap();
        assert!(created);
        assert_eq!((first.kind, first.state), (OperationKind::Split, OperationState::Succeeded));
        assert_eq!((first.matched, first.applied, first.skipped), (Some(1), Some(1), Some(0)));
        assert!(batch(ledger.db(), b.id).await.split_asked);

        run(ledger.db(), "UPDATE reseal_batches SET state = 'failed', split_asked = false").await;
        assert_eq!(operations::split(&ledger, &by(Some("k")), w.id, &all).await.unwrap(), (first, false));
        assert!(!batch(ledger.db(), b.id).await.split_asked, "the second did nothing");
        let retried = operations::retry(&ledger, &by(Some("k")), w.id, &all).await;
        assert_eq!(retried.unwrap_err().code(), "idempotency_key_reused", "a retry is another request");
        for action in ["operation.requested", "operation.ended", "rotation.split_asked"] {
            assert_eq!(said(&ledger, action).await, 1, "{action}");
        }
    });
}
