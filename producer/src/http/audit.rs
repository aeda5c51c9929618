//! Who did what when.

use super::{
    App,
    paging::{Paging, page},
    problem::problem,
    tell,
};
use crate::api::{AuditEntry, AuditVerdict, Page};
use axum::{
    body::{Body, Bytes},
    extract::State,
    http::header,
    response::{IntoResponse, Response},
};
use futures::stream;
use reseal_entities::ledger::{
    LedgerError, audit,
    pages::{self, Audit},
};
use reseal_http::{Json, Problem, Query};
use serde::Deserialize;
use utoipa::IntoParams;
use utoipa_axum::{router::OpenApiRouter, routes};

pub(super) fn routes() -> OpenApiRouter<App> {
    OpenApiRouter::new().routes(routes!(list)).routes(routes!(verify)).routes(routes!(export))
}

#[derive(Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
struct Which {
    /// By this person or worker.
    actor: Option<String>,
    /// Of this kind, e.g. `key.promoted`.
    action: Option<String>,
    /// Of this thing, e.g. `rotation 3`.
    subject: Option<String>,
}

/// Lists the audit, newest first
#[utoipa::path(
    get, path = "/v1/audit", tag = "audit", operation_id = "listAudit", params(Which, Paging),
    responses((status = 200, description = "A page", body = Page<AuditEntry>))
)]
async fn list(
    State(app): State<App>,
    Query(which): Query<Which>,
    Query(paging): Query<Paging>,
) -> Result<Json<Page<AuditEntry>>, Problem> {
    let (limit, before) = paging.read()?;
    let which = Audit { actor: which.actor, action: which.action, subject: which.subject };
    let found = pages::audit(app.ledger().db(), &which, before, limit + 1).await.map_err(problem)?;
    Ok(Json(page(found, limit, |e| e.seq, tell::audit_entry)))
}

/// Reads the whole chain and says whether it holds
///
/// Finds any edit, deletion or reordering. Whoever can write the ledger can also cut the chain's end off or write all of it anew:
/// only an export kept elsewhere shows that, see `reseal audit verify --checkpoint`.
#[utoipa::path(
    get, path = "/v1/audit/verify", tag = "audit", operation_id = "verifyAudit",
    responses((status = 200, description = "Whether it holds", body = AuditVerdict))
)]
async fn verify(State(app): State<App>) -> Result<Json<AuditVerdict>, Problem> {
    let verdict = audit::verify(app.ledger().db()).await.map_err(problem)?;
    Ok(Json(AuditVerdict { holds: verdict.broken.is_none(), entries: verdict.entries, broken: verdict.broken }))
}

/// Exports the audit as JSON Lines, oldest first
///
/// Each line is an entry; the last one is the checkpoint that `reseal audit verify --checkpoint` takes. A chain that does not hold
/// ends the stream before its checkpoint.
#[utoipa::path(
    get, path = "/v1/audit/export", tag = "audit", operation_id = "exportAudit",
    responses((status = 200, description = "Entries, then a checkpoint", content_type = "application/jsonl", body = String))
)]
pub(crate) async fn export(State(app): State<App>) -> Result<Response, Problem> {
    let walk = audit::Walk::begin(app.ledger().db(), 1).await.map_err(problem)?;
    let lines = stream::try_unfold((app, Some(walk)), |(app, walk)| async move {
        let Some(mut walk) = walk else { return Ok(None) };
        let rows = walk.next(app.ledger().db()).await?;
        if rows.is_empty() {
            let checkpoint = line(&serde_json::json!({"checkpoint": walk.end}));
            return Ok(Some((Bytes::from(checkpoint), (app, None))));
        }
        let lines: String = rows.into_iter().map(|row| line(&tell::audit_entry(row))).collect();
        Ok::<_, LedgerError>(Some((Bytes::from(lines), (app, Some(walk)))))
    });
    let lines = futures::TryStreamExt::map_err(lines, |e| {
        tracing::error!("the export of the audit ends before its end: {e}");
        std::io::Error::other("the chain is broken")
    });
    Ok(([(header::CONTENT_TYPE, "application/jsonl")], Body::from_stream(lines)).into_response())
}

fn line(entry: &impl serde::Serialize) -> String {
    serde_json::to_string(entry).unwrap_or_default() + "\n"
}
