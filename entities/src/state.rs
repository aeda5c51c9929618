//! The laws: which state may follow which. Pure, and all on this page.
//!
//! Every statement that changes a state takes its condition and its new value from the edge
//! declared here, so the law in memory and the law in SQL cannot drift apart.

use sea_orm::entity::prelude::*;
use serde::{Deserialize, Serialize};

/// A change that the law does not allow.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{what} cannot {event} while {state}")]
pub struct IllegalTransition {
    what: &'static str,
    state: String,
    event: String,
}

/// A state with its law. [`Law::edge`] is the whole of it; the rest follows.
pub trait Law: Copy + PartialEq + std::fmt::Debug + Sized + 'static {
    /// What can happen to it.
    type Event: Copy + std::fmt::Debug;
    /// The word for it in messages.
    const WHAT: &'static str;

    /// The states from which `event` may happen, and the one state in which it ends.
    fn edge(event: Self::Event) -> (&'static [Self], Self);

    /// The state after `event`, or why there is none.
    fn next(self, event: Self::Event) -> Result<Self, IllegalTransition> {
        let (from, to) = Self::edge(event);
        if from.contains(&self) {
            Ok(to)
        } else {
            Err(IllegalTransition {
                what: Self::WHAT,
                state: format!("{self:?}").to_lowercase(),
                event: format!("{event:?}").to_lowercase(),
            })
        }
    }
}

