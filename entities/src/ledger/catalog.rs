//! Registering columns.

use super::{LedgerError, audit, keys as ledger_keys, prove, read, time::now_ms};
use crate::{
    catalog, keysets, rotations,
    state::{KeyState, RotationState},
};
use sea_orm::{ActiveValue::Set, ColumnTrait, ConnectionTrait, EntityTrait, QueryFilter, QueryOrder, sea_query::Expr};
use serde_json::json;

/// A column as a process's configuration declares it, resolved against the live schema.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Declared {
    /// The source's name.
    pub source: String,
    /// The schema as the database resolved it.
    pub schema_name: String,
    /// The table.
    pub table_name: String,
    /// The column.
    pub column_name: String,
    /// The keyset.
    pub keyset: String,
    /// The associated data's template.
    pub associated_data: String,
    /// The primary key's columns.
    pub primary_key: Vec<String>,
    /// What its cells are.
    pub format: String,
    /// How they are written.
    pub encoding: String,
    /// What its fence refuses.
    pub fence: String,
}

impl From<&Declared> for catalog::Model {
    /// As it will stand in the catalog, without an id of its own yet.
    fn from(declared: &Declared) -> Self {
        Self {
            id: 0,
            source: declared.source.clone(),
            schema_name: declared.schema_name.clone(),
            table_name: declared.table_name.clone(),
            column_name: declared.column_name.clone(),
            keyset: declared.keyset.clone(),
            associated_data: declared.associated_data.clone(),
            primary_key: json!(declared.primary_key).to_string(),
            format: declared.format.clone(),
            encoding: declared.encoding.clone(),
            fence: declared.fence.clone(),
            registered_at: 0,
            adopted_at: None,
            forgotten_at: None,
        }
    }
}

/// Every registered column, oldest first.
pub async fn registered(db: &impl ConnectionTrait) -> Result<Vec<catalog::Model>, LedgerError> {
    let all = catalog::Entity::find().filter(catalog::Column::ForgottenAt.is_null());
    Ok(all.order_by_asc(catalog::Column::Id).all(db).await?)
}

/// Every column that was taken out, whose fence may still stand.
pub async fn forgotten(db: &impl ConnectionTrait) -> Result<Vec<catalog::Model>, LedgerError> {
    let all = catalog::Entity::find().filter(catalog::Column::ForgottenAt.is_not_null());
    Ok(all.order_by_asc(catalog::Column::Id).all(db).await?)
}

/// The registered column that a person calls `source:schema.table.column` or `table.column`.
pub async fn named(db: &impl ConnectionTrait, name: &str) -> Result<catalog::Model, LedgerError> {
    one_called(registered(db).await?, name)
}

/// The same among columns that were taken out, too: for what outlives the catalog.
pub async fn ever_named(db: &impl ConnectionTrait, name: &str) -> Result<catalog::Model, LedgerError> {
    one_called([registered(db).await?, forgotten(db).await?].concat(), name)
}

fn one_called(mut found: Vec<catalog::Model>, name: &str) -> Result<catalog::Model, LedgerError> {
    found.retain(|c| c.is_called(name));
    match (found.pop(), found.pop()) {
        (Some(column), None) => Ok(column),
        (None, _) => Err(LedgerError::refused(
            "unknown_column",
            format!("`{name}` is not registered: see `reseal catalog list`"),
        )),
        (Some(one), Some(other)) => Err(LedgerError::refused(
            "ambiguous_column",
            format!("`{name}` can be {} and {}: write source:schema.table.column", other.path(), one.path()),
        )),
    }
}

