//! Is there a pooler in between that hands a connection's session to others after each transaction?
//!
//! Settings, locks and prepared statements of a session are then anybody's: a lock that holds a table's fence would
//! be released by whoever gets the session next. Pooling by session keeps them, and passes.

use sea_orm::sqlx::{self, PgPool, Row};

/// Which of two connections asks next. In a pool that nobody else uses the second question meets the session of the
/// first. Where sessions are dealt out in turn, no turn fits this sequence (Thue and Morse's); and where others ask at
/// the same time, each question is a chance. The price: sixteen questions to the server whenever it is opened.
const TURNS: [usize; 16] = [0, 1, 1, 0, 1, 0, 0, 1, 1, 0, 0, 1, 0, 1, 1, 0];

/// Whether two connections that are open at once are served by one session, or one of them by two. A server
/// itself, and a pooler in session mode, never do that.
pub async fn is_pooled(pool: &PgPool) -> Result<bool, sqlx::Error> {
    let mut connections = [pool.acquire().await?, pool.acquire().await?];
    let mut sessions: [Option<i32>; 2] = [None, None];
    for turn in TURNS {
        // By the simple protocol, which needs no prepared statement.
        let asked = sqlx::raw_sql("SELECT pg_backend_pid()").fetch_one(&mut *connections[turn]).await?;
        let session: i32 = asked.try_get(0)?;
        if sessions[1 - turn] == Some(session) || sessions[turn].is_some_and(|before| before != session) {
            return Ok(true);
        }
        sessions[turn] = Some(session);
    }
    Ok(false)
}
