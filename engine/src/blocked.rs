//! A proof that was blocked is not counted again until something has changed, or a growing pause is over: a count reads
//! whole databases.

use crate::{
    engine::Engine,
    error::EngineError,
    memo::{Blocked, Memo},
    step::Stepped,
};
use reseal_entities::{
    ledger::{catalog, length, now_ms, scope},
    rotations,
};
use serde_json::json;

const FIRST_PAUSE_MS: i64 = 60_000;
const LONGEST_PAUSE_MS: i64 = 3_600_000;
/// The sources are looked at for a change this often at least.
const LOOK_MS: i64 = 30_000;
/// After so many counts in a row, counting takes up at most a tenth of the time, whatever changes.
const EAGER: u32 = 3;
const SHARE: i64 = 10;

impl Blocked {
    /// Without a change.
    fn pause_ms(&self) -> i64 {
        FIRST_PAUSE_MS.saturating_mul(1 << self.times.saturating_sub(1).min(20)).min(LONGEST_PAUSE_MS)
    }

    /// When something has changed: a busy database always has.
    fn pause_after_change_ms(&self) -> i64 {
        if self.times <= EAGER {
            return 0; // somebody is at it
        }
        self.took_ms.saturating_mul(SHARE).max(self.pause_ms() / 8).min(self.pause_ms())
    }

    fn told(&self, left_ms: i64) -> String {
        format!(
            "{}; counted again once something changes in the source, at a retry, or in {}",
            self.detail,
            length(left_ms)
        )
    }
}

/// Some: nothing has changed since the last proof was blocked, and its pause is not over.
pub(crate) async fn still(engine: &Engine, memo: &Memo) -> Result<Option<Stepped>, EngineError> {
    let Some(blocked) = &memo.blocked else { return Ok(None) };
    let since = now_ms(engine.ledger.db()).await? - blocked.at;
    if since < 0 {
        return Ok(None); // written by a clock that was set back since
    }
    let left = blocked.pause_ms() - since;
    let changed = sign(engine).await? != blocked.sign;
    if left <= 0 || (changed && since >= blocked.pause_after_change_ms()) {
        return Ok(None);
    }
    Ok(Some(stuck(blocked, left, since)))
}

/// Remembers that a proof was blocked.
pub(crate) async fn note(
    engine: &Engine,
    rotation: &rotations::Model,
    memo: &mut Memo,
    (blocks, took_ms): (Vec<String>, i64),
) -> Result<Stepped, EngineError> {
    let blocked = Blocked {
        detail: blocks.join("; "),
        sign: sign(engine).await?,
        at: now_ms(engine.ledger.db()).await?,
        took_ms,
        times: memo.blocked.as_ref().map_or(0, |b| b.times) + 1,
    };
    let stuck = stuck(&blocked, blocked.pause_ms(), 0);
    memo.blocked = Some(blocked);
    memo.keep(engine, rotation).await?;
    Ok(stuck)
}

/// Soon after a block somebody is likely to be at it.
fn stuck(blocked: &Blocked, left_ms: i64, since_ms: i64) -> Stepped {
    let again_in_ms = (since_ms / 4).clamp(1_000, LOOK_MS).min(left_ms.max(1_000));
    Stepped::Stuck { again_in_ms, code: "proof_blocked", detail: blocked.told(left_ms) }
}

/// What changes when the cause of a block is mended, in the sources or in the ledger; cheap. A source that is away counts as
/// changed: the step then says so.
async fn sign(engine: &Engine) -> Result<String, EngineError> {
    let mut signs = Vec::new();
    let scope = scope::now(engine.ledger.db()).await?;
    for name in &scope.sources {
        signs.push(json!([name, engine.source(name)?.sign().await?, scope.left_out(name)]));
    }
    let columns = catalog::registered(engine.ledger.db()).await?;
    let columns: Vec<_> = columns.iter().map(|c| (c.id, &c.format, c.adopted_at)).collect();
    Ok(json!([signs, columns]).to_string())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pauses_grow_to_an_hour_and_changes_cost_a_tenth_of_the_time_at_most() {
        let blocked = |times, took_ms| Blocked { times, took_ms, ..Blocked::default() };
        assert_eq!(blocked(1, 0).pause_ms(), 60_000);
        assert_eq!(blocked(3, 0).pause_ms(), 240_000);
        assert_eq!(blocked(100, 0).pause_ms(), LONGEST_PAUSE_MS);
        assert_eq!(blocked(3, 10_000).pause_after_change_ms(), 0);
        assert_eq!(blocked(4, 10_000).pause_after_change_ms(), 100_000);
        assert_eq!(blocked(100, 5).pause_after_change_ms(), LONGEST_PAUSE_MS / 8);
        assert_eq!(blocked(4, i64::MAX).pause_after_change_ms(), 480_000, "never longer than without a change");
    }
}
