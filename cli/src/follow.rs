//! Following a rotation until it ends, or cannot go on by itself.

mod bars;
mod judge;
mod lines;

pub(crate) use judge::End;
pub(crate) use lines::Lines;

use crate::signals::StopSignals;
use crate::{
    failure::{Exit, Failure},
    output::{self, Output},
};
use bars::Bars;
use judge::Judge;
use reseal_entities::{
    ledger::{
        Ledger, LedgerError, now_ms,
        read::{self, RotationStatus},
    },
    rotations,
};
use sea_orm::DbBackend;
use std::time::Duration;
use tokio::time::Instant;

/// A ledger that is away for less long is waited for.
const LEDGER_AWAY_MAX: Duration = Duration::from_secs(30);

/// A followed rotation.
pub(crate) struct Followed {
    pub status: RotationStatus,
    pub end: End,
    /// When the old key will be cleared, Unix milliseconds: while only the waiting time is left.
    pub clears_at: Option<i64>,
    /// From the request to the end; to now for one that has not ended.
    pub took: Duration,
}

/// Follows rotation `id` until ctrl-c, which ends the looking and not the rotation.
pub(crate) async fn follow(ledger: &Ledger, id: i64, output: &Output) -> Result<Followed, Failure> {
    let signals = StopSignals::listen().map_err(Failure::io("signals cannot be heard"))?;
    tokio::select! {
        followed = to_its_end(ledger, id, output) => followed,
        () = signals.stop() => {
            let message = format!(
                "no longer following; rotation {id} goes on: `reseal status {id} --watch` shows it, `reseal pause {id}` stops it"
            );
            Err(Failure { exit: Exit::Interrupted, ..Failure::new("interrupted", message) })
        }
    }
}

/// Follows rotation `id`.
pub(crate) async fn to_its_end(ledger: &Ledger, id: i64, output: &Output) -> Result<Followed, Failure> {
    let (mut judge, mut progress) = (Judge::default(), Progress::new(output));
    loop {
        let (status, rotation) = look(ledger, id).await?;
        progress.show(&status);
        if let Some(end) = judge.look(&status, &step_of(&status, &rotation), Instant::now()) {
            progress.finish();
            let now = now_ms(ledger.db()).await?;
            let clears_at = status.waiting_left_ms.map(|left| now + left);
            let took = status.completed_at.unwrap_or(now) - status.requested_at;
            let took = Duration::from_millis(u64::try_from(took).unwrap_or(0));
            return Ok(Followed { status, end, clears_at, took });
        }
        tokio::time::sleep(pause(ledger)).await;
    }
}

/// A file in this machine is asked more often than a server.
pub(crate) fn pause(ledger: &Ledger) -> Duration {
    match ledger.db().get_database_backend() {
        DbBackend::Sqlite => Duration::from_millis(300),
        _ => Duration::from_secs(1),
    }
}

async fn look(ledger: &Ledger, id: i64) -> Result<(RotationStatus, rotations::Model), Failure> {
    let since = Instant::now();
    loop {
        let found = async { Ok((read::status(ledger.db(), id).await?, read::rotation(ledger.db(), id).await?)) };
        match found.await {
            Err(LedgerError::Database(e)) if since.elapsed() < LEDGER_AWAY_MAX => {
                tracing::debug!("the ledger did not answer: {e}");
                tokio::time::sleep(Duration::from_secs(1)).await;
            }
            found => return Ok(found?),
        }
    }
}

/// What of a rotation's row decides whether it goes on by itself.
fn step_of(status: &RotationStatus, rotation: &rotations::Model) -> judge::Step {
    let batches = |state: &str| status.batches.get(state).copied().unwrap_or(0);
    judge::Step {
        planning: !rotation.planning_done,
        batches_due: batches("pending") + batches("leased") > 0 && status.tables.iter().all(|t| t.fault.is_none()),
        rows_or_batches_failed: status.quarantined > 0 || batches("failed") > 0,
        held: rotation.hold_at.is_some(),
    }
}

/// Bars on a terminal, lines elsewhere, nothing for those who asked for nothing.
enum Progress {
    Bars(Bars),
    Lines(Lines),
    None,
}

impl Progress {
    fn new(output: &Output) -> Self {
        match (output.quiet, output::stderr_is_terminal(), output.json) {
            (true, ..) | (_, false, true) => Self::None,
            (_, true, _) => Self::Bars(Bars::default()),
            (_, false, false) => Self::Lines(Lines::new(*output)),
        }
    }

    fn show(&mut self, status: &RotationStatus) {
        match self {
            Self::Bars(bars) => bars.show(status),
            Self::Lines(lines) => lines.show(status),
            Self::None => {}
        }
    }

    fn finish(&mut self) {
        if let Self::Bars(bars) = self {
            bars.finish();
        }
    }
}
