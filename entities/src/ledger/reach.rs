//! Reaching a PostgreSQL server, or saying in words why it cannot be reached.
//!
//! The ledger and the sources are reached by the same driver, whose own words may hold a password, and whose pool
//! tries a refused connection for seconds before it says that it timed out.

use sea_orm::sqlx::{
    self, ConnectOptions as _, Connection as _, PgConnection,
    postgres::{PgConnectOptions, PgDatabaseError},
};
use std::{borrow::Cow, io, time::Duration};

mod parameters;

/// For an idle connection to answer before it is used again.
const ANSWERS_WITHIN: Duration = Duration::from_secs(3);

/// What a session needs in order to last as long as its process, and no longer: it may wait, a lost process is noticed
/// by the server, and a commit that was answered lasts (`remote_apply` promises more and stays).
/// By `pg_settings`, because not every version has every setting.
pub const LASTING: &str = "
    SELECT pg_catalog.set_config(s.name, v.value, false)
    FROM (VALUES ('idle_session_timeout', '0'), ('transaction_timeout', '0'), ('synchronous_commit', 'on'),
                 ('tcp_keepalives_idle', '30'), ('tcp_keepalives_interval', '10'), ('tcp_keepalives_count', '3'),
                 ('tcp_user_timeout', '60000')) AS v(name, value)
    JOIN pg_catalog.pg_settings s ON s.name OPERATOR(pg_catalog.=) v.name
    WHERE NOT (s.name OPERATOR(pg_catalog.=) 'synchronous_commit'
               AND s.setting OPERATOR(pg_catalog.=) ANY (ARRAY['on', 'remote_apply']))";

/// Why a server was not reached: what to do about it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Why {
    /// The URL is none, or asks for what is not there.
    Address,
    /// Nothing answers there now.
    Away,
    /// It answers and has no connection left.
    Full,
    /// Server and client do not agree on TLS.
    Tls,
    /// The server does not let this role in, or has no such database.
    Login,
}

/// A server that was not reached.
#[derive(Clone, Debug, thiserror::Error)]
#[error("{words}")]
pub struct Unreached {
    /// What to do about it.
    pub why: Why,
    /// For people: with the host, without a secret.
    pub words: String,
}

impl Unreached {
    fn new(why: Why, words: impl Into<String>) -> Self {
        Self { why, words: words.into() }
    }
}

/// How a URL says to connect. Parameters that the driver does not know are refused by their names: it would
/// write them into the log with their values, and pass over what was asked for.
pub fn options(url: &str) -> Result<PgConnectOptions, Unreached> {
    parameters::refuse_unknown(url)?;
    let parsed = with_a_host(url).parse::<PgConnectOptions>().map_err(|_| {
        Unreached::new(
            Why::Address,
            "the URL cannot be read: give one host and a numeric port, and write special characters of the password as \
             percent codes, e.g. %2F for a slash",
        )
    })?;
    // In a URL an IPv6 address stands in brackets, for the resolver and in a certificate it does not.
    let host = parsed.get_host().trim_start_matches('[').trim_end_matches(']').to_owned();
    // Poolers refuse the parameter, and there are no floats.
    Ok(parsed.host(&host).extra_float_digits(None).disable_statement_logging())
}

/// A URL whose host stands among its parameters (`postgres://role@/app?host=/run/postgresql`) is read by everything but
/// the driver.
fn with_a_host(url: &str) -> Cow<'_, str> {
    let authority =
        url.find("://").map(|at| at + 3).and_then(|from| Some((from, from + url[from..].find(['/', '?'])?)));
    match authority {
        Some((from, to)) if url[from..to].ends_with('@') => {
            Cow::Owned(format!("{}localhost{}", &url[..to], &url[to..]))
        }
        _ => Cow::Borrowed(url),
    }
}

/// Opens one connection, at once or not at all.
pub async fn dial(options: &PgConnectOptions, patience: Duration) -> Result<PgConnection, Unreached> {
    match tokio::time::timeout(patience, options.connect()).await {
        Ok(connected) => connected.map_err(|e| words(&e, options)),
        Err(_) => {
            let words = format!("{} did not answer within {} s", place(options), patience.as_secs_f32());
            Err(Unreached::new(Why::Away, words))
        }
    }
}

