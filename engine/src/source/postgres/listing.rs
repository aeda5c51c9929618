//! Which tables and columns there are to look at for copies, and which of them this role may not read.

use super::*;

/// Columns of tables and materialized views that can hold bytes or text, in whatever type: arrays, ranges, domains,
/// composites and extensions' own types, too. Numbers, times, enums and the like cannot. What is computed whenever it
/// is read is stored nowhere.
const COLUMNS: &str = "
    WITH RECURSIVE step(domain, oid) AS (
        SELECT oid, typbasetype FROM pg_catalog.pg_type WHERE typtype = 'd'
        UNION ALL
        SELECT s.domain, t.typbasetype FROM step s JOIN pg_catalog.pg_type t ON t.oid = s.oid WHERE t.typtype = 'd'
    ), base AS (
        SELECT s.domain, s.oid FROM step s JOIN pg_catalog.pg_type t ON t.oid = s.oid WHERE t.typtype <> 'd'
    )
    SELECT n.nspname::pg_catalog.text, c.relname::pg_catalog.text, c.oid::pg_catalog.int8,
           c.relfilenode::pg_catalog.int8, a.attname::pg_catalog.text, a.attnum,
           coalesce(b.oid, t.oid) = 'pg_catalog.bytea'::pg_catalog.regtype,
           rn.nspname::pg_catalog.text, root.relname::pg_catalog.text,
           pg_catalog.has_schema_privilege(n.oid, 'USAGE'),
           pg_catalog.has_column_privilege(c.oid, a.attnum, 'SELECT'),
           pg_catalog.row_security_active(c.oid), current_user::pg_catalog.text
    FROM pg_catalog.pg_attribute a JOIN pg_catalog.pg_class c ON c.oid = a.attrelid
    JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace
    LEFT JOIN pg_catalog.pg_class root ON c.relispartition AND root.oid = pg_catalog.pg_partition_root(c.oid)
    LEFT JOIN pg_catalog.pg_namespace rn ON rn.oid = root.relnamespace
    JOIN pg_catalog.pg_type t ON t.oid = a.atttypid
    LEFT JOIN base b ON b.domain = t.oid
    LEFT JOIN pg_catalog.pg_type e ON e.oid = t.typelem AND t.typcategory = 'A'
    LEFT JOIN pg_catalog.pg_range r ON coalesce(e.oid, b.oid, t.oid) IN (r.rngtypid, r.rngmultitypid)
    LEFT JOIN pg_catalog.pg_type s ON s.oid = r.rngsubtype
    WHERE c.relkind IN ('r', 'm') AND c.relispopulated AND a.attnum > 0 AND NOT a.attisdropped
      AND a.attgenerated <> 'v'
      AND n.nspname NOT IN ('pg_catalog', 'information_schema')
      AND NOT pg_catalog.starts_with(n.nspname::pg_catalog.text, 'pg_toast')
      AND NOT pg_catalog.starts_with(n.nspname::pg_catalog.text, 'pg_temp')
      AND coalesce(s.typcategory, e.typcategory, t.typcategory) NOT IN ('B', 'D', 'E', 'G', 'I', 'N', 'T', 'V')
      AND coalesce(s.oid, e.oid, b.oid, t.oid) <> 'pg_catalog.uuid'::pg_catalog.regtype
    ORDER BY c.relpages, 1, 2, 6";

pub(super) struct Table {
    schema: String,
    name: String,
    pub(super) oid: i64,
    /// The number of the file that holds it; emptying and rewriting give another one.
    pub(super) file: i64,
    pub(super) columns: Vec<Column>,
}

pub(super) struct Column {
    pub(super) name: String,
    pub(super) number: i16,
    is_bytea: bool,
}

impl Column {
    /// What is stored, as bytes: text in the server's own encoding, without a conversion that could fail. `format` writes
    /// what a type's own output function does, whatever casts there are.
    pub(super) fn bytes(&self) -> String {
        let name = quoted(&self.name);
        if self.is_bytea {
            return format!("{name}::pg_catalog.bytea");
        }
        format!("pg_catalog.convert_to(pg_catalog.format('%s', {name}), pg_catalog.getdatabaseencoding())")
    }
}

impl Table {
    pub(super) fn path(&self) -> String {
        format!("{}.{}", self.schema, self.name)
    }

