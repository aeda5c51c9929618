//! Before a key is destroyed, what the last count saw must survive: a crash of the source's server, which may have lost
//! commits that were not yet on disk, and the promotion of a copy that has not replayed them.

use crate::{engine::Engine, error::EngineError, memo::Memo, step::Stepped};
use reseal_entities::{exemptions::Kind, ledger::exclude, rotations};
use std::{
    collections::BTreeMap,
    time::{Duration, Instant},
};

/// Between two looks.
const LOOK: Duration = Duration::from_millis(100);
/// Copies that keep up have replayed a position within this time.
const PATIENCE: Duration = Duration::from_secs(5);
const AGAIN_MS: i64 = 10_000;

/// Puts every source's commits on disk, and says where its log stands then.
pub(crate) async fn flush(engine: &Engine) -> Result<BTreeMap<String, String>, EngineError> {
    let mut positions = BTreeMap::new();
    for (name, source) in engine.covered().await? {
        positions.insert(name, source.flush().await?);
    }
    Ok(positions)
}

/// None: every copy of every source has replayed what was counted. A position that another server's log has now is
/// forgotten, and with it the count.
pub(crate) async fn replayed(
    engine: &Engine,
    rotation: &rotations::Model,
    memo: &mut Memo,
) -> Result<Option<Stepped>, EngineError> {
    let began = Instant::now();
    loop {
        let Some(behind) = behind(engine, rotation, memo).await? else {
            memo.counted.clear();
            memo.keep(engine, rotation).await?;
            let detail = "a source's server has another log than the one that was counted under: it is counted again";
            return Ok(Some(Stepped::Waits { again_in_ms: 0, code: "source_promoted", detail: detail.to_owned() }));
        };
        if behind.is_empty() {
            return Ok(None);
        }
        if began.elapsed() >= PATIENCE {
            memo.keep(engine, rotation).await?;
            let detail = format!(
                "waits for copies that could take a source's place to replay what was counted: {}; one that never will is \
                 excluded with `reseal exclude {} --replica NAME --note …`",
                behind.join("; "),
                rotation.id
            );
            return Ok(Some(Stepped::Stuck { again_in_ms: AGAIN_MS, code: "replica_behind", detail }));
        }
        tokio::time::sleep(LOOK).await;
    }
}

async fn behind(engine: &Engine, rotation: &rotations::Model, memo: &Memo) -> Result<Option<Vec<String>>, EngineError> {
    let excluded = exclude::names(engine.ledger.db(), rotation.id, Kind::Replica).await?;
    let mut told = Vec::new();
    for (name, source) in engine.covered().await? {
        let Some(position) = memo.counted.get(&name) else { return Ok(None) };
        let Some(copies) = source.behind(position).await? else { return Ok(None) };
        let copies = copies.into_iter().map(|copy| (format!("{name}:{}", copy.name), copy.what));
        told.extend(
            copies.filter(|(name, _)| !excluded.contains(name)).map(|(name, what)| format!("`{name}` ({what})")),
        );
    }
    Ok(Some(told))
}
