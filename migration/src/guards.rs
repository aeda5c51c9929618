//! Guards in the database itself, which hold against every client, also against us.
//!
//! A key's wrapped bytes may only be wiped while the key is suspended, its rotation is clearing and
//! nobody holds it, the waiting time is over, somebody else has approved it where that is needed, nothing is
//! open or quarantined, and every registered column has a current proof of zero that covers every source and was
//! made with every exclusion that is registered now. Nothing may delete or
//! truncate keys, nor edit the audit.

use sea_orm_migration::{
    prelude::*,
    sea_orm::{ConnectionTrait, DbBackend, Statement},
};

/// True of a rotation `r` whose clearing needs no approval, or has that of somebody other than who asked for it.
const APPROVED: &str = "AND (NOT r.needs_approval OR (r.approved_at IS NOT NULL AND r.approved_by <> r.requested_by))";

/// True of a rotation `r` each of whose current proofs covers every source that is registered now, and left out
/// everything that is excluded now: an exclusion that came later narrows what the proof had to cover.
fn scope(backend: DbBackend) -> String {
    let (source, exclusion) = ("s.name", "x.source || ':' || x.pattern");
    let lists = |list: &str, text: &str| match backend {
        DbBackend::Postgres => format!("{list}::jsonb @> to_jsonb(({text})::text)"),
        _ => format!("EXISTS (SELECT 1 FROM json_each({list}) j WHERE j.value = {text})"),
    };
    format!(
        "
          AND NOT EXISTS (SELECT 1 FROM reseal_sources s, reseal_proofs p
                          WHERE p.rotation_id = r.id AND p.voided_at IS NULL AND NOT ({}))
          AND NOT EXISTS (SELECT 1 FROM reseal_exclusions x, reseal_proofs p
                          WHERE p.rotation_id = r.id AND p.voided_at IS NULL AND NOT ({}))",
        lists("p.sources", source),
        lists("p.exclusions", exclusion)
    )
}

/// True when `OLD` may be destroyed; the only rule that lets key material go. `more` is what earlier
/// versions did not ask: its columns are not there yet when those are installed.
fn may_destroy(more: &str) -> String {
    format!(
        "
    OLD.state = 'suspended' AND EXISTS (
        SELECT 1 FROM reseal_rotation_keys rk JOIN reseal_rotations r ON r.id = rk.rotation_id
        WHERE rk.key_id = OLD.key_id AND rk.generation = OLD.generation
          AND r.state = 'clearing' AND r.hold_at IS NULL AND r.paused_at IS NULL
          AND r.waited_ms >= r.clear_after_ms {more}
          AND NOT EXISTS (SELECT 1 FROM reseal_batches b
                          WHERE b.rotation_id = r.id AND b.state IN ('pending', 'leased', 'failed'))
          AND NOT EXISTS (SELECT 1 FROM reseal_quarantine q
                          WHERE q.rotation_id = r.id AND q.state IN ('open', 'retrying'))
          AND EXISTS (SELECT 1 FROM reseal_proofs p WHERE p.rotation_id = r.id AND p.voided_at IS NULL)
          AND NOT EXISTS (SELECT 1 FROM reseal_catalog c WHERE c.forgotten_at IS NULL
                          AND NOT EXISTS (SELECT 1 FROM reseal_proofs p
                                          WHERE p.rotation_id = r.id AND p.catalog_id = c.id AND p.voided_at IS NULL
                                            AND p.under_retired = 0 AND p.unaccounted = 0)))"
    )
}

pub(crate) async fn install(m: &SchemaManager<'_>) -> Result<(), DbErr> {
    let sql = match m.get_database_backend() {
        DbBackend::Postgres => postgres(&schema(m).await?),
        DbBackend::Sqlite => sqlite(),
        other => {
            return Err(DbErr::Custom(format!("a ledger on {other:?} is not supported yet: use PostgreSQL or SQLite")));
        }
    };
    m.get_connection().execute_unprepared(&sql).await.map(|_| ())
}

/// Asks for the approval, too.
pub(crate) async fn demand_approval(m: &SchemaManager<'_>) -> Result<(), DbErr> {
    replace(m, &may_destroy(APPROVED)).await
}

/// Asks for the proof's scope, too.
pub(crate) async fn demand_scope(m: &SchemaManager<'_>) -> Result<(), DbErr> {
    replace(m, &may_destroy(&format!("{APPROVED} {}", scope(m.get_database_backend())))).await
}

async fn replace(m: &SchemaManager<'_>, may_destroy: &str) -> Result<(), DbErr> {
    let sql = match m.get_database_backend() {
        DbBackend::Postgres => postgres_keys("CREATE OR REPLACE", &schema(m).await?, may_destroy),
        _ => format!("DROP TRIGGER reseal_guard_keys_update; {}", sqlite_update(may_destroy)),
    };
    m.get_connection().execute_unprepared(&sql).await.map(|_| ())
}

