//! Connecting, and refusing a server that would lose messages.

use std::time::Duration;

use redis::aio::{ConnectionLike, ConnectionManager, ConnectionManagerConfig, MultiplexedConnection};
use redis::{AsyncConnectionConfig, Client, RedisError, RedisResult};
use tracing::warn;

use crate::{QueueError, random_mark};

/// For everything that happens before the queue is open.
const OPENING: Duration = Duration::from_secs(5);

pub(super) struct Server {
    pub(super) connection: ConnectionManager,
    pub(super) host: String,
}

pub(super) async fn connect(url: &str, incarnation_key: &str) -> Result<Server, QueueError> {
    let client = Client::open(url).map_err(|e| QueueError::Address(e.to_string()))?;
    let host = client.get_connection_info().addr().to_string();
    // A managed connection would retry for ever and never say why; so a plain one goes first.
    tokio::time::timeout(OPENING, examine(&client, &host, incarnation_key)).await.map_err(|_| {
        QueueError::Unreachable { host: host.clone(), reason: format!("no answer within {OPENING:?}") }
    })??;
    let config = ConnectionManagerConfig::new()
        // The default of 500 ms turns a short stall into the death of every worker.
        .set_response_timeout(Some(Duration::from_secs(10)))
        .set_connection_timeout(Some(OPENING))
        .set_number_of_retries(usize::MAX)
        .set_max_delay(Duration::from_secs(2));
    let connection = client.get_connection_manager_lazy(config).map_err(|e| refusal(&host, &e))?;
    Ok(Server { connection, host })
}

/// The mark under `key`, after setting it to `fresh` if there is none.
pub(super) async fn mark<C: ConnectionLike>(connection: &mut C, key: &str, fresh: &str) -> RedisResult<String> {
    let (mark,) = redis::pipe()
        .atomic()
        .cmd("SET")
        .arg(key)
        .arg(fresh)
        .arg("NX")
        .ignore()
        .cmd("GET")
        .arg(key)
        .query_async(connection)
        .await?;
    Ok(mark)
}

async fn examine(client: &Client, host: &str, incarnation_key: &str) -> Result<(), QueueError> {
    let timeouts =
        AsyncConnectionConfig::new().set_connection_timeout(Some(OPENING)).set_response_timeout(Some(OPENING));
    let mut connection =
        client.get_multiplexed_async_connection_with_config(&timeouts).await.map_err(|e| refusal(host, &e))?;
    let info = allowed(host, redis::cmd("INFO").query_async::<String>(&mut connection).await)?;
    if let Some(info) = &info {
        check_server(host, info)?;
    }
    check_eviction(host, &mut connection, info.as_deref()).await?;
    // Last, because it writes: shows a replica, a full server or missing permissions.
    let fresh = random_mark()?;
    mark(&mut connection, incarnation_key, &fresh).await.map_err(|e| refusal(host, &e))?;
    Ok(())
}

fn check_server(host: &str, info: &str) -> Result<(), QueueError> {
    let unsuitable = |reason: String| Err(QueueError::Unsuitable { host: host.to_owned(), reason });
    if field(info, "redis_mode") == Some("cluster") {
        // apalis registers its workers in a key of another slot, which most nodes refuse.
        return unsuitable("it is a Redis Cluster; use a single server or a failover pair".to_owned());
    }
    let version = field(info, "redis_version").unwrap_or_default();
    let mut numbers = version.split('.').map(str::parse::<u32>);
    match (numbers.next(), numbers.next()) {
        (Some(Ok(major)), Some(Ok(minor))) if (major, minor) < (6, 2) => {
            unsuitable(format!("version {version} is older than 6.2"))
        }
        _ => Ok(()),
    }
}

/// A server that evicts loses messages in silence. Managed servers often forbid CONFIG but tell
/// the policy in INFO; where both are closed we can only warn.
async fn check_eviction(
    host: &str,
    connection: &mut MultiplexedConnection,
    info: Option<&str>,
) -> Result<(), QueueError> {
    let mut ask = redis::cmd("CONFIG");
    ask.arg("GET").arg("maxmemory-policy");
    let told = allowed(host, ask.query_async::<Vec<String>>(connection).await)?;
    let policy = told.as_ref().and_then(|pair| pair.get(1)).map(String::as_str);
    match policy.or_else(|| field(info?, "maxmemory_policy")) {
        Some("noeviction") => Ok(()),
        Some(policy) => Err(QueueError::Evicts { host: host.to_owned(), policy: policy.to_owned() }),
        None => {
            warn!(host, "Redis does not tell its maxmemory-policy; make sure that it is noeviction");
            Ok(())
        }
    }
}

fn field<'a>(info: &'a str, name: &str) -> Option<&'a str> {
    info.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(':')).map(str::trim_end)
}

/// None where the server is there but does not permit the question.
fn allowed<T>(host: &str, answer: RedisResult<T>) -> Result<Option<T>, QueueError> {
    match answer {
        Ok(answer) => Ok(Some(answer)),
        Err(e) if e.code().is_some_and(|code| code != "NOAUTH") => Ok(None),
        Err(e) => Err(refusal(host, &e)),
    }
}

fn refusal(host: &str, error: &RedisError) -> QueueError {
    let (host, reason) = (host.to_owned(), error.to_string());
    if error.is_io_error() || error.is_timeout() {
        QueueError::Unreachable { host, reason }
    } else {
        QueueError::Refused { host, reason }
    }
}
