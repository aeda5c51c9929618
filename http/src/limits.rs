//! The limits that every request runs under.

use crate::Problem;
use axum::{
    Router,
    extract::{DefaultBodyLimit, Request, State},
    middleware::{self, Next},
    response::{IntoResponse, Response},
};
use std::{sync::Arc, time::Duration};
use tokio::sync::Semaphore;
use tower_http::catch_panic::CatchPanicLayer;

/// What one request, and all of them together, may take.
#[derive(Clone, Copy, Debug)]
pub struct Limits {
    /// Bytes of a body.
    pub body: usize,
    /// From the last byte of the head to the first of the answer; a stream may go on.
    pub time: Duration,
    /// Requests at once; one more is answered 503 and told to come back.
    pub concurrency: usize,
}

/// Puts the routes under these limits; a panic in one of them is a 500 of that request alone.
pub fn limited<S: Clone + Send + Sync + 'static>(router: Router<S>, limits: Limits) -> Router<S> {
    let permits = Arc::new(Semaphore::new(limits.concurrency));
    router
        .layer(CatchPanicLayer::custom(|_| internal().into_response()))
        .layer(DefaultBodyLimit::max(limits.body))
        .layer(middleware::from_fn_with_state((permits, limits.time), within))
}

async fn within(State((permits, time)): State<(Arc<Semaphore>, Duration)>, request: Request, next: Next) -> Response {
    let Ok(_permit) = permits.try_acquire() else {
        let busy = Problem::new(503, "too_busy", "too many requests at once: try again in a second");
        return busy.with("retry_after", 1).into_response();
    };
    match tokio::time::timeout(time, next.run(request)).await {
        Ok(response) => response,
        Err(_) => {
            let detail = format!("not done within {} s: ask what became of it before you repeat it", time.as_secs());
            Problem::new(504, "timed_out", detail).into_response()
        }
    }
}

fn internal() -> Problem {
    Problem::new(500, "internal", "something went wrong that should not: see the server's log by the request id")
}
