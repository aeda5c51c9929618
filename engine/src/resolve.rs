//! Resolving a quarantined row: it is read again, or its value is given up.
//!
//! Giving a value up sets its cell to NULL and nothing else. Deleting its row is another word, which names the row and
//! every table that changes with it.

use crate::{
    engine::{Engine, Target},
    error::EngineError,
    source::{Also, Deletion, OnlyIf},
};
use reseal_entities::{
    ledger::{audit, close::close_if_nothing_is_open, plan, quarantine as ledger_quarantine},
    quarantine::{self, QuarantineState},
};
use sea_orm::EntityTrait;
use serde::Serialize;
use serde_json::json;

/// What is done to a value that does not open.
#[derive(Clone, Copy)]
pub enum GiveUp<'a> {
    /// Nothing.
    No,
    /// It is set to NULL.
    ToNull,
    /// Its whole row is deleted.
    WithItsRow(DeleteRow<'a>),
}

/// What a person says who has a row deleted.
#[derive(Clone, Copy)]
pub struct DeleteRow<'a> {
    /// The row's primary key, as the quarantine shows it. None: what would be deleted is told, and nothing is done.
    pub confirm: Option<&'a str>,
    /// The tables that may change with it: `schema.table` or `table`.
    pub cascade: &'a [String],
    /// Keeps the whole row, a JSON object, for good before anything is deleted; says where, for the audit.
    pub keep: &'a (dyn Fn(&str) -> Result<String, EngineError> + Send + Sync),
}

/// How a quarantined row was resolved.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Resolved {
    /// The cell opens under the active key.
    Current,
    /// The cell is NULL.
    Null,
    /// The row is gone.
    Gone,
    /// The cell was set to NULL; its bytes are kept in the quarantine.
    Abandoned,
    /// The whole row was deleted, and what is named here changed with it; the cell's bytes are kept in the quarantine, and
    /// the row where the caller keeps it.
    RowDeleted(Vec<Also>),
}

/// Reads a quarantined row again and takes it as resolved only when its cell is current, NULL or gone; or gives its
/// value up as `how` says, by compare-and-swap, the bytes kept first. Dying in between, they already stand in the
/// quarantine, and resolving again finds the cell NULL or gone. Should the place hold something else by then, what it
/// holds gets a quarantined row of its own, and that one is resolved.
pub async fn resolve(
    engine: &Engine,
    actor: &str,
    id: i64,
    how: GiveUp<'_>,
    note: Option<&str>,
) -> Result<Resolved, EngineError> {
    let db = engine.ledger.db();
    let Some(mut row) = quarantine::Entity::find_by_id(id).one(db).await? else {
        return Err(EngineError::refused(
            "unknown_quarantined_row",
            format!("there is no quarantined row {id}: see `reseal quarantine list`"),
        ));
    };
    let tables = plan::tables(db, row.rotation_id).await?;
    let Some(table) = tables.iter().find(|t| t.id == row.planned_table_id) else {
        return Err(EngineError::refused("unknown_table", format!("the table of quarantined row {id} is not planned")));
    };
    let target = engine.planned_target(table).await?;
    let position = target.columns.iter().position(|c| c.column_name == row.column_name).unwrap_or_default();
    let keyset = engine.keyring.keyset(&target.columns[position].keyset).await?;
    let layout = target.shape.columns[position].layout;
    let associated_data = target.templates[position].render(&target.shape.split_key(&row.row_key)?);
    let seen = match target.source.cell(&target.shape, &row.row_key, &row.column_name).await? {
        None => Resolved::Gone,
        Some(None) => Resolved::Null,
        Some(Some(cell)) if keyset.decrypt_from(layout, &cell, &associated_data).is_ok() => {
            if !layout.is_under(keyset.active(), &cell) {
                return Err(EngineError::refused(
                    "not_current",
                    format!(
                        "row {} opens, under an old key: run `reseal retry {} --all`",
                        row.row_key, row.rotation_id
                    ),
                ));
            }
            Resolved::Current
        }
        Some(Some(_)) if matches!(how, GiveUp::No) => {
            return Err(EngineError::refused(
                "still_unreadable",
                format!(
                    "row {} still does not open ({}): restore its value and run this again, or give the value up with --abandon --note …",
                    row.row_key, row.code
                ),
            ));
        }
        Some(Some(cell))
            if keyset.key_named_by(layout, &cell).is_none() && target.columns[position].was_plaintext() =>
        {
            drop(cell);
            return Err(EngineError::refused(
                "plaintext_not_kept",
                format!(
                    "row {} holds what is no cell, perhaps a plaintext, and the ledger keeps none: encrypt it, or set it to \
                     NULL yourself, and run this again",
                    row.row_key
                ),
            ));
        }
        Some(Some(cell)) => {
            let given_up = Place { engine, actor, target: &target, table: table.path() };
            match how {
                GiveUp::WithItsRow(said) => given_up.delete_row(&mut row, &cell, said).await?,
                _ => given_up.set_null(&mut row, &cell).await?,
            }
        }
    };
    let given_up = matches!(seen, Resolved::Abandoned | Resolved::RowDeleted(_));
    let state = if given_up { QuarantineState::Abandoned } else { QuarantineState::Resolved };
    let txn = engine.ledger.begin().await?;
    if !ledger_quarantine::resolve_if_unresolved(&txn, actor, &row, state, note).await? {
        return Err(resolved_already(&row));
    }
    txn.commit().await?;
    close_if_nothing_is_open(&engine.ledger, actor, row.rotation_id).await?;
    Ok(seen)
}

