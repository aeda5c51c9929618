//! The fence on PostgreSQL: a trigger while rows are swept, a validated constraint at the end.
//!
//! The trigger lets unrelated updates of rows that are not rotated yet through; a CHECK at that stage
//! would refuse them, and print their values. `ENABLE ALWAYS` also catches replication sessions.

use super::*;
use sqlx::Connection;
use std::collections::{BTreeSet, HashSet};
use watch::Backend;

/// Of the function itself, since a writer's session has settings of its own: with other rules for literals, or with
/// operators of its own in its path, it would never be refused.
const SETTINGS: [&str; 2] = ["search_path=pg_catalog, pg_temp", "standard_conforming_strings=on"];

/// What is wrong with a new value; NULL or false: nothing.
fn refused(fence: &Fence, value: &str) -> String {
    let (first, list) = (first(value, fence.text), list(fence.text, fence.headers()));
    match fence.rule {
        Rule::Deny(_) => format!("{first} = ANY ({list})"),
        Rule::Allow(_) => format!("{first} <> ALL ({list})"),
    }
}

/// Whether a value begins as a cell of any key does. A value of an application's that does by chance is refused all the
/// same, in the words for a retired key.
fn begins_like_a_cell(value: &str, text: bool) -> String {
    if !text {
        return format!("(substring({value} from 1 for 1) = decode('01', 'hex'))");
    }
    let starts: Vec<String> = base64_starts().map(|start| format!("'{start}'")).collect();
    format!("((substring({value} from 1 for 2) COLLATE \"C\") = ANY (ARRAY[{}]::text[]))", starts.join(", "))
}

fn function(shape: &Shape, fence: &Fence) -> (String, String) {
    let c = quoted(&fence.column);
    let raise = |words: &str, code: &str| {
        let words = words.replace('%', "%%");
        format!("RAISE EXCEPTION '{words}' USING ERRCODE = '{code}', SCHEMA = TG_TABLE_SCHEMA, TABLE = TG_TABLE_NAME;")
    };
    let plaintext = fence.refusal_of_plaintext().map(|words| {
        let raise = raise(&words, super::error::NOT_ENCRYPTED_SQLSTATE);
        format!("IF NOT {} THEN {raise} END IF;\n    ", begins_like_a_cell(&format!("NEW.{c}"), fence.text))
    });
    let body = format!(
        "\nBEGIN\n  IF {}\n     AND (TG_OP = 'INSERT' OR NEW.{c} IS DISTINCT FROM OLD.{c}) THEN\n    {}{}\n  END IF;\n  RETURN NEW;\nEND\n",
        refused(fence, &format!("NEW.{c}")),
        plaintext.unwrap_or_default(),
        raise(&fence.refusal(), super::error::FENCED_SQLSTATE),
    );
    (format!("{}.{}", quoted(&shape.schema), quoted(&fence_name(&shape.schema, &shape.table, &fence.column))), body)
}

pub(super) fn trigger_sql(shape: &Shape, fence: &Fence) -> Vec<String> {
    let (table, name, (function, body)) =
        (table_of(shape), quoted(&fence_name(&shape.schema, &shape.table, &fence.column)), function(shape, fence));
    // A column may be called what would end the quoting.
    let mut quote = "$reseal$".to_owned();
    while body.contains(&quote) {
        quote.insert(1, '_');
    }
    vec![
        format!(
            "CREATE OR REPLACE FUNCTION {function}() RETURNS trigger LANGUAGE plpgsql {} AS {quote}{body}{quote}",
            SETTINGS.map(|s| format!("SET {}", s.replacen('=', " = ", 1))).join(" ")
        ),
        format!(
            "CREATE OR REPLACE TRIGGER {name} BEFORE INSERT OR UPDATE ON {table} FOR EACH ROW EXECUTE FUNCTION {function}()"
        ),
        format!("ALTER TABLE {table} ENABLE ALWAYS TRIGGER {name}"),
    ]
}

pub(super) fn constraint_sql(shape: &Shape, fence: &Fence) -> Vec<String> {
    let (table, name, c) =
        (table_of(shape), quoted(&fence_name(&shape.schema, &shape.table, &fence.column)), quoted(&fence.column));
    vec![
        format!(
            "ALTER TABLE {table} DROP CONSTRAINT IF EXISTS {name}, ADD CONSTRAINT {name} \
             CHECK ({c} IS NULL OR NOT {}) NOT VALID",
            refused(fence, &c)
        ),
        format!("ALTER TABLE {table} VALIDATE CONSTRAINT {name}"),
    ]
}

