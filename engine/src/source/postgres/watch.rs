//! Noticing a server that is gone without a word: its host lost power, or a failover moved its address.
//!
//! Nothing more ever comes over such a connection, and nothing says so. Everyday statements have a limit at the server,
//! so what takes much longer is silence. A count may take hours; a second connection asks whether it still works.

use super::{connect::connect, *};
use std::{pin::pin, time::Instant};

/// How to ask after a session, and for how long it may say nothing.
#[derive(Clone, Debug)]
pub(super) struct Watch {
    pub(super) options: PgConnectOptions,
    pub(super) silence_max: Duration,
}

/// One session, as `pg_stat_activity` knows it. Its number alone may be another's by now, or another server's.
#[derive(Clone, Debug)]
pub(super) struct Backend {
    pid: i32,
    since: String,
}

/// Whether a session still works for us.
enum Seen {
    Working,
    /// It has answered, and the answer is under way or lost.
    Idle,
    Gone,
}

const SELF: &str = "SELECT pid, backend_start::text FROM pg_stat_activity WHERE pid = pg_backend_pid()";

/// A server that keeps no track of what sessions do says nothing against one.
const STATE: &str =
    "SELECT coalesce(state NOT LIKE 'idle%', true) FROM pg_stat_activity WHERE pid = $1 AND backend_start::text = $2";

impl Backend {
    pub(super) async fn of(connection: &mut PgConnection) -> Result<Self, SourceError> {
        let row = sqlx::query(SELF).persistent(false).fetch_one(connection).await?;
        Ok(Self { pid: row.try_get(0)?, since: row.try_get(1)? })
    }
}

impl Watch {
    /// Everyday work. A pool that ran out of time says why, if the server is not reached.
    pub(super) async fn within<T>(&self, work: impl Future<Output = Result<T, SourceError>>) -> Result<T, SourceError> {
        match tokio::time::timeout(self.silence_max, work).await {
            Err(_) => Err(self.silent(self.silence_max)),
            Ok(Err(e)) if e.code == "source_busy" => match connect(&self.options, Kind::Everyday).await {
                Ok(_) => Err(e),
                Err(reason) => Err(reason),
            },
            Ok(done) => done,
        }
    }

    /// Work that takes as long as it takes, in one session.
    pub(super) async fn over<T>(
        &self,
        backend: &Backend,
        work: impl Future<Output = Result<T, SourceError>>,
    ) -> Result<T, SourceError> {
        let mut work = pin!(work);
        let (pause, mut heard, mut beside) = (self.silence_max / 4, Instant::now(), None);
        loop {
            if let Ok(done) = tokio::time::timeout(pause, &mut work).await {
                return done;
            }
            let look = tokio::time::timeout(pause, self.look(&mut beside, backend));
            let seen = tokio::select! {
                done = &mut work => return done,
                seen = look => seen,
            };
            match seen {
                Ok(Ok(Seen::Working)) => heard = Instant::now(),
                Ok(Ok(Seen::Gone)) => return Err(self.silent(heard.elapsed())),
                // A server that takes no more connections is not away.
                Ok(Err(e)) if e.code == "source_busy" => heard = Instant::now(),
                Ok(Ok(Seen::Idle) | Err(_)) | Err(_) => beside = None,
            }
            if heard.elapsed() >= self.silence_max {
                return Err(self.silent(heard.elapsed()));
            }
        }
    }

    async fn look(&self, beside: &mut Option<PgConnection>, backend: &Backend) -> Result<Seen, SourceError> {
        let connection = match beside {
            Some(connection) => connection,
            none => none.insert(connect(&self.options, Kind::Everyday).await?),
        };
        let ask = sqlx::query_scalar(STATE).persistent(false).bind(backend.pid).bind(&backend.since);
        Ok(match ask.fetch_optional(connection).await? {
            Some(true) => Seen::Working,
            Some(false) => Seen::Idle,
            None => Seen::Gone,
        })
    }

    fn silent(&self, time: Duration) -> SourceError {
        let place = reseal_entities::ledger::reach::place(&self.options);
        SourceError {
            kind: SourceErrorKind::Transient,
            code: "source_silent",
            message: format!(
                "nothing was heard from {place} for {} s, so the connection was given up: the server or the way to it may be \
                 gone without a word",
                time.as_secs()
            ),
        }
    }
}
