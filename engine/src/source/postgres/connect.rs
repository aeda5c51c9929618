//! Opening connections to a source, and refusing servers that do not do.

use super::*;
use reseal_entities::ledger::reach::{self, Unreached, Why};
use std::{
    sync::{Arc, Mutex, PoisonError},
    time::Instant,
};

/// For a connection to be open.
const OPENS_WITHIN: Duration = Duration::from_secs(5);
/// `CREATE OR REPLACE TRIGGER`, which replaces a fence without a gap, came with it.
const OLDEST: u32 = 140_000;

impl From<Unreached> for SourceError {
    fn from(unreached: Unreached) -> Self {
        let (kind, code) = match unreached.why {
            Why::Address => (SourceErrorKind::Refused, "source_url"),
            Why::Tls => (SourceErrorKind::Refused, "source_tls"),
            Why::Login => (SourceErrorKind::Refused, "source_login"),
            Why::Full => (SourceErrorKind::Transient, "source_busy"),
            Why::Away => (SourceErrorKind::Transient, "source_unreachable"),
        };
        Self { kind, code, message: unreached.words }
    }
}

/// How a URL says to connect.
pub(super) fn options(url: &str) -> Result<PgConnectOptions, SourceError> {
    Ok(reach::options(url)?)
}

/// A session of its own, at once or not at all.
pub(super) async fn connect(options: &PgConnectOptions, kind: Kind) -> Result<PgConnection, SourceError> {
    let mut connection = reach::dial(options, OPENS_WITHIN).await?;
    if let Some(version) = connection.server_version_num().filter(|v| *v < OLDEST) {
        let message = format!(
            "the source's server is PostgreSQL {}, whose fences cannot be replaced without a gap: PostgreSQL 14 is the oldest \
             that works",
            version / 10_000
        );
        return Err(SourceError::refused("source_too_old", message));
    }
    session::settle(&mut connection, kind).await?;
    Ok(connection)
}

/// Since when connections are too old to be used: one to a primary that was replaced can live on for long.
#[derive(Clone, Default)]
pub(super) struct Left(Arc<Mutex<Option<Instant>>>);

impl Left {
    pub(super) fn now(&self) {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = Some(Instant::now());
    }

    fn holds(&self, age: Duration) -> bool {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).is_some_and(|left| left.elapsed() <= age)
    }
}

/// Everyday connections, none of them open yet.
pub(super) fn pool(options: &PgConnectOptions) -> (PgPool, Left) {
    let left = Left::default();
    let asked = left.clone();
    let pool = PgPoolOptions::new()
        .max_connections(16)
        .acquire_timeout(Duration::from_secs(10))
        .after_connect(|connection, _| Box::pin(session::settle(connection, Kind::Everyday)))
        .test_before_acquire(false)
        .before_acquire(move |connection, meta| {
            let left = asked.holds(meta.age);
            Box::pin(async move { Ok(!left && reach::answers(connection).await) })
        })
        .after_release(|connection, _| Box::pin(async { Ok(reach::answers(connection).await) }))
        .connect_lazy_with(options.clone());
    (pool, left)
}

/// Limits, row security and the locks that hold a fence are the session's.
pub(super) async fn refuse_a_shared_session(pool: &PgPool, option: &str) -> Result<(), SourceError> {
    if is_pooled(pool).await? {
        return Err(SourceError::refused(
            "source_is_pooled",
            format!(
                "{option} leads through a pooler that shares sessions between transactions: give the server's own address, \
                 or set the pooler to session mode for this database"
            ),
        ));
    }
    Ok(())
}

/// A standby lags behind what applications committed, so nothing is counted or planned on one.
pub(super) async fn refuse_standby(connection: &mut PgConnection) -> Result<(), SourceError> {
    let standby: bool =
        sqlx::query_scalar("SELECT pg_is_in_recovery()").persistent(false).fetch_one(connection).await?;
    if standby {
        return Err(SourceError::refused(
            "source_is_standby",
            "the source's server is a standby: give the primary's URL",
        ));
    }
    Ok(())
}
