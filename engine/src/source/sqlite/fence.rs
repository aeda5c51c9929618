//! The fence on SQLite: two triggers. A connection can switch triggers off, so the census is repeated
//! in the clearing transaction.

use super::*;
use sqlx::SqliteConnection;

const KINDS: [&str; 2] = ["insert", "update"];

fn name(table: &str, column: &str, kind: &str) -> String {
    format!("{}_{kind}", fence_name("main", table, column))
}

/// Whether a value begins as a cell of any key does.
fn begins_like_a_cell(value: &str, text: bool) -> String {
    if !text {
        return format!("{} = x'01'", first_bytes(value, 1));
    }
    let starts: Vec<String> = base64_starts().map(|start| format!("x'{}'", hex::encode(start))).collect();
    format!("{} IN ({})", first_bytes(value, 2), starts.join(", "))
}

pub(super) fn trigger_sql(shape: &Shape, fence: &Fence) -> Vec<String> {
    let c = quoted(&fence.column);
    let named = among(&format!("NEW.{c}"), fence.text, fence.headers());
    let refused = match fence.rule {
        Rule::Deny(_) => named,
        Rule::Allow(_) => format!("NEW.{c} IS NOT NULL AND NOT {named}"),
    };
    KINDS
        .map(|kind| {
            let changed = if kind == "update" { format!(" AND NEW.{c} IS NOT OLD.{c}") } else { String::new() };
            let retired = format!("RAISE(ABORT, '{}')", fence.refusal());
            let raise = match fence.refusal_of_plaintext() {
                None => retired,
                Some(words) => format!(
                    "CASE WHEN {} THEN {retired} ELSE RAISE(ABORT, '{words}') END",
                    begins_like_a_cell(&format!("NEW.{c}"), fence.text)
                ),
            };
            format!(
                "CREATE TRIGGER {} BEFORE {} ON {} FOR EACH ROW WHEN {refused}{changed} BEGIN SELECT {raise}; END",
                quoted(&name(&shape.table, &fence.column, kind)),
                kind.to_uppercase(),
                quoted(&shape.table)
            )
        })
        .to_vec()
}

/// All of `statements` or none.
async fn run(pool: &SqlitePool, statements: &[String]) -> Result<(), SourceError> {
    let mut txn = begin(pool, "BEGIN IMMEDIATE").await?;
    for sql in statements {
        query(sql.clone()).execute(&mut *txn).await?;
    }
    Ok(txn.commit().await?)
}

fn drops(table: &str, column: &str) -> Vec<String> {
    KINDS.map(|kind| format!("DROP TRIGGER IF EXISTS main.{}", quoted(&name(table, column, kind)))).to_vec()
}

pub(super) async fn put_up(pool: &SqlitePool, shape: &Shape, fence: &Fence) -> Result<(), SourceError> {
    run(pool, &[drops(&shape.table, &fence.column), trigger_sql(shape, fence)].concat()).await
}

pub(super) async fn take_down(pool: &SqlitePool, table: &str, column: &str) -> Result<(), SourceError> {
    run(pool, &drops(table, column)).await
}

pub(super) async fn state(
    connection: &mut SqliteConnection,
    shape: &Shape,
    fence: &Fence,
) -> Result<FenceState, SourceError> {
    let mut standing = Vec::new();
    for kind in KINDS {
        let sql = "SELECT sql FROM main.sqlite_schema WHERE type = 'trigger' AND tbl_name = ? AND name = ?";
        let found =
            sqlx::query_scalar::<_, String>(sql).bind(&shape.table).bind(name(&shape.table, &fence.column, kind));
        standing.push(found.fetch_optional(&mut *connection).await?.unwrap_or_default());
    }
    let detail = match standing.iter().zip(trigger_sql(shape, fence)).find(|(is, ought)| *is != ought) {
        None => "",
        Some((is, _)) if is.is_empty() => "there is no trigger",
        Some(_) => "the trigger is another one",
    };
    Ok(FenceState {
        complete: detail.is_empty(),
        stands: standing.iter().any(|sql| !sql.is_empty()),
        detail: detail.to_owned(),
        fingerprint: fingerprint(standing.iter().map(String::as_str)),
        definitions: [standing.join("\n"), String::new()],
    })
}