/// Takes a column out of the catalog: proofs no longer cover it, and its cells are then looked for as those of any column that
/// is not registered. Open rotations follow: one that plans or re-encrypts plans again, and one whose proof covers the column
/// goes back to proving, where its waiting time begins again. Says which rotations lost their proof. Refused once a key of such
/// a rotation is destroyed. In the caller's transaction.
pub async fn forget(txn: &impl ConnectionTrait, actor: &str, column: &catalog::Model) -> Result<Vec<i64>, LedgerError> {
    use RotationState::{Clearing, Planning, Proving, Reencrypting, Waiting};
    let mut unproved = Vec::new();
    let open = rotations::Entity::find().filter(rotations::Column::OpenKeyset.is_not_null());
    for seen in open.order_by_asc(rotations::Column::Id).all(txn).await? {
        let rotation = read::locked(txn, seen.id).await?;
        match rotation.state {
            Waiting | Clearing => {
                let retired = ledger_keys::retired_by(txn, rotation.id).await?;
                if let Some(gone) = retired.iter().find(|k| k.state == KeyState::Destroyed) {
                    let message = format!(
                        "key {} is destroyed by rotation {}, whose proof covers this column: let the rotation end first",
                        gone.key_id, rotation.id
                    );
                    return Err(LedgerError::refused("catalog_in_use", message));
                }
                unproved.push(rotation);
            }
            Planning | Reencrypting | Proving if rotation.keyset == column.keyset => plan_again(txn, &rotation).await?,
            _ => {}
        }
    }
    catalog::Entity::update_many()
        .col_expr(catalog::Column::ForgottenAt, super::time::now(txn))
        .filter(catalog::Column::Id.eq(column.id))
        .exec(txn)
        .await?;
    for rotation in &unproved {
        prove::void_from_outside(txn, actor, rotation).await?;
    }
    let (before, after) = (json!({"keyset": column.keyset, "associated_data": column.associated_data}), json!(null));
    audit::record(txn, audit::Entry { actor, action: "catalog.forgotten", subject: column.path(), before, after })
        .await?;
    Ok(unproved.iter().map(|r| r.id).collect())
}

/// Makes a rotation's step due: while it proves, it finds out by itself that its plan is outdated.
async fn plan_again(txn: &impl ConnectionTrait, rotation: &rotations::Model) -> Result<(), LedgerError> {
    let done = rotation.planning_done && rotation.state == RotationState::Proving;
    rotations::Entity::update_many()
        .col_expr(rotations::Column::PlanningDone, Expr::value(done))
        .col_expr(rotations::Column::StepDueAt, Expr::value(0))
        .col_expr(rotations::Column::NextRingAt, Expr::value(0))
        .filter(rotations::Column::Id.eq(rotation.id))
        .exec(txn)
        .await?;
    Ok(())
}

/// Notes that every cell of a rotation's columns is native: its proof has just said so.
pub(super) async fn note_adopted(
    txn: &impl ConnectionTrait,
    actor: &str,
    rotation: &rotations::Model,
    proved: &[i64],
) -> Result<(), LedgerError> {
    let of_rotation = |c: &catalog::Model| c.keyset == rotation.keyset && proved.contains(&c.id);
    let adopted = registered(txn).await?.into_iter().filter(|c| of_rotation(c) && c.is_to_be_adopted());
    for column in adopted {
        catalog::Entity::update_many()
            .col_expr(catalog::Column::AdoptedAt, super::time::now(txn))
            .filter(catalog::Column::Id.eq(column.id))
            .exec(txn)
            .await?;
        let (before, after) =
            (json!({"format": column.format}), json!({"format": catalog::NATIVE, "rotation": rotation.id}));
        audit::record(txn, audit::Entry { actor, action: "catalog.adopted", subject: column.path(), before, after })
            .await?;
    }
    Ok(())
}

/// Registers what is declared. A column that is registered otherwise is refused: cells bound to
/// another associated data, or under another keyset, would not open. Leaving a column out of
/// `declared` unregisters nothing.
pub async fn register(txn: &impl ConnectionTrait, actor: &str, declared: &[Declared]) -> Result<(), LedgerError> {
    for column in declared {
        let found = catalog::Entity::find()
            .filter(catalog::Column::Source.eq(&column.source))
            .filter(catalog::Column::SchemaName.eq(&column.schema_name))
            .filter(catalog::Column::TableName.eq(&column.table_name))
            .filter(catalog::Column::ColumnName.eq(&column.column_name))
            .one(txn)
            .await?;
        if let Some(row) = found {
            if row.forgotten_at.is_some() {
                remember(txn, actor, &row, column).await?;
                continue;
            }
            if let Some(conflict) = conflict(&row, column) {
                return Err(LedgerError::refused("catalog_conflict", format!("{} {conflict}", row.path())));
            }
            continue;
        }
        if keysets::Entity::find_by_id(&column.keyset).one(txn).await?.is_none() {
            return Err(LedgerError::refused(
                "unknown_keyset",
                format!(
                    "column `{}.{}` uses keyset `{}`, which does not exist: make it with `reseal keys create {}` or bring \
                     one in with `reseal keys import`",
                    column.table_name, column.column_name, column.keyset, column.keyset
                ),
            ));
        }
        insert(txn, actor, column).await?;
    }
    Ok(())
}