/// What a key is for never changes: one that were called raw would no longer be looked for by its header.
pub(crate) async fn install_kind(m: &SchemaManager<'_>) -> Result<(), DbErr> {
    let sql = match m.get_database_backend() {
        DbBackend::Postgres => {
            "CREATE FUNCTION reseal_guard_key_kind() RETURNS trigger LANGUAGE plpgsql AS $guard$
BEGIN
  RAISE EXCEPTION 'reseal: what key % is for never changes', OLD.key_id USING ERRCODE = 'RS002';
END $guard$;
CREATE TRIGGER reseal_guard_key_kind BEFORE UPDATE ON reseal_keys FOR EACH ROW
  WHEN ((NEW.algorithm, NEW.prefix) IS DISTINCT FROM (OLD.algorithm, OLD.prefix))
  EXECUTE FUNCTION reseal_guard_key_kind();
ALTER TABLE reseal_keys ENABLE ALWAYS TRIGGER reseal_guard_key_kind;"
        }
        _ => {
            "CREATE TRIGGER reseal_guard_key_kind BEFORE UPDATE ON reseal_keys
WHEN NEW.algorithm IS NOT OLD.algorithm OR NEW.prefix IS NOT OLD.prefix
BEGIN SELECT RAISE(ABORT, 'reseal: what a key is for never changes'); END;"
        }
    };
    m.get_connection().execute_unprepared(sql).await.map(|_| ())
}

/// A column that holds cells demands that some of them were opened under the keys that remain.
pub(crate) async fn demand_opened(m: &SchemaManager<'_>) -> Result<(), DbErr> {
    let unopened = "EXISTS (
    SELECT 1 FROM reseal_rotation_keys rk JOIN reseal_rotations r ON r.id = rk.rotation_id
    JOIN reseal_proofs p ON p.rotation_id = r.id AND p.voided_at IS NULL
    JOIN reseal_catalog c ON c.id = p.catalog_id AND c.forgotten_at IS NULL AND c.keyset = r.keyset
    WHERE rk.key_id = OLD.key_id AND rk.generation = OLD.generation AND r.state = 'clearing'
      AND p.cells > 0 AND p.opened = 0)";
    let sql = match m.get_database_backend() {
        DbBackend::Postgres => format!(
            "CREATE FUNCTION reseal_guard_opened() RETURNS trigger LANGUAGE plpgsql
  SET search_path = {}, pg_temp AS $guard$
BEGIN
  IF {unopened} THEN
    RAISE EXCEPTION 'reseal: no cell was opened without key %', OLD.key_id USING ERRCODE = 'RS002';
  END IF;
  RETURN NEW;
END $guard$;
CREATE TRIGGER reseal_guard_opened BEFORE UPDATE ON reseal_keys FOR EACH ROW
  WHEN (NEW.state = 'destroyed' AND OLD.state <> 'destroyed') EXECUTE FUNCTION reseal_guard_opened();
ALTER TABLE reseal_keys ENABLE ALWAYS TRIGGER reseal_guard_opened;",
            schema(m).await?
        ),
        _ => format!(
            "CREATE TRIGGER reseal_guard_opened BEFORE UPDATE ON reseal_keys
WHEN NEW.state = 'destroyed' AND OLD.state <> 'destroyed' AND {unopened}
BEGIN SELECT RAISE(ABORT, 'reseal: no cell was opened without the key'); END;"
        ),
    };
    m.get_connection().execute_unprepared(&sql).await.map(|_| ())
}

/// The schema that the ledger's tables are in, quoted.
async fn schema(m: &SchemaManager<'_>) -> Result<String, DbErr> {
    let sql = "SELECT quote_ident(current_schema()) AS name";
    let row = m.get_connection().query_one_raw(Statement::from_string(DbBackend::Postgres, sql)).await?;
    row.ok_or_else(|| DbErr::Custom("the ledger's role has no schema to create tables in".into()))?.try_get("", "name")
}