pub(super) async fn connect(ddl: &Watch) -> Result<PgConnection, SourceError> {
    super::connect::connect(&ddl.options, Kind::Fencing).await
}

/// Looks at the table's locks in a row, and tries in a row, before somebody else has to wait.
const LOOKS: usize = 8;

/// All of `statements` or none. Tried for a moment each time, and not at all while a lock that is in the way has been
/// held for long: everybody behind a waiting one would wait with it.
async fn run(
    ddl: &Watch,
    (schema, table): (&str, &str),
    against: &str,
    statements: &[String],
) -> Result<(), SourceError> {
    let mut connection = connect(ddl).await?;
    let backend = Backend::of(&mut connection).await?;
    let (mut seen, mut found) = (HashSet::new(), Vec::new());
    for pause in crate::retry::pauses(LOOKS) {
        found = locks::holders(&mut connection, (schema, table), against).await?;
        if !found.iter().any(|h| h.is_old(&seen)) {
            let attempt = async {
                let mut txn = connection.begin().await?;
                for sql in statements {
                    sqlx::raw_sql(AssertSqlSafe(sql.clone())).execute(&mut *txn).await?;
                }
                Ok(txn.commit().await?)
            };
            match ddl.over(&backend, attempt).await {
                Err(e) if e.is(SourceErrorKind::Transient) && e.code != "source_silent" => {}
                done => return done,
            }
        }
        seen.extend(found.iter().map(|h| h.transaction().to_owned()));
        tokio::time::sleep(pause).await;
    }
    Err(locks::waits_for(&format!("{}.{}", quoted(schema), quoted(table)), &found))
}

pub(super) async fn put_up(ddl: &Watch, shape: &Shape, fence: &Fence) -> Result<(), SourceError> {
    run(ddl, (&shape.schema, &shape.table), locks::AGAINST_TRIGGER, &trigger_sql(shape, fence)).await
}

/// The constraint is added and validated in two transactions: validating under the first one's lock
/// would stop every writer for as long as the table is long.
pub(super) async fn seal(ddl: &Watch, shape: &Shape, fence: &Fence) -> Result<(), SourceError> {
    let against = [locks::AGAINST_CONSTRAINT, locks::AGAINST_VALIDATION];
    for (statement, against) in constraint_sql(shape, fence).into_iter().zip(against) {
        run(ddl, (&shape.schema, &shape.table), against, &[statement]).await?;
    }
    Ok(())
}

pub(super) async fn take_down(ddl: &Watch, schema: &str, table: &str, column: &str) -> Result<(), SourceError> {
    let name = quoted(&fence_name(schema, table, column));
    let (function, quoted_table) =
        (format!("{}.{name}", quoted(schema)), format!("{}.{}", quoted(schema), quoted(table)));
    let statements = [
        format!("ALTER TABLE IF EXISTS {quoted_table} DROP CONSTRAINT IF EXISTS {name}"),
        format!("DROP FUNCTION IF EXISTS {function}() CASCADE"), // its trigger with it
    ];
    run(ddl, (schema, table), locks::AGAINST_CONSTRAINT, &statements).await
}

/// Also of every partition: rows live there, and what was attached or altered by hand counts.
const STATE: &str = "
    SELECT t.tgenabled::text, p.prosrc, pg_get_triggerdef(t.oid), k.convalidated, pg_get_constraintdef(k.oid),
           coalesce(p.proconfig, '{}')::text[],
           (SELECT count(*) FROM pg_partition_tree(c.oid) part
            LEFT JOIN pg_trigger pt ON pt.tgrelid = part.relid AND pt.tgname = $3 AND pt.tgfoid = t.tgfoid
            WHERE c.relkind = 'p' AND pt.tgenabled IS DISTINCT FROM 'A')
    FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
    LEFT JOIN pg_trigger t ON t.tgrelid = c.oid AND t.tgname = $3 AND NOT t.tgisinternal
    LEFT JOIN pg_proc p ON p.oid = t.tgfoid
    LEFT JOIN pg_constraint k ON k.conrelid = c.oid AND k.conname = $3 AND k.contype = 'c'
    WHERE n.nspname = $1 AND c.relname = $2";

