//! The laws in SQL, of batches: each statement, tried from each state, changes something only
//! where the law allows it, and otherwise nothing at all.

use reseal_entities::{
    batches,
    ledger::{
        Ledger, LedgerError, claim, plan,
        report::{self, Delta},
        retry::{self, What},
        split,
    },
    quarantine::QuarantineState,
    state::{BatchState, RotationState},
};
use sea_orm::Iterable;

use crate::{
    ground::{alone, for_each_ledger, run},
    rows::{World, batch, everything},
};

#[derive(Clone, Copy, Debug, PartialEq)]
enum OnBatch {
    Claim,
    Checkpoint,
    Report,
    Release,
    Fail,
    Split,
    AskSplit,
    Retry,
    RetryWithRow,
}

const ON_BATCH: &[(OnBatch, &[BatchState], BatchState)] = &[
    (OnBatch::Claim, &[BatchState::Pending, BatchState::Leased], BatchState::Leased),
    (OnBatch::Checkpoint, &[BatchState::Leased], BatchState::Leased),
    (OnBatch::Report, &[BatchState::Leased], BatchState::Done),
    (OnBatch::Release, &[BatchState::Leased], BatchState::Pending),
    (OnBatch::Fail, &[BatchState::Leased], BatchState::Failed),
    (OnBatch::Split, &[BatchState::Leased], BatchState::Superseded),
    (OnBatch::AskSplit, &[BatchState::Pending, BatchState::Failed], BatchState::Pending),
    (OnBatch::Retry, &[BatchState::Failed], BatchState::Pending),
    (OnBatch::RetryWithRow, &[BatchState::Failed, BatchState::Done], BatchState::Pending),
];

/// Runs one statement; true when it says that it changed something.
async fn on_batch(ledger: &Ledger, what: OnBatch, b: &batches::Model) -> Result<bool, LedgerError> {
    let delta = Delta { rows_done: 1, reencrypted: 1, changed_underneath: 0 };
    alone(ledger, async |txn| match what {
        OnBatch::Claim => Ok(claim::claim_if_due(txn, b.id, "another").await?.is_some()),
        OnBatch::Checkpoint => Ok(report::checkpoint_if_held(txn, b, Some("50"), delta, 0).await?
            == report::Hold::Held(reseal_entities::ledger::throttle::Pace::Unlimited)),
        OnBatch::Report => report::report_if_held(txn, b, delta, 0).await,
        OnBatch::Release => report::release_if_held(txn, b, 0, None).await,
        OnBatch::Fail => report::fail_if_held(txn, b, "code", "detail").await,
        OnBatch::Split => {
            let middle = plan::Bound { up_to_key: "50".into(), rows: 50 };
            report::split_if_held(txn, b, &middle, 50).await
        }
        OnBatch::AskSplit => match split::ask(txn, "ada", b.id).await {
            Err(e) if e.code() == "nothing_to_split" => Ok(false),
            asked => asked.map(|_| true),
        },
        OnBatch::Retry | OnBatch::RetryWithRow => {
            match retry::retry(txn, "ada", b.rotation_id, What::Batch(b.id)).await {
                Ok(retried) => Ok(retried.applied == 1),
                Err(e) if e.code() == "nothing_to_retry" => Ok(false),
                Err(e) => Err(e),
            }
        }
    })
    .await
}

#[test]
fn a_batchs_statements_change_it_only_from_the_states_that_the_law_names() {
    for_each_ledger(async |ledger| {
        let w = World::at(ledger.db(), RotationState::Reencrypting).await;
        for (what, from, to) in ON_BATCH {
            for state in BatchState::iter() {
                let before = w.batch(ledger.db(), state).await;
                if *what == OnBatch::RetryWithRow {
                    w.bad_row(ledger.db(), Some(before.id), QuarantineState::Open).await;
                }
                if *what == OnBatch::Claim && state == BatchState::Leased {
                    run(ledger.db(), format!("UPDATE reseal_batches SET lease_until = 1 WHERE id = {}", before.id))
                        .await;
                }
                let before = batch(ledger.db(), before.id).await;
                let changed = on_batch(&ledger, *what, &before).await.unwrap();
                let after = batch(ledger.db(), before.id).await;
                assert_eq!(changed, from.contains(&state), "{what:?} from {state}");
                if changed {
                    assert_eq!(after.state, *to, "{what:?} from {state}");
                    assert_ne!(after, before, "{what:?} from {state}");
                } else {
                    assert_eq!(after, before, "{what:?} from {state}");
                }
            }
        }
    });
}

#[test]
fn another_epoch_changes_no_batch() {
    for_each_ledger(async |ledger| {
        let w = World::at(ledger.db(), RotationState::Reencrypting).await;
        for what in [OnBatch::Checkpoint, OnBatch::Report, OnBatch::Release, OnBatch::Fail, OnBatch::Split] {
            for other in [-1, 1] {
                let held = w.batch(ledger.db(), BatchState::Leased).await;
                let before = everything(ledger.db()).await;
                let stale = batches::Model { epoch: held.epoch + other, ..held };
                assert!(!on_batch(&ledger, what, &stale).await.unwrap(), "{what:?}");
                assert_eq!(everything(ledger.db()).await, before, "{what:?}");
            }
        }
    });
}