// The search path is fixed, and temporary tables last in it: one called like a ledger's table would
// otherwise stand in for it.
fn postgres_keys(create: &str, schema: &str, may_destroy: &str) -> String {
    format!(
        "{create} FUNCTION reseal_guard_keys() RETURNS trigger LANGUAGE plpgsql
  SET search_path = {schema}, pg_temp AS $guard$
BEGIN
  IF TG_OP = 'UPDATE' THEN
    IF NEW.key_id = OLD.key_id AND NEW.keyset = OLD.keyset AND NEW.version = OLD.version
       AND NEW.generation >= OLD.generation THEN
      IF NEW.wrapped_dek IS NOT DISTINCT FROM OLD.wrapped_dek
         AND (NEW.state = OLD.state OR 'destroyed' NOT IN (NEW.state, OLD.state)) THEN
        RETURN NEW;
      END IF;
      IF NEW.state = 'destroyed' AND NEW.wrapped_dek IS NULL AND {may_destroy} THEN
        RETURN NEW;
      END IF;
    END IF;
    RAISE EXCEPTION 'reseal: key % is still needed, or its proof is not current', OLD.key_id USING ERRCODE = 'RS002';
  END IF;
  RAISE EXCEPTION 'reseal: keys are never deleted or truncated' USING ERRCODE = 'RS002';
END $guard$;"
    )
}

fn postgres(schema: &str) -> String {
    let keys = postgres_keys("CREATE", schema, &may_destroy(""));
    format!(
        "{keys}
CREATE TRIGGER reseal_guard_keys BEFORE UPDATE OR DELETE ON reseal_keys
  FOR EACH ROW EXECUTE FUNCTION reseal_guard_keys();
CREATE TRIGGER reseal_guard_keys_truncate BEFORE TRUNCATE ON reseal_keys
  FOR EACH STATEMENT EXECUTE FUNCTION reseal_guard_keys();
ALTER TABLE reseal_keys ENABLE ALWAYS TRIGGER reseal_guard_keys;
ALTER TABLE reseal_keys ENABLE ALWAYS TRIGGER reseal_guard_keys_truncate;

CREATE FUNCTION reseal_guard_audit() RETURNS trigger LANGUAGE plpgsql
  SET search_path = {schema}, pg_temp AS $guard$
BEGIN
  RAISE EXCEPTION 'reseal: the audit is append-only' USING ERRCODE = 'RS003';
END $guard$;
CREATE TRIGGER reseal_guard_audit BEFORE UPDATE OR DELETE ON reseal_audit
  FOR EACH ROW EXECUTE FUNCTION reseal_guard_audit();
CREATE TRIGGER reseal_guard_audit_truncate BEFORE TRUNCATE ON reseal_audit
  FOR EACH STATEMENT EXECUTE FUNCTION reseal_guard_audit();
ALTER TABLE reseal_audit ENABLE ALWAYS TRIGGER reseal_guard_audit;
ALTER TABLE reseal_audit ENABLE ALWAYS TRIGGER reseal_guard_audit_truncate;"
    )
}

fn sqlite_update(may_destroy: &str) -> String {
    format!(
        "CREATE TRIGGER reseal_guard_keys_update BEFORE UPDATE ON reseal_keys
WHEN NOT (
    NEW.key_id = OLD.key_id AND NEW.keyset = OLD.keyset AND NEW.version = OLD.version
    AND NEW.generation >= OLD.generation AND (
      (NEW.wrapped_dek IS OLD.wrapped_dek AND (NEW.state = OLD.state OR 'destroyed' NOT IN (NEW.state, OLD.state)))
      OR (NEW.state = 'destroyed' AND NEW.wrapped_dek IS NULL AND {may_destroy})))
BEGIN SELECT RAISE(ABORT, 'reseal: the key is still needed, or its proof is not current'); END;"
    )
}

// REPLACE deletes without firing delete triggers, so inserting over an existing row is refused too.
fn sqlite() -> String {
    let update = sqlite_update(&may_destroy(""));
    format!(
        "{update}
CREATE TRIGGER reseal_guard_keys_delete BEFORE DELETE ON reseal_keys
BEGIN SELECT RAISE(ABORT, 'reseal: keys are never deleted'); END;
CREATE TRIGGER reseal_guard_keys_replace BEFORE INSERT ON reseal_keys
WHEN EXISTS (SELECT 1 FROM reseal_keys WHERE key_id = NEW.key_id OR (keyset = NEW.keyset AND version = NEW.version))
BEGIN SELECT RAISE(ABORT, 'reseal: the key exists'); END;

CREATE TRIGGER reseal_guard_audit_update BEFORE UPDATE ON reseal_audit
BEGIN SELECT RAISE(ABORT, 'reseal: the audit is append-only'); END;
CREATE TRIGGER reseal_guard_audit_delete BEFORE DELETE ON reseal_audit
BEGIN SELECT RAISE(ABORT, 'reseal: the audit is append-only'); END;
CREATE TRIGGER reseal_guard_audit_replace BEFORE INSERT ON reseal_audit
WHEN EXISTS (SELECT 1 FROM reseal_audit WHERE seq = NEW.seq)
BEGIN SELECT RAISE(ABORT, 'reseal: the audit is append-only'); END;"
    )
}