pub(super) async fn state(
    connection: &mut PgConnection,
    shape: &Shape,
    fence: &Fence,
) -> Result<FenceState, SourceError> {
    let name = fence_name(&shape.schema, &shape.table, &fence.column);
    let row = sqlx::query(STATE)
        .persistent(false)
        .bind(&shape.schema)
        .bind(&shape.table)
        .bind(&name)
        .fetch_optional(connection)
        .await?;
    let Some(row) = row else {
        return Err(SourceError::refused("table_missing", format!("`{}` is gone", table_of(shape))));
    };
    let (enabled, source, trigger): (Option<String>, Option<String>, Option<String>) =
        (row.try_get(0)?, row.try_get(1)?, row.try_get(2)?);
    let (validated, constraint): (Option<bool>, Option<String>) = (row.try_get(3)?, row.try_get(4)?);
    let (settings, partitions_without): (Vec<String>, i64) = (row.try_get(5)?, row.try_get(6)?);
    let (_, body) = function(shape, fence);
    let detail = match (&enabled, &source) {
        (None, _) => "there is no trigger",
        (Some(enabled), _) if enabled != "A" => "the trigger is switched off, or not ENABLE ALWAYS",
        _ if partitions_without > 0 => "the trigger is switched off or missing on a partition",
        (_, Some(source)) if *source != body || settings != SETTINGS => "the trigger is another one",
        _ if validated != Some(true) => "the constraint is missing or not validated",
        _ if !constraint.as_deref().is_some_and(|text| says(text, fence)) => "the constraint is another one",
        _ => "",
    };
    let stands = enabled.is_some() || constraint.is_some();
    let definitions = [source.clone().unwrap_or_default(), constraint.clone().unwrap_or_default()];
    let settings = Some(settings.join("\n"));
    let parts = [enabled, source, settings, trigger, validated.map(|v| v.to_string()), constraint];
    let parts = parts.map(Option::unwrap_or_default);
    Ok(FenceState {
        complete: detail.is_empty(),
        stands,
        detail: detail.to_owned(),
        fingerprint: fingerprint(parts.iter().map(String::as_str)),
        definitions,
    })
}

/// Whether a constraint as PostgreSQL writes it names what the fence names, no more and no less.
fn says(constraint: &str, fence: &Fence) -> bool {
    let constraint = constraint.replace(&quoted(&fence.column), "c"); // whose name may hold quotes
    let literals: BTreeSet<&str> = constraint.split('\'').skip(1).step_by(2).collect();
    let wanted: BTreeSet<String> = if fence.text {
        base64_prefixes(fence.headers()).into_iter().collect()
    } else {
        fence.headers().iter().map(|h| format!("\\x{}", hex::encode(h))).collect()
    };
    let operator = if matches!(fence.rule, Rule::Deny(_)) { "= ANY" } else { "<> ALL" };
    let named = wanted.is_empty() || constraint.contains(operator);
    named && literals == wanted.iter().map(String::as_str).collect()
}

/// What the everyday role and the fencing role lack.
pub(super) async fn missing_rights(pool: &PgPool, ddl: &Watch, shape: &Shape) -> Result<Vec<String>, SourceError> {
    let (table, mut missing) = (table_of(shape), Vec::new());
    for right in ["SELECT", "UPDATE"] {
        let has: bool = sqlx::query_scalar("SELECT has_table_privilege($1, $2)")
            .persistent(false)
            .bind(&table)
            .bind(right)
            .fetch_one(pool)
            .await?;
        if !has {
            missing.push(format!("the source's role may not {right} {table}"));
        }
    }
    let read_only: bool = sqlx::query_scalar("SELECT current_setting('transaction_read_only') = 'on'")
        .persistent(false)
        .fetch_one(pool)
        .await?;
    if read_only {
        missing.push(
            "the source is read-only: default_transaction_read_only is on for its server, database or role".into(),
        );
    }
    let mut ddl = connect(ddl).await?;
    let owns = "SELECT pg_has_role(c.relowner, 'USAGE'), has_schema_privilege(n.nspname, 'CREATE') \
                FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace WHERE n.nspname = $1 AND c.relname = $2";
    let row = sqlx::query(owns).persistent(false).bind(&shape.schema).bind(&shape.table).fetch_one(&mut ddl).await?;
    if !row.try_get::<bool, _>(0)? {
        missing.push(format!("the fencing role does not own {table}: give its owner's URL as the source's ddl_url"));
    }
    if !row.try_get::<bool, _>(1)? {
        missing.push(format!("the fencing role may not create functions in schema {}", shape.schema));
    }
    Ok(missing)
}