/// Where a declaration differs from what is registered of the same column, for people.
pub fn conflict(row: &catalog::Model, column: &Declared) -> Option<String> {
    // A configuration may go on calling an adopted column what it was, or say what it is.
    let format = row.format == column.format || (row.adopted_at.is_some() && column.format == catalog::NATIVE);
    let same = row.keyset == column.keyset
        && row.associated_data == column.associated_data
        && row.primary_key() == column.primary_key
        && row.encoding == column.encoding
        && row.fence == column.fence
        && format;
    (!same).then(|| {
        format!(
            "is registered with keyset `{}`, associated data `{}`, primary key {}, format `{}`, encoding `{}` and fence \
             `{}`, and this configuration says otherwise: correct the configuration, or take the old entry out with `reseal \
             catalog forget`",
            row.keyset, row.associated_data, row.primary_key, row.format, row.encoding, row.fence
        )
    })
}

/// A forgotten column comes back as it is declared now.
async fn remember(
    txn: &impl ConnectionTrait,
    actor: &str,
    row: &catalog::Model,
    column: &Declared,
) -> Result<(), LedgerError> {
    // What was not native before keeps its stricter fence.
    let stays_adopted = column.format == catalog::NATIVE && row.adopted_at.is_some();
    catalog::Entity::update_many()
        .col_expr(catalog::Column::ForgottenAt, Expr::value(Option::<i64>::None))
        .col_expr(catalog::Column::Keyset, Expr::value(&column.keyset))
        .col_expr(catalog::Column::AssociatedData, Expr::value(&column.associated_data))
        .col_expr(catalog::Column::PrimaryKey, Expr::value(json!(column.primary_key).to_string()))
        .col_expr(catalog::Column::Format, Expr::value(if stays_adopted { &row.format } else { &column.format }))
        .col_expr(catalog::Column::Encoding, Expr::value(&column.encoding))
        .col_expr(catalog::Column::Fence, Expr::value(&column.fence))
        .col_expr(catalog::Column::AdoptedAt, Expr::value(row.adopted_at.filter(|_| stays_adopted)))
        .filter(catalog::Column::Id.eq(row.id))
        .exec(txn)
        .await?;
    let after = told(column);
    audit::record(
        txn,
        audit::Entry { actor, action: "catalog.registered", subject: row.path(), before: json!(null), after },
    )
    .await
}

fn told(column: &Declared) -> serde_json::Value {
    json!({
        "keyset": column.keyset, "associated_data": column.associated_data, "format": column.format,
        "encoding": column.encoding, "fence": column.fence,
    })
}

async fn insert(txn: &impl ConnectionTrait, actor: &str, column: &Declared) -> Result<(), LedgerError> {
    let primary_key = json!(column.primary_key).to_string();
    catalog::Entity::insert(catalog::ActiveModel {
        source: Set(column.source.clone()),
        schema_name: Set(column.schema_name.clone()),
        table_name: Set(column.table_name.clone()),
        column_name: Set(column.column_name.clone()),
        keyset: Set(column.keyset.clone()),
        associated_data: Set(column.associated_data.clone()),
        primary_key: Set(primary_key),
        format: Set(column.format.clone()),
        encoding: Set(column.encoding.clone()),
        fence: Set(column.fence.clone()),
        registered_at: Set(now_ms(txn).await?),
        ..Default::default()
    })
    .exec_without_returning(txn)
    .await?;
    let subject = format!("{}:{}.{}.{}", column.source, column.schema_name, column.table_name, column.column_name);
    let after = told(column);
    audit::record(txn, audit::Entry { actor, action: "catalog.registered", subject, before: json!(null), after }).await
}
