//! Two halves in the place of a batch: of one whose owners die without progress, and of one of which a person wants it.

use crate::{
    engine::Engine,
    error::EngineError,
    reencrypt::{Fate, fail},
    source::Range,
};
use reseal_entities::ledger::{
    claim::{BARREN_CLAIMS_MAX, Claimed},
    report,
};

/// Splits what is left of a batch at its middle row, as the source counts rows now. None: it is one row at most and
/// cannot be split, so it is tried as it is, up to the point where a person must look.
pub(crate) async fn in_two(engine: &Engine, claimed: &Claimed) -> Result<Option<Fate>, EngineError> {
    let batch = &claimed.batch;
    let target = engine.planned_target(&claimed.table).await?;
    let range =
        Range { after: batch.cursor.clone().or_else(|| batch.after_key.clone()), up_to: Some(batch.up_to_key.clone()) };
    let first_of = async |rows| Ok::<_, EngineError>(target.source.bounds(&target.shape, &range, rows, 1).await?.pop());
    // The planned number tells nothing of what is left of a batch that is done again.
    let rows = first_of(i64::MAX).await?.map_or(0, |all| all.rows);
    let middle = if rows > 1 { first_of(rows / 2).await? } else { None };
    let Some(middle) = middle.filter(|m| m.up_to_key != batch.up_to_key) else {
        if batch.barren_claims > 2 * BARREN_CLAIMS_MAX {
            let detail = "its workers died each time without progress, and it cannot be split further";
            fail(engine, batch, "kills_its_worker", detail).await?;
            return Ok(Some(Fate::Failed));
        }
        return Ok(None);
    };
    let txn = engine.ledger.begin().await?;
    if !report::split_if_held(&txn, batch, &middle, rows - middle.rows).await? {
        txn.rollback().await?;
        return Ok(Some(Fate::Lost));
    }
    txn.commit().await?;
    Ok(Some(Fate::Split))
}
