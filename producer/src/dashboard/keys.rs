//! Keys: each keyset's, how old they are, and how many cells are under them.

use super::{
    assets, due,
    form::{Once, fresh_key},
    frame::{Done, Frame, page},
    numbers,
    tone::Tone,
};
use crate::http::{App, Caller, operations_asker, problem, request_operation};
use askama::Template;
use axum::{
    extract::State,
    response::{IntoResponse, Redirect, Response},
};
use reseal_entities::{
    keys,
    ledger::{
        keys as ledger_keys, now_ms,
        operations::{self, Ask},
    },
    operations::OperationKind,
};
use reseal_http::{Form, Problem, Query, RequestId};
use serde::Deserialize;
use std::time::Duration;

/// A census, as a worker wrote it down.
#[derive(Default, Deserialize)]
struct Census {
    columns: Vec<Column>,
}

#[derive(Deserialize)]
struct Column {
    column: String,
    keyset: String,
    keys: Vec<Counted>,
}

#[derive(Deserialize)]
struct Counted {
    key_id: Option<i64>,
    state: String,
    cells: i64,
}

#[derive(Template)]
#[template(path = "keys.html")]
struct Page {
    frame: Frame,
    keysets: Vec<(String, Vec<keys::Model>)>,
    census: Census,
    census_at: Option<i64>,
    key: String,
    now: i64,
    cryptoperiod: Option<Duration>,
}

impl Page {
    /// Cells under a key by the last census; none: there was none.
    fn cells(&self, key_id: i64) -> Option<i64> {
        let under = self.census.columns.iter().flat_map(|c| &c.keys).filter(|k| k.key_id == Some(key_id));
        self.census_at.map(|_| under.map(|k| k.cells).sum())
    }
}

pub(super) async fn show(
    State(app): State<App>,
    caller: Caller,
    Query(done): Query<Done>,
) -> Result<Response, Problem> {
    let db = app.ledger().db();
    let mut keysets: Vec<(String, Vec<keys::Model>)> = Vec::new();
    for key in ledger_keys::all(db).await.map_err(problem)? {
        match keysets.last_mut() {
            Some((keyset, keys)) if *keyset == key.keyset => keys.push(key),
            _ => keysets.push((key.keyset.clone(), vec![key])),
        }
    }
    // The key that encrypts comes first.
    keysets.iter_mut().for_each(|(_, keys)| keys.reverse());
    let last = operations::latest_succeeded(db, OperationKind::Census).await.map_err(problem)?;
    let census_at = last.as_ref().and_then(|o| o.ended_at);
    let census = last.and_then(|o| o.result).and_then(|json| serde_json::from_str(&json).ok()).unwrap_or_default();
    let now = now_ms(db).await.map_err(|e| problem(e.into()))?;
    let frame = Frame::new(&caller, "/keys", "/keys".to_owned()).done(&done);
    Ok(page(
        &Page { frame, keysets, census, census_at, key: fresh_key(), now, cryptoperiod: app.settings().cryptoperiod },
        None,
    ))
}

pub(super) async fn census(
    State(app): State<App>,
    caller: Caller,
    request_id: RequestId,
    Form(once): Form<Once>,
) -> Result<Response, Problem> {
    let asker = operations_asker(&caller, request_id, once.key);
    let ask = Ask::Census { column: None, key_id: None };
    let (operation, _) = request_operation(&app, &ask, &asker).await?;
    Ok(Redirect::to(&format!("/operations/{}", operation.id)).into_response())
}
