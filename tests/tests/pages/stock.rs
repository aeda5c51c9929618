//! Ledgers that pages are looked at with.

mod audit;
mod catalog;
mod going;
mod keys;
mod many;
mod operations;
mod others;
mod workers;

pub(crate) use going::go_on;
pub(crate) use many::MANY;
pub(crate) use workers::live;

use crate::words::{HOSTILE, PLAIN, Words};
use reseal_entities::{
    ledger::{Ledger, now_ms},
    state::KeyState,
};

/// What a ledger holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum State {
    /// Everything that there can be, a little of each.
    Normal,
    /// Nothing: it was just migrated.
    Empty,
    /// As normal, and a hundred thousand batches.
    Many,
    /// As normal, and every text that somebody can choose is chosen to do harm.
    Hostile,
}

impl State {
    pub(crate) fn words(self) -> &'static Words {
        if self == Self::Hostile { &HOSTILE } else { &PLAIN }
    }
}

/// The ids of what a ledger holds; none in an empty one.
#[derive(Debug, Default)]
pub(crate) struct Stock {
    /// The rotation that goes on; with what failed, what is quarantined, and a limit.
    pub(crate) going: i64,
    /// One that is proved and waits to be cleared: for time to pass, and for a second person.
    pub(crate) waiting: i64,
    /// One whose old key is destroyed.
    pub(crate) ended: i64,
    /// One that its throttle has stopped.
    pub(crate) stopped: i64,
    /// A key of each state.
    pub(crate) keys: Vec<(KeyState, i64)>,
    /// Of the rotation that goes on, one of each state.
    pub(crate) batches: Vec<i64>,
    /// Rows of it that are quarantined.
    pub(crate) quarantined: Vec<i64>,
    /// One of each kind: asked for, failed, or done.
    pub(crate) operations: Vec<i64>,
}

/// Fills a ledger that was just migrated.
pub(crate) async fn fill(ledger: &Ledger, state: State) -> Stock {
    let mut stock = Stock::default();
    if state == State::Empty {
        return stock;
    }
    let (db, words) = (ledger.db(), state.words());
    let now = now_ms(db).await.expect("the time");
    let keys = keys::make(db, words, now).await;
    stock.keys = keys.one_of_each();
    catalog::register(db, words, now).await;
    workers::appear(db, words, now, &keys).await;
    others::make(db, words, now, &keys, &mut stock).await;
    going::make(db, words, now, &keys, &mut stock).await;
    if state == State::Many {
        many::cut(db, stock.going).await;
    }
    operations::make(ledger, words, &mut stock).await;
    audit::tell(ledger, words, &stock).await;
    stock
}
