//! The registered columns: of the rotation that goes on one in each table, of every other keyset one.

use crate::words::Words;
use reseal_entities::{catalog, planned_tables};
use sea_orm::{ActiveModelTrait, ActiveValue::Set, ColumnTrait, ConnectionTrait, EntityTrait, QueryFilter};
use serde_json::json;

/// Tables of the keysets whose rotation does not go on.
pub(super) const OTHERS: [&str; 3] = ["invoices", "letters", "sessions"];

pub(super) async fn register(db: &impl ConnectionTrait, words: &Words, now: i64) {
    let [going, others @ ..] = words.keysets;
    let all = words.tables.map(|table| (going, table)).into_iter().chain(others.into_iter().zip(OTHERS));
    for (keyset, table) in all {
        let row = catalog::ActiveModel {
            source: Set(words.source.to_owned()),
            schema_name: Set("public".to_owned()),
            table_name: Set(table.to_owned()),
            column_name: Set(words.column.to_owned()),
            keyset: Set(keyset.to_owned()),
            associated_data: Set(format!("{table}.{}:{{id}}", words.column)),
            primary_key: Set(r#"["id"]"#.to_owned()),
            registered_at: Set(now - 30 * 86_400_000),
            ..Default::default()
        };
        row.insert(db).await.expect("a column");
    }
}

/// A registered table as a rotation pins it, with so many rows in its batches; its id.
pub(super) async fn pin(db: &impl ConnectionTrait, rotation_id: i64, table: &str, rows: i64) -> i64 {
    let found = catalog::Entity::find().filter(catalog::Column::TableName.eq(table));
    let columns = found.all(db).await.expect("its columns");
    let first = columns.first().expect("a registered column");
    let row = planned_tables::ActiveModel {
        rotation_id: Set(rotation_id),
        source: Set(first.source.clone()),
        schema_name: Set(first.schema_name.clone()),
        table_name: Set(first.table_name.clone()),
        columns: Set(json!(columns).to_string()),
        max_key: Set(Some(rows.to_string())),
        planned_up_to: Set(Some(rows.to_string())),
        planning_done: Set(true),
        rows: Set(rows),
        rows_per_second: Set(Some(1_200.0)),
        ..Default::default()
    };
    row.insert(db).await.expect("a table").id
}
