//! One rotation, straight into ledger and queue.

use reseal_entities::{
    job::{Doorbell, Job, JobKind},
    ledger::{
        Ledger, LedgerError, now_ms,
        open::{self, Opened, Request},
    },
};

/// Writes a rotation down and rings for it. The same request again, fifty at once, or a process that
/// dies in between: one rotation. The ring only saves dispatch's next look, so a queue that does not
/// answer, or `bell` being none, costs a second and nothing else.
pub async fn enqueue(ledger: &Ledger, bell: Option<&dyn Doorbell>, request: &Request) -> Result<Opened, LedgerError> {
    let txn = ledger.begin().await?;
    let opened = match open::open_if_none_is(&txn, request).await {
        Ok(opened) => {
            txn.commit().await?;
            opened
        }
        Err(e) if open::lost_the_race(&e) => {
            txn.rollback().await?;
            open::find(ledger.db(), request).await?.ok_or(e)?
        }
        Err(e) => return Err(e),
    };
    if let (Opened::Created(id), Some(bell)) = (&opened, bell) {
        let ring_id = format!("p{id}.r{}", now_ms(ledger.db()).await.unwrap_or_default());
        if let Err(e) = bell.ring(&Job { kind: JobKind::Plan, id: *id }, &ring_id).await {
            tracing::warn!("rotation {id} was not rung for, dispatch will: {e}");
        }
    }
    Ok(opened)
}
