//! Waiting until transactions that are older than a count have ended: the count cannot see what they wrote.
//!
//! First those that are open now, when the columns are empty of retired keys, since any of them may have read an old cell. Then
//! those that are open at that moment: one of the first may have handed a cell to another connection. Whatever began later
//! has found no old cell in a registered column.

use crate::{
    engine::Engine,
    error::EngineError,
    memo::{Memo, Older},
    source::OpenTransaction,
    step::Stepped,
};
use reseal_entities::rotations;
use std::{
    collections::BTreeMap,
    time::{Duration, Instant},
};

/// Between two looks.
const LOOK: Duration = Duration::from_millis(200);
/// A step that has waited for so long lets others have its lane.
const PATIENCE: Duration = Duration::from_secs(5);
const AGAIN_MS: i64 = 5_000;
/// So many of them are named.
const NAMED_MAX: usize = 5;

/// None: they have ended. What is waited for is kept over tries, so that new ones, of which there are always some, do not count.
pub(crate) async fn ended(
    engine: &Engine,
    rotation: &rotations::Model,
    memo: &mut Memo,
) -> Result<Option<Stepped>, EngineError> {
    let began = Instant::now();
    loop {
        let now = look(engine).await?;
        let left = step(&mut memo.older, &now);
        if left.is_empty() {
            memo.older = None;
            return Ok(None);
        }
        if began.elapsed() >= PATIENCE {
            memo.keep(engine, rotation).await?;
            return Ok(Some(Stepped::Waits { again_in_ms: AGAIN_MS, code: "older_transactions", detail: told(&left) }));
        }
        tokio::time::sleep(LOOK).await;
    }
}

type Open = BTreeMap<String, Vec<OpenTransaction>>;

async fn look(engine: &Engine) -> Result<Open, EngineError> {
    let mut open = Open::new();
    for (name, source) in engine.covered().await? {
        open.insert(name, source.open_transactions().await?);
    }
    Ok(open)
}

/// Takes a look into account; what is still waited for, for people. Empty: both rounds are over.
fn step(older: &mut Option<Older>, now: &Open) -> Vec<String> {
    let ids = |found: &[OpenTransaction]| found.iter().map(|t| t.id.clone()).collect::<Vec<_>>();
    let all = || now.iter().map(|(source, found)| (source.clone(), ids(found))).collect();
    loop {
        let waited = older.get_or_insert_with(|| Older { second: false, open: all() });
        let mut left = Vec::new();
        for (source, seen) in &mut waited.open {
            let still = now.get(source).map(Vec::as_slice).unwrap_or_default();
            seen.retain(|id| still.iter().any(|t| t.id == *id));
            let these = still.iter().filter(|t| seen.contains(&t.id));
            left.extend(these.map(|t| format!("source `{source}`: {}", t.what)));
        }
        if !left.is_empty() || waited.second {
            return left;
        }
        *waited = Older { second: true, open: all() };
    }
}

fn told(left: &[String]) -> String {
    let more = left.len().saturating_sub(NAMED_MAX);
    let more = if more > 0 { format!("; and {more} more") } else { String::new() };
    format!(
        "waits for transactions that are older than the count to end, since it cannot see what they wrote: {}{more}",
        left[..left.len().min(NAMED_MAX)].join("; ")
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    fn open(ids: &[&str]) -> Open {
        let one = |id: &&str| OpenTransaction { id: (*id).to_owned(), what: (*id).to_owned() };
        Open::from([("app".to_owned(), ids.iter().map(one).collect())])
    }

    #[test]
    fn newer_transactions_are_waited_for_once_and_later_ones_never() {
        let mut older = None;
        assert_eq!(step(&mut older, &open(&["1", "2"])).len(), 2);
        assert_eq!(step(&mut older, &open(&["2", "3"])).len(), 1, "3 is newer");
        // 2 has ended; 3 and 4 may have been handed what it read
        assert_eq!(step(&mut older, &open(&["3", "4"])).len(), 2);
        assert_eq!(step(&mut older, &open(&["4", "5"])).len(), 1);
        assert_eq!(step(&mut older, &open(&["5", "6"])), Vec::<String>::new());
    }

    #[test]
    fn an_idle_source_is_not_waited_for() {
        assert!(step(&mut None, &open(&[])).is_empty());
    }
}