/// Whether a pooled connection is still of use. One that does not answer for a moment, since its server is gone
/// without a word or is still busy with what was given up, is better closed: a pool would wait for it without an end.
pub async fn answers(connection: &mut PgConnection) -> bool {
    matches!(tokio::time::timeout(ANSWERS_WITHIN, connection.ping()).await, Ok(Ok(())))
}

/// Where the server is: `db:5432`, `[::1]:5432` or a socket.
pub fn place(options: &PgConnectOptions) -> String {
    match options.get_socket() {
        Some(socket) => format!("the socket in {}", socket.display()),
        None if options.get_host().contains(':') => format!("[{}]:{}", options.get_host(), options.get_port()),
        None => format!("{}:{}", options.get_host(), options.get_port()),
    }
}

/// What a failure to connect means.
pub fn words(error: &sqlx::Error, options: &PgConnectOptions) -> Unreached {
    let place = place(options);
    match error {
        sqlx::Error::Io(e) => of_io(e, &place, options),
        sqlx::Error::Tls(e) => Unreached::new(Why::Tls, format!("TLS with {place} failed: {e}")),
        sqlx::Error::Configuration(_) => {
            Unreached::new(Why::Address, "the URL asks for what cannot be done, or a key file in it holds no key")
        }
        sqlx::Error::Database(e) => of_server(e.as_ref(), &place, options),
        sqlx::Error::Protocol(_) => {
            Unreached::new(Why::Away, format!("what answers at {place} does not speak PostgreSQL's protocol"))
        }
        _ => Unreached::new(Why::Away, format!("the connection to {place} failed")),
    }
}

fn of_io(error: &io::Error, place: &str, options: &PgConnectOptions) -> Unreached {
    use io::ErrorKind::*;
    let away = |words: String| Unreached::new(Why::Away, words);
    match error.kind() {
        ConnectionRefused => away(format!("nothing listens at {place}: the connection was refused")),
        NotFound if options.get_socket().is_some() => {
            away(format!("nothing listens at {place}: there is no such file"))
        }
        PermissionDenied if options.get_socket().is_some() => {
            Unreached::new(Why::Login, format!("this user may not open {place}"))
        }
        // rustls's words, which name a certificate's fault and no secret.
        InvalidData => Unreached::new(Why::Tls, format!("TLS with {place} failed: {error}")),
        _ if error.to_string().starts_with("failed to lookup address") => {
            away(format!("the name of the host in {place} is not known here"))
        }
        UnexpectedEof | ConnectionReset | ConnectionAborted | BrokenPipe => {
            away(format!("{place} closed the connection before it was open"))
        }
        kind => away(format!("{place} cannot be reached: {kind}")),
    }
}

fn of_server(error: &dyn sqlx::error::DatabaseError, place: &str, options: &PgConnectOptions) -> Unreached {
    let code = error.code().unwrap_or_default();
    // The server's own texts come in its language; the routine that complains does not.
    let routine = error.try_downcast_ref::<PgDatabaseError>().and_then(|e| e.routine()).unwrap_or_default();
    let (role, database) = (options.get_username(), options.get_database().unwrap_or(options.get_username()));
    let login = |words: String| Unreached::new(Why::Login, words);
    match (&*code, routine) {
        ("28P01", _) => login(format!("{place} refused the login of role `{role}`: the password is wrong or missing")),
        ("28000", "InitializeSessionUserId") => {
            login(format!("{place} refused the login: there is no role `{role}`, or the role may not log in"))
        }
        ("28000", _) => login(format!(
            "{place} refused the login of role `{role}` from here: see pg_hba.conf there, and whether the server asks for TLS (sslmode)"
        )),
        ("3D000", _) => login(format!("there is no database `{database}` at {place}")),
        ("42501", _) => login(format!("role `{role}` may not connect to database `{database}` at {place}")),
        ("53300", _) => Unreached::new(
            Why::Full,
            format!("{place} has no connection left for role `{role}`: raise the limit, or lower worker.lanes"),
        ),
        ("57P03", _) => Unreached::new(Why::Away, format!("{place} is starting up or shutting down")),
        (code, _) => Unreached::new(Why::Away, format!("{place} refused the connection (code {code})")),
    }
}