macro_rules! states {
    ($(#[$doc:meta])* $name:ident { $($(#[$variant_doc:meta])* $variant:ident),+ $(,)? }) => {
        $(#[$doc])*
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, EnumIter, DeriveActiveEnum, Serialize, Deserialize)]
        #[sea_orm(rs_type = "String", db_type = "String(StringLen::N(16))", rename_all = "snake_case")]
        #[serde(rename_all = "snake_case")]
        pub enum $name { $($(#[$variant_doc])* $variant),+ }

        impl std::fmt::Display for $name {
            fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                f.pad(&self.to_value())
            }
        }
    };
}

pub(crate) use states;

/// A state as people read it: `re-encrypting`, `rolled back`, `pre-active`. The ledger and the API have its value.
pub fn in_words(state: impl std::fmt::Display) -> String {
    match state.to_string().as_str() {
        "reencrypting" => "re-encrypting".to_owned(),
        "pre_active" => "pre-active".to_owned(),
        value => value.replace('_', " "),
    }
}

states! {
    /// A key's state (NIST SP 800-57).
    KeyState {
        /// Stored and probed, not yet used to encrypt.
        PreActive,
        /// The one key of its keyset that encrypts.
        Active,
        /// Decrypts only; being emptied.
        Deactivated,
        /// Refused for every use, still restorable.
        Suspended,
        /// Its material is gone; the row stays as a tombstone.
        Destroyed,
    }
}

/// What can happen to a key.
#[derive(Clone, Copy, Debug, PartialEq, Eq, EnumIter)]
pub enum KeyEvent {
    /// Becomes the key that encrypts; its generation rises.
    Activate,
    /// Gives way to another active key.
    Deactivate,
    /// The proof stands; nothing may use it any more.
    Suspend,
    /// The proof fell; it must decrypt again.
    Restore,
    /// Its wrapped bytes are wiped.
    Destroy,
}

impl Law for KeyState {
    type Event = KeyEvent;
    const WHAT: &'static str = "a key";

    fn edge(event: KeyEvent) -> (&'static [Self], Self) {
        use KeyState::*;
        match event {
            KeyEvent::Activate => (&[PreActive, Deactivated], Active),
            KeyEvent::Deactivate => (&[Active], Deactivated),
            KeyEvent::Suspend => (&[Deactivated], Suspended),
            KeyEvent::Restore => (&[Suspended], Deactivated),
            KeyEvent::Destroy => (&[Suspended], Destroyed),
        }
    }
}

states! {
    /// Where a rotation stands.
    RotationState {
        /// Written down; no worker has looked at it yet.
        Requested,
        /// The new key is being made and promoted.
        Planning,
        /// Batches are worked off; planning may still go on (`planning_done`).
        Reencrypting,
        /// Fence, sweep and census.
        Proving,
        /// Proved; the retired keys are suspended until the waiting time is over.
        Waiting,
        /// The intent to destroy the retired keys is committed.
        Clearing,
        /// The retired keys are destroyed.
        Completed,
        /// A person stopped it; both keys are there, and the next rotation retires what is left.
        Cancelled,
        /// A person turned it round; its reverse took over.
        RolledBack,
    }
}

/// What can happen to a rotation.
#[derive(Clone, Copy, Debug, PartialEq, Eq, EnumIter)]
pub enum RotationEvent {
    /// A worker begins to plan.
    Plan,
    /// The new key is promoted and the first batches can be claimed.
    Reencrypt,
    /// Nothing is open and nothing is quarantined.
    Prove,
    /// The registered columns are not those that were planned.
    Replan,
    /// Every column is proved empty of the retired keys.
    Wait,
    /// The proof no longer stands; the keys must decrypt again.
    VoidProof,
    /// The waiting time is over.
    Clear,
    /// The retired keys and their backups are gone.
    Complete,
    /// A person stops it.
    Cancel,
    /// A rotation the other way takes over.
    RollBack,
}

impl Law for RotationState {
    type Event = RotationEvent;
    const WHAT: &'static str = "a rotation";

    fn edge(event: RotationEvent) -> (&'static [Self], Self) {
        use RotationState::*;
        match event {
            RotationEvent::Plan => (&[Requested], Planning),
            RotationEvent::Reencrypt => (&[Planning], Reencrypting),
            RotationEvent::Prove => (&[Reencrypting], Proving),
            RotationEvent::Replan => (&[Proving], Reencrypting),
            RotationEvent::Wait => (&[Proving], Waiting),
            RotationEvent::VoidProof => (&[Waiting, Clearing], Proving),
            RotationEvent::Clear => (&[Waiting], Clearing),
            RotationEvent::Complete => (&[Clearing], Completed),
            RotationEvent::Cancel => (&[Requested, Planning, Reencrypting, Proving, Waiting, Clearing], Cancelled),
            RotationEvent::RollBack => (&[Planning, Reencrypting, Proving, Waiting, Clearing, Cancelled], RolledBack),
        }
    }
}

states! {
    /// Where a batch stands.
    BatchState {
        /// Waits for a worker, perhaps until its retry time.
        Pending,
        /// A worker holds it until `lease_until`.
        Leased,
        /// Every row of it was looked at.
        Done,
        /// Out of attempts; waits for a person. Counts as open.
        Failed,
        /// Others took its place, or its table has left the plan.
        Superseded,
    }
}

/// What can happen to a batch.
#[derive(Clone, Copy, Debug, PartialEq, Eq, EnumIter)]
pub enum BatchEvent {
    /// A worker takes it, also from an owner whose lease has run out.
    Claim,
    /// Its owner has looked at every row.
    Report,
    /// Its owner gives it back: drained, or to be tried again later.
    Release,
    /// Its owner gives it up for a person to look at.
    Fail,
    /// It kills its workers, or a person wants it, so smaller batches take its place.
    Split,
    /// A person wants smaller ones in its place: the next owner sees to it.
    AskSplit,
    /// A person, or a quarantined row, wants it done again.
    Retry,
    /// Its table has left the plan, or is cut into other batches.
    Withdraw,
}

impl Law for BatchState {
    type Event = BatchEvent;
    const WHAT: &'static str = "a batch";

    fn edge(event: BatchEvent) -> (&'static [Self], Self) {
        use BatchState::*;
        match event {
            BatchEvent::Claim => (&[Pending, Leased], Leased),
            BatchEvent::Report => (&[Leased], Done),
            BatchEvent::Release => (&[Leased], Pending),
            BatchEvent::Fail => (&[Leased], Failed),
            BatchEvent::Split => (&[Leased], Superseded),
            BatchEvent::AskSplit => (&[Pending, Failed], Pending),
            BatchEvent::Retry => (&[Failed, Done], Pending),
            BatchEvent::Withdraw => (&[Pending, Leased, Failed], Superseded),
        }
    }
}

states! {
    /// Where an operation stands: work that somebody asked for and a worker does.
    OperationState {
        /// Waits for a worker, perhaps until its time comes again.
        Requested,
        /// A worker holds it until `lease_until`.
        Running,
        /// Done; its result is kept.
        Succeeded,
        /// Given up; its code says why.
        Failed,
    }
}

/// What can happen to an operation.
#[derive(Clone, Copy, Debug, PartialEq, Eq, EnumIter)]
pub enum OperationEvent {
    /// A worker takes it, also from one whose lease has run out.
    Claim,
    /// Its worker gives it back: drained, or to be looked at again later.
    Release,
    /// Its worker has done it.
    Succeed,
    /// Its worker gives it up, or too many workers died at it.
    Fail,
}

impl Law for OperationState {
    type Event = OperationEvent;
    const WHAT: &'static str = "an operation";

    fn edge(event: OperationEvent) -> (&'static [Self], Self) {
        use OperationState::*;
        match event {
            OperationEvent::Claim => (&[Requested, Running], Running),
            OperationEvent::Release => (&[Running], Requested),
            OperationEvent::Succeed => (&[Running], Succeeded),
            OperationEvent::Fail => (&[Running], Failed),
        }
    }
}

impl RotationState {
    /// The states that nothing leads on from, but that a cancelled rotation can still be turned round.
    pub const ENDED: [Self; 3] = [Self::Completed, Self::Cancelled, Self::RolledBack];

    /// It has ended.
    pub fn has_ended(self) -> bool {
        Self::ENDED.contains(&self)
    }
}

impl BatchState {
    /// The states that keep a rotation from being proved.
    pub const OPEN: [Self; 3] = [Self::Pending, Self::Leased, Self::Failed];
}
