//! The laws in memory, against the table in `words.md`, written down here once more.

use std::fmt::Debug;

use reseal_entities::state::{
    BatchEvent::{self, *},
    BatchState::{self, *},
    KeyEvent, KeyState, Law, OperationEvent, OperationState, RotationEvent, RotationState,
};
use sea_orm::Iterable;

/// The only changes of a key.
const KEYS: &[(KeyState, KeyEvent, KeyState)] = &[
    (KeyState::PreActive, KeyEvent::Activate, KeyState::Active),
    (KeyState::Active, KeyEvent::Deactivate, KeyState::Deactivated),
    (KeyState::Deactivated, KeyEvent::Suspend, KeyState::Suspended),
    (KeyState::Suspended, KeyEvent::Destroy, KeyState::Destroyed),
    // back edges
    (KeyState::Deactivated, KeyEvent::Activate, KeyState::Active),
    (KeyState::Suspended, KeyEvent::Restore, KeyState::Deactivated),
];

/// The only changes of a rotation.
pub(crate) const ROTATIONS: &[(RotationState, RotationEvent, RotationState)] = &[
    (RotationState::Requested, RotationEvent::Plan, RotationState::Planning),
    (RotationState::Planning, RotationEvent::Reencrypt, RotationState::Reencrypting),
    (RotationState::Reencrypting, RotationEvent::Prove, RotationState::Proving),
    (RotationState::Proving, RotationEvent::Wait, RotationState::Waiting),
    (RotationState::Waiting, RotationEvent::Clear, RotationState::Clearing),
    (RotationState::Clearing, RotationEvent::Complete, RotationState::Completed),
    // back edges
    (RotationState::Proving, RotationEvent::Replan, RotationState::Reencrypting),
    (RotationState::Waiting, RotationEvent::VoidProof, RotationState::Proving),
    (RotationState::Clearing, RotationEvent::VoidProof, RotationState::Proving),
    // stopped
    (RotationState::Requested, RotationEvent::Cancel, RotationState::Cancelled),
    (RotationState::Planning, RotationEvent::Cancel, RotationState::Cancelled),
    (RotationState::Reencrypting, RotationEvent::Cancel, RotationState::Cancelled),
    (RotationState::Proving, RotationEvent::Cancel, RotationState::Cancelled),
    (RotationState::Waiting, RotationEvent::Cancel, RotationState::Cancelled),
    (RotationState::Clearing, RotationEvent::Cancel, RotationState::Cancelled),
    // turned round
    (RotationState::Planning, RotationEvent::RollBack, RotationState::RolledBack),
    (RotationState::Reencrypting, RotationEvent::RollBack, RotationState::RolledBack),
    (RotationState::Proving, RotationEvent::RollBack, RotationState::RolledBack),
    (RotationState::Waiting, RotationEvent::RollBack, RotationState::RolledBack),
    (RotationState::Clearing, RotationEvent::RollBack, RotationState::RolledBack),
    (RotationState::Cancelled, RotationEvent::RollBack, RotationState::RolledBack),
];

/// The only changes of a batch. A leased batch is claimed again only when its lease has run out.
const BATCHES: &[(BatchState, BatchEvent, BatchState)] = &[
    (Pending, Claim, Leased),
    (Leased, Claim, Leased),
    (Leased, Report, Done),
    (Leased, Release, Pending),
    (Leased, Fail, Failed),
    (Leased, Split, Superseded),
    (Failed, Retry, Pending),
    (Done, Retry, Pending),
    (Failed, AskSplit, Pending),
    (Pending, AskSplit, Pending),
];

fn next_is<L: Law + Iterable>(table: &[(L, L::Event, L)], events: impl Fn() -> Vec<L::Event>)
where
    L::Event: PartialEq + Debug,
{
    let mut allowed = 0;
    for state in L::iter() {
        for event in events() {
            let said = table.iter().find(|(from, what, _)| (*from, *what) == (state, event)).map(|(_, _, to)| *to);
            assert_eq!(state.next(event).ok(), said, "{state:?} and {event:?}");
            allowed += usize::from(said.is_some());
        }
    }
    assert_eq!(allowed, table.len());
}

/// The only changes of an operation. A running one is claimed again only when its lease has run out.
const OPERATIONS: &[(OperationState, OperationEvent, OperationState)] = &[
    (OperationState::Requested, OperationEvent::Claim, OperationState::Running),
    (OperationState::Running, OperationEvent::Claim, OperationState::Running),
    (OperationState::Running, OperationEvent::Release, OperationState::Requested),
    (OperationState::Running, OperationEvent::Succeed, OperationState::Succeeded),
    (OperationState::Running, OperationEvent::Fail, OperationState::Failed),
];

#[test]
fn an_operation_changes_only_as_the_table_says() {
    next_is(OPERATIONS, || OperationEvent::iter().collect());
}

#[test]
fn a_key_changes_only_as_the_table_of_words_says() {
    next_is(KEYS, || KeyEvent::iter().collect());
}

#[test]
fn a_rotation_changes_only_as_the_table_of_words_says() {
    next_is(ROTATIONS, || RotationEvent::iter().collect());
}

#[test]
fn a_batch_changes_only_as_the_table_of_words_says() {
    next_is(BATCHES, || vec![Claim, Report, Release, Fail, Split, AskSplit, Retry]);
}

#[test]
fn open_batches_are_those_that_are_neither_done_nor_superseded() {
    let open: Vec<BatchState> = BatchState::iter().filter(|state| BatchState::OPEN.contains(state)).collect();
    assert_eq!(open, [Pending, Leased, Failed]);
}

#[test]
fn a_refused_change_says_what_and_why() {
    let refused = KeyState::Active.next(KeyEvent::Destroy).unwrap_err();
    assert_eq!(refused.to_string(), "a key cannot destroy while active");
}
