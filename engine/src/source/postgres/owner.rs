//! Whose a PostgreSQL source is: the mark, as the body of a function that nothing calls.
//!
//! A function and not a table: a publication of all tables would send a table's rows to subscribers that do not have
//! it, and the role that may create fences may create functions. Anybody may read it.

use super::*;

use super::OWNER as NAME;
/// The advisory lock under which a mark is changed: the bytes of `resealOW`.
const LOCK: i64 = 0x7265_7365_616c_4f57;

fn body(mark: &Mark) -> String {
    let json = serde_json::json!({"ledger": mark.ledger, "place": mark.place, "nonce": mark.nonce}).to_string();
    format!("SELECT pg_catalog.convert_from(pg_catalog.decode('{}', 'hex'), 'UTF8')", hex::encode(json))
}

/// One that was changed by hand is nobody's.
fn mark_of(body: &str) -> Mark {
    let json = body.split('\'').nth(1).and_then(|text| hex::decode(text).ok());
    let read = json.and_then(|json| serde_json::from_slice(&json).ok());
    read.unwrap_or_else(|| Mark { ledger: "unknown".into(), place: "unknown".into(), nonce: String::new() })
}

/// The schema of the mark's function, and its body.
async fn found(connection: &mut PgConnection) -> Result<Option<(String, String)>, SourceError> {
    let sql = "SELECT n.nspname::text, p.prosrc FROM pg_catalog.pg_proc p \
               JOIN pg_catalog.pg_namespace n ON n.oid OPERATOR(pg_catalog.=) p.pronamespace \
               WHERE p.proname OPERATOR(pg_catalog.=) $1 AND p.pronargs OPERATOR(pg_catalog.=) 0 \
               ORDER BY n.nspname";
    let rows = sqlx::query(sql).persistent(false).bind(NAME).fetch_all(connection).await?;
    let found = rows.iter().map(|row| Ok((row.try_get(0)?, row.try_get(1)?)));
    let mut found = found.collect::<Result<Vec<(String, String)>, SourceError>>()?;
    if let [(one, _), (other, _), ..] = &found[..] {
        return Err(SourceError::refused(
            "source_owned",
            format!(
                "the source has a function {NAME}() in schema {one} and one in {other}: drop the one that is not Reseal's"
            ),
        ));
    }
    Ok(found.pop())
}

/// The cluster's own identifier, which a standby and a clone share and a restored dump does not; and the mark.
pub(super) async fn sight(connection: &mut PgConnection) -> Result<Sight, SourceError> {
    let sql = "SELECT pg_catalog.concat(system_identifier, '/', pg_catalog.current_database()) FROM pg_catalog.pg_control_system()";
    let identity = sqlx::query_scalar(sql).persistent(false).fetch_one(&mut *connection).await?;
    Ok((identity, found(connection).await?.map(|(_, body)| mark_of(&body))))
}

/// Writes the mark where `over` agrees to what is there, in one transaction.
pub(super) async fn write(ddl: &Watch, schema: Option<&str>, to: &Mark, over: Over<'_>) -> Result<bool, SourceError> {
    let mut connection = super::fence::connect(ddl).await?;
    let mut txn = connection.begin().await?;
    sqlx::raw_sql(AssertSqlSafe(format!(
        "SET TRANSACTION ISOLATION LEVEL READ COMMITTED, READ WRITE; SET LOCAL synchronous_commit = on; \
         SELECT pg_catalog.pg_advisory_xact_lock({LOCK})"
    )))
    .execute(&mut *txn)
    .await?;
    let found = found(&mut txn).await?;
    if !over(found.as_ref().map(|(_, body)| mark_of(body)).as_ref()) {
        return Ok(false);
    }
    let schema = match (found, schema) {
        (Some((schema, _)), _) => schema,
        (None, Some(schema)) => schema.to_owned(),
        (None, None) => home(&mut txn).await?,
    };
    let sql = format!(
        "CREATE OR REPLACE FUNCTION {}.{NAME}() RETURNS text LANGUAGE sql STABLE AS $reseal${}$reseal$",
        quoted(&schema),
        body(to)
    );
    sqlx::raw_sql(AssertSqlSafe(sql))
        .execute(&mut *txn)
        .await
        .map_err(|e| SourceError::from(e).at(&format!("{schema}.{NAME}()")))?;
    txn.commit().await?;
    Ok(true)
}

/// A schema for the mark of a source without registered tables.
async fn home(connection: &mut PgConnection) -> Result<String, SourceError> {
    let sql = "SELECT n.nspname::text FROM pg_catalog.pg_namespace n \
               WHERE pg_catalog.has_schema_privilege(n.oid, 'CREATE') AND n.nspname OPERATOR(pg_catalog.!~) '^pg_' \
                 AND n.nspname OPERATOR(pg_catalog.<>) 'information_schema' \
               ORDER BY n.nspname OPERATOR(pg_catalog.<>) pg_catalog.current_schema(), n.nspname LIMIT 1";
    let home: Option<String> = sqlx::query_scalar(sql).persistent(false).fetch_optional(connection).await?;
    home.ok_or_else(|| {
        SourceError::refused(
            "source_rights",
            format!(
                "the role of ddl_url (or of url, without one) may create a function in no schema, and Reseal writes into each source \
                 whose it is, as a function {NAME}(): GRANT CREATE on one schema to the role"
            ),
        )
    })
}

/// Whether this database is the one at another address: a lock that is taken here is seen there. Writes nothing.
pub(super) async fn is_at(here: &PgConnectOptions, address: &str) -> Result<bool, SourceError> {
    let at = address.strip_suffix(&format!("/{}", database_of(here))).and_then(|at| at.rsplit_once(':'));
    let Some((host, Ok(port))) = at.map(|(host, port)| (host, port.parse::<u16>())) else { return Ok(false) };
    let there = if host.starts_with('/') { here.clone().socket(host) } else { here.clone().host(host) }.port(port);
    let mut key = [0u8; 8];
    getrandom::fill(&mut key)
        .map_err(|_| SourceError::refused("no_randomness", "the operating system gave no randomness"))?;
    let lock = format!("SELECT pg_catalog.pg_try_advisory_lock({})", i64::from_be_bytes(key));
    let mut here = connect::connect(here, Kind::Everyday).await?;
    let taken: bool = query(lock.clone()).fetch_one(&mut here).await?.try_get(0)?;
    // What does not answer there is simply not known to be the same.
    let asked = async {
        let mut there = connect::connect(&there, Kind::Everyday).await.ok()?;
        let free: bool = query(lock).fetch_one(&mut there).await.ok()?.try_get(0).ok()?;
        there.close().await.ok()?;
        Some(!free)
    };
    let seen = tokio::time::timeout(Duration::from_secs(5), asked).await.ok().flatten() == Some(true);
    here.close().await?;
    Ok(taken && seen)
}

/// Host, port and database that a URL leads to.
pub(super) fn address_of(options: &PgConnectOptions) -> String {
    let host = match options.get_socket() {
        Some(socket) => socket.display().to_string(),
        None => options.get_host().to_lowercase(),
    };
    format!("{host}:{}/{}", options.get_port(), database_of(options))
}

fn database_of(options: &PgConnectOptions) -> String {
    options.get_database().unwrap_or(options.get_username()).to_owned()
}
