//! What a session of ours fixes before its first statement, so that no statement means something else because of
//! a setting of the database, of the role or of the URL.

use super::*;
use reseal_entities::ledger::reach::LASTING;
use sqlx::Transaction;

/// What names, literals and the catalogue's own texts mean, how a value is written as text, and what a transaction
/// sees. `row_security = off` makes a policy that would hide rows an error. The server's remarks are kept at home:
/// triggers of the application may speak of a row's values. Read-only by default is left as it is: whoever switched
/// writing off, for a full disk or a failover, has to be heard.
const MEANING: &str = "SET search_path = pg_catalog, pg_temp; SET standard_conforming_strings = on; \
    SET backslash_quote = safe_encoding; SET bytea_output = 'hex'; SET client_encoding = 'UTF8'; \
    SET DateStyle = 'ISO, MDY'; SET IntervalStyle = 'postgres'; SET TimeZone = 'UTC'; SET array_nulls = on; \
    SET transform_null_equals = off; SET quote_all_identifiers = off; SET row_security = off; \
    SET default_transaction_isolation = 'read committed'; SET default_transaction_deferrable = off; \
    SET client_min_messages = error";

/// What a session is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    /// Chunks and looks: every statement has a limit.
    Everyday,
    /// Scans and counts: no limit.
    Counting,
    /// Fences. The test of a whole table's worth of rows may take a while; taking the lock may not.
    Fencing,
}

impl Kind {
    fn limits(self) -> &'static str {
        match self {
            Self::Everyday => {
                "SET lock_timeout = '1s'; SET statement_timeout = '30s'; \
                 SET idle_in_transaction_session_timeout = '10min'; SET application_name = 'reseal'"
            }
            Self::Counting => {
                "SET lock_timeout = '1s'; SET statement_timeout = 0; \
                 SET idle_in_transaction_session_timeout = 0; SET application_name = 'reseal count'"
            }
            Self::Fencing => {
                "SET lock_timeout = '100ms'; SET statement_timeout = 0; \
                 SET idle_in_transaction_session_timeout = 0; SET application_name = 'reseal fence'"
            }
        }
    }
}

/// Makes a new connection, or one that was another kind's, a session of this kind.
pub(super) async fn settle(connection: &mut PgConnection, kind: Kind) -> Result<(), sqlx::Error> {
    let settings = format!("{MEANING}; {}; {LASTING}", kind.limits());
    sqlx::raw_sql(AssertSqlSafe(settings)).execute(connection).await.map(|_| ())
}

/// The schemas in which the role itself finds a name that has none, in its order.
pub(super) async fn schemas(connection: &mut PgConnection) -> Result<Vec<String>, sqlx::Error> {
    // In one message, which the server ends by itself if we are dropped meanwhile.
    let ask =
        "BEGIN; SET LOCAL search_path TO DEFAULT; SELECT pg_catalog.current_schemas(true)::pg_catalog.text[]; ROLLBACK";
    sqlx::raw_sql(ask).fetch_one(connection).await?.try_get(0)
}

/// For statements that write to rows of the application, whose triggers, checks and indexes run functions within them:
/// names and literals mean there what they mean to the role. So such a statement of ours must qualify every function,
/// operator and type that it names, and hold no backslash.
pub(super) const THE_ROLES: &str = "SET LOCAL search_path TO DEFAULT; SET LOCAL standard_conforming_strings TO DEFAULT; \
    SET LOCAL bytea_output TO DEFAULT; SET LOCAL IntervalStyle TO DEFAULT; SET LOCAL transform_null_equals TO DEFAULT";

/// Begins a transaction under [`THE_ROLES`].
pub(super) async fn begin_as_the_role(pool: &PgPool) -> Result<Transaction<'static, Db>, SourceError> {
    Ok(begin(pool, format!("BEGIN; {THE_ROLES}")).await?)
}
