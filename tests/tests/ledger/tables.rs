//! A database's tables as sentences, so that two schemas can be compared and a difference read.

use std::collections::BTreeSet;

use sea_orm::{ConnectionTrait, DatabaseConnection, DbBackend, Statement};

const POSTGRES: &str = "
WITH t AS (SELECT c.oid, c.relname FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
           WHERE n.nspname = 'public' AND c.relkind IN ('r', 'p'))
SELECT t.relname AS in_table,
       format('%s.%s is %s%s%s', t.relname, a.attname, format_type(a.atttypid, a.atttypmod),
              CASE WHEN a.attnotnull THEN ' not null' ELSE '' END,
              ' default ' || coalesce(pg_get_expr(d.adbin, d.adrelid), a.attidentity::text)) AS sentence
  FROM t JOIN pg_attribute a ON a.attrelid = t.oid AND a.attnum > 0 AND NOT a.attisdropped
  LEFT JOIN pg_attrdef d ON d.adrelid = t.oid AND d.adnum = a.attnum
UNION ALL
SELECT t.relname, format('%s on %s (%s)%s',
              CASE WHEN i.indisprimary THEN 'primary key' WHEN i.indisunique THEN 'unique index' ELSE 'index' END,
              t.relname,
              (SELECT string_agg(pg_get_indexdef(i.indexrelid, k::int, true), ', ' ORDER BY k)
                 FROM generate_series(1, i.indnatts) AS k),
              ' where ' || pg_get_expr(i.indpred, t.oid))
  FROM t JOIN pg_index i ON i.indrelid = t.oid
UNION ALL
SELECT t.relname, format('%s (%s) refers to %s (%s), on delete %s', t.relname,
              (SELECT string_agg(a.attname, ', ' ORDER BY k.n) FROM unnest(o.conkey) WITH ORDINALITY AS k(c, n)
                 JOIN pg_attribute a ON a.attrelid = o.conrelid AND a.attnum = k.c),
              o.confrelid::regclass,
              (SELECT string_agg(a.attname, ', ' ORDER BY k.n) FROM unnest(o.confkey) WITH ORDINALITY AS k(c, n)
                 JOIN pg_attribute a ON a.attrelid = o.confrelid AND a.attnum = k.c), o.confdeltype)
  FROM t JOIN pg_constraint o ON o.conrelid = t.oid AND o.contype = 'f'";

const SQLITE: &str = "
WITH t AS (SELECT name, sql FROM sqlite_schema WHERE type = 'table' AND name NOT LIKE 'sqlite_%')
SELECT t.name AS in_table,
       t.name || '.' || c.name || ' is ' || lower(c.type) || CASE WHEN c.\"notnull\" THEN ' not null' ELSE '' END
         || coalesce(' default ' || c.dflt_value, '')
         || CASE WHEN c.pk > 0 AND t.sql LIKE '%autoincrement%' THEN ' autoincrement' ELSE '' END AS sentence
  FROM t JOIN pragma_table_xinfo(t.name) c
UNION ALL
SELECT name, 'primary key on ' || name || ' (' || group_concat(c, ', ') || ')'
  FROM (SELECT t.name AS name, c.name AS c FROM t JOIN pragma_table_xinfo(t.name) c WHERE c.pk > 0 ORDER BY 1, c.pk)
  GROUP BY name
UNION ALL
SELECT name, u || 'index on ' || name || ' (' || group_concat(c, ', ') || ')' || p
  FROM (SELECT t.name AS name, l.name AS l, CASE WHEN l.\"unique\" THEN 'unique ' ELSE '' END AS u, i.name AS c,
               CASE WHEN l.partial THEN ' where …' ELSE '' END AS p
          FROM t JOIN pragma_index_list(t.name) l JOIN pragma_index_info(l.name) i
         WHERE l.origin <> 'pk' ORDER BY t.name, l.name, i.seqno)
  GROUP BY name, l
UNION ALL
SELECT t.name, t.name || ' (' || f.\"from\" || ') refers to ' || f.\"table\" || ' (' || f.\"to\" || '), on delete '
         || lower(f.on_delete)
  FROM t JOIN pragma_foreign_key_list(t.name) f";

/// Columns with type, nullability and default, primary keys, indexes by columns and uniqueness,
/// and foreign keys of every table, each a sentence without the database's own names in it. The
/// tables in which migrations are counted are left out.
pub(crate) async fn sentences(db: &DatabaseConnection) -> BTreeSet<String> {
    let backend = db.get_database_backend();
    let sql = if backend == DbBackend::Postgres { POSTGRES } else { SQLITE };
    let rows = db.query_all_raw(Statement::from_string(backend, sql)).await.expect("the catalogue");
    let mut sentences = BTreeSet::new();
    for row in rows {
        let table: String = row.try_get("", "in_table").expect("a name");
        let sentence: String = row.try_get("", "sentence").expect("a sentence");
        if !table.ends_with("migrations") {
            assert!(sentences.insert(sentence.clone()), "twice: {sentence}");
        }
    }
    sentences
}

/// What only one of two schemas says.
pub(crate) fn differences(entities: &BTreeSet<String>, migrated: &BTreeSet<String>) -> Vec<String> {
    let missing = entities.difference(migrated).map(|s| format!("only the entities say: {s}"));
    let extra = migrated.difference(entities).map(|s| format!("only the migration says: {s}"));
    missing.chain(extra).collect()
}