/// Where a value is given up, and by whom.
struct Place<'a> {
    engine: &'a Engine,
    actor: &'a str,
    target: &'a Target,
    table: String,
}

impl Place<'_> {
    async fn set_null(&self, row: &mut quarantine::Model, cell: &[u8]) -> Result<Resolved, EngineError> {
        let Target { source, shape, .. } = self.target;
        if !source.takes_null(shape, &row.column_name).await? {
            return Err(EngineError::refused(
                "column_takes_no_null",
                format!(
                    "`{}` of {} takes no NULL: restore the value, or delete the whole row with --delete-row",
                    row.column_name, self.table
                ),
            ));
        }
        self.keep(row, cell, json!({"set_to_null": self.named(row)})).await?;
        if !source.set_null(shape, &row.row_key, &row.column_name, cell).await? {
            return Err(changed_underneath(row));
        }
        Ok(Resolved::Abandoned)
    }

    async fn delete_row(
        &self,
        row: &mut quarantine::Model,
        cell: &[u8],
        said: DeleteRow<'_>,
    ) -> Result<Resolved, EngineError> {
        let Target { source, shape, .. } = self.target;
        let (key, column) = (row.row_key.clone(), row.column_name.clone());
        let seen = source.delete_row(shape, &key, &column, cell, None).await?;
        let Some(Deletion { row: whole, also, .. }) = seen else { return Err(changed_underneath(row)) };
        self.refuse_unless_confirmed(row, &also, said)?;
        let kept_in = (said.keep)(&whole)?;
        self.keep(row, cell, json!({"deletes_row": self.named(row), "also": also, "row_kept_in": kept_in})).await?;
        let only = OnlyIf { row: whole, also: said.cascade.to_vec() };
        match source.delete_row(shape, &key, &column, cell, Some(&only)).await? {
            Some(Deletion { done: true, also, .. }) => Ok(Resolved::RowDeleted(also)),
            _ => Err(changed_underneath(row)),
        }
    }

    /// A deletion names the row, and each table that changes with it.
    fn refuse_unless_confirmed(
        &self,
        row: &quarantine::Model,
        also: &[Also],
        said: DeleteRow<'_>,
    ) -> Result<(), EngineError> {
        let unnamed: Vec<&Also> = also.iter().filter(|other| !other.is_named(said.cascade)).collect();
        if unnamed.is_empty() && said.confirm == Some(&*row.row_key) {
            return Ok(());
        }
        let effects = match also {
            [] => "nothing else changes with it".to_owned(),
            also => {
                let told = also.iter().map(|o| match (o.deleted, o.changed) {
                    (deleted, 0) => format!("{deleted} deleted in {}", o.table),
                    (0, changed) => format!("{changed} changed in {}", o.table),
                    (deleted, changed) => format!("{deleted} deleted and {changed} changed in {}", o.table),
                });
                format!("rows that go or change with it: {}", told.collect::<Vec<_>>().join(", "))
            }
        };
        let mut flags: Vec<String> = also.iter().map(|o| format!("--cascade {}", o.table)).collect();
        flags.push(format!("--confirm {}", row.row_key));
        Err(EngineError::refused(
            if unnamed.is_empty() { "not_confirmed" } else { "deletion_cascades" },
            format!(
                "row {} of {} would be deleted as a whole; {effects}; nothing was changed: if that is meant, run this again with {}",
                row.row_key,
                self.table,
                flags.join(" ")
            ),
        ))
    }

    fn named(&self, row: &quarantine::Model) -> serde_json::Value {
        json!({"table": self.table, "row": row.row_key, "column": row.column_name})
    }

    /// Keeps the bytes, and says what is about to be done, so that no line of this loses either.
    async fn keep(&self, row: &mut quarantine::Model, cell: &[u8], what: serde_json::Value) -> Result<(), EngineError> {
        let txn = self.engine.ledger.begin().await?;
        let keeps = ledger_quarantine::keep_bytes_if_unresolved(&txn, self.actor, row, cell.to_vec()).await?;
        *row = keeps.ok_or_else(|| resolved_already(row))?;
        let subject = format!("quarantined row {}", row.id);
        let entry = audit::Entry {
            actor: self.actor,
            action: "quarantine.giving_up",
            subject,
            before: json!(null),
            after: what,
        };
        audit::record(&txn, entry).await?;
        txn.commit().await?;
        Ok(())
    }
}

fn changed_underneath(row: &quarantine::Model) -> EngineError {
    EngineError::refused(
        "changed_underneath",
        format!(
            "row {}, or what would change with it, changed meanwhile and was left as it is: look again, at quarantined row {}",
            row.row_key, row.id
        ),
    )
}

fn resolved_already(row: &quarantine::Model) -> EngineError {
    EngineError::refused("resolved_already", format!("quarantined row {} is {:?} already", row.id, row.state))
}