    pub(super) fn path_of(&self, column: &Column) -> String {
        format!("{}.{}", self.path(), column.name)
    }

    pub(super) fn quoted(&self) -> String {
        format!("{}.{}", quoted(&self.schema), quoted(&self.name))
    }

    /// Whether it still is what was listed: there, called so, with these columns.
    pub(super) async fn now(&self, connection: &mut PgConnection) -> Result<Now, SourceError> {
        let sql = "SELECT pg_catalog.count(*) FILTER (WHERE n.nspname = $2 AND c.relname = $3 AND a.attname = ANY ($4)
                                                      AND NOT a.attisdropped AND c.relispopulated), pg_catalog.count(*)
                   FROM pg_catalog.pg_attribute a JOIN pg_catalog.pg_class c ON c.oid = a.attrelid
                   JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace
                   WHERE c.oid = $1::pg_catalog.int8::pg_catalog.oid";
        let names: Vec<&str> = self.columns.iter().map(|c| c.name.as_str()).collect();
        let asked = sqlx::query(sql).persistent(false).bind(self.oid).bind(&self.schema).bind(&self.name);
        let row = asked.bind(&names).fetch_one(connection).await?;
        let (same, any): (i64, i64) = (row.try_get(0)?, row.try_get(1)?);
        Ok(match any {
            0 => Now::Gone,
            _ if same == names.len() as i64 => Now::Same,
            _ => Now::Renamed,
        })
    }
}

/// What has become of a table since it was listed.
pub(super) enum Now {
    Same,
    Renamed,
    Gone,
}

pub(super) struct Listed {
    pub(super) tables: Vec<Table>,
    pub(super) unreadable: Vec<Unreadable>,
}

/// What is to be looked at, the smallest first: what comes and goes is small.
pub(super) async fn list(connection: &mut PgConnection, left_out: &LeftOut<'_>) -> Result<Listed, SourceError> {
    let mut listed = Listed { tables: Vec::new(), unreadable: Vec::new() };
    for row in sqlx::query(COLUMNS).persistent(false).fetch_all(connection).await? {
        let (schema, name, column): (String, String, String) = (row.try_get(0)?, row.try_get(1)?, row.try_get(4)?);
        let root: (Option<String>, Option<String>) = (row.try_get(7)?, row.try_get(8)?);
        // A partition is counted with its table; one that was detached is a table of its own.
        let of_registered = matches!(&root, (Some(s), Some(t)) if left_out.is_registered(s, t, &column));
        if of_registered || left_out.column(&schema, &name, &column) {
            continue;
        }
        // Nothing is known of what was dropped since: NULL.
        let (may_enter, may_read): (Option<bool>, Option<bool>) = (row.try_get(9)?, row.try_get(10)?);
        let (is_hidden, role): (bool, String) = (row.try_get(11)?, row.try_get(12)?);
        let table = format!("{}.{}", quoted(&schema), quoted(&name));
        let why = if may_enter == Some(false) {
            Some(format!(
                "role {role} lacks USAGE on schema {schema}, and the proof has to read every table: GRANT USAGE ON SCHEMA {} TO {}",
                quoted(&schema),
                quoted(&role)
            ))
        } else if may_read == Some(false) {
            Some(format!(
                "role {role} lacks SELECT, and the proof has to read every table: GRANT SELECT ON {table} TO {}",
                quoted(&role)
            ))
        } else if is_hidden {
            Some(format!(
                "row-level security hides rows from role {role}, and the proof has to see all of them: ALTER ROLE {} BYPASSRLS",
                quoted(&role)
            ))
        } else {
            None
        };
        if let Some(why) = why {
            let (path, why) =
                (format!("{schema}.{name}.{column}"), format!("{why}, or leave it out with ignore_columns"));
            listed.unreadable.push(Unreadable { path, why });
            continue;
        }
        let (oid, file) = (row.try_get(2)?, row.try_get(3)?);
        let column = Column { name: column, number: row.try_get(5)?, is_bytea: row.try_get(6)? };
        match listed.tables.last_mut() {
            Some(table) if table.oid == oid => table.columns.push(column),
            _ => listed.tables.push(Table { schema, name, oid, file, columns: vec![column] }),
        }
    }
    Ok(listed)
}
