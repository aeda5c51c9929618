//! Everything once: each row decrypts and equals its shadow, and each shadow has its row

use reseal_storage::StorageError;
use sea_orm::{ConnectionTrait, Statement};
use serde_json::{Value, json};
use std::sync::atomic::Ordering::Relaxed;

use crate::{App, readers};

const COUNTS: &str = "SELECT \
    (SELECT count(*) FROM messages WHERE encrypted_content IS NULL) AS nulls, \
    (SELECT count(*) FROM messages) + (SELECT count(*) FROM user_profiles) + (SELECT count(*) FROM drafts) AS rows_all, \
    (SELECT count(*) FROM shadow) AS shadows";

pub(crate) async fn everything(app: &App) -> Result<Value, StorageError> {
    let mut after = 0;
    while let (Some(last), _) = readers::page(app, after).await? {
        after = last;
    }
    let txn = readers::snapshot(app).await?;
    let sql = "SELECT tbl, id, sha256 FROM shadow WHERE tbl <> 'messages'";
    for row in txn.query_all_raw(Statement::from_string(txn.get_database_backend(), sql)).await? {
        let (tbl, id, sha): (String, String, String) =
            (row.try_get("", "tbl")?, row.try_get("", "id")?, row.try_get("", "sha256")?);
        app.tally.reads.fetch_add(1, Relaxed);
        if readers::load(app, &txn, &tbl, &id).await?.as_ref() != Some(&sha) {
            app.failed(&app.tally.failed_reads, "not what was written", &id);
        }
    }
    let counts = txn.query_one_raw(Statement::from_string(txn.get_database_backend(), COUNTS)).await?;
    txn.rollback().await?;
    let count = |name: &str| counts.as_ref().and_then(|row| row.try_get::<i64>("", name).ok());
    Ok(json!({
        "reads": app.tally.reads.load(Relaxed), "failed_reads": app.tally.failed_reads.load(Relaxed),
        "rows": count("rows_all"), "shadows": count("shadows"), "nulls": count("nulls"),
    }))
}
