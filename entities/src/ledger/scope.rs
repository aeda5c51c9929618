//! What a proof must cover: every registered source, without the registered exclusions.
//!
//! Widening is anybody's: a worker registers the sources of its file when it plans. Narrowing is a person's: an
//! exclusion is registered by `reseal check` alone, and a source is taken out by name.

use super::{LedgerError, audit, time::now_ms};
use crate::{catalog, exclusions, proofs, rotations, source_addresses, sources, state::RotationState};
use sea_orm::{ActiveValue::Set, ColumnTrait, ConnectionTrait, EntityTrait, QueryFilter, QueryOrder};
use serde_json::json;
use std::collections::BTreeSet;

/// Sources and exclusions as the ledger has them.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Scope {
    /// Every source's name.
    pub sources: BTreeSet<String>,
    /// Every exclusion: a source and what it leaves out there.
    pub exclusions: BTreeSet<(String, String)>,
}

impl Scope {
    /// What is left out in one source.
    pub fn left_out(&self, source: &str) -> Vec<String> {
        self.exclusions.iter().filter(|(of, _)| of == source).map(|(_, pattern)| pattern.clone()).collect()
    }

    /// What `wanted` has and this lacks, in words; none when this covers it.
    pub fn lacks(&self, wanted: &Self) -> Option<String> {
        let sources = wanted.sources.difference(&self.sources).map(|s| format!("source `{s}` is not covered"));
        let more = self.exclusions.difference(&wanted.exclusions);
        let lacks: Vec<_> = sources.chain(more.map(|(s, p)| format!("`{s}:{p}` is left out"))).collect();
        (!lacks.is_empty()).then(|| lacks.join(", "))
    }

    /// How what a proof must cover has changed from this to `now`, in words; none when it has not.
    pub fn changed(&self, now: &Self) -> Option<String> {
        let sources = now.sources.difference(&self.sources).map(|s| format!("source `{s}` was not covered"));
        let left_out = now.exclusions.difference(&self.exclusions).map(|(s, p)| format!("`{s}:{p}` is left out since"));
        let included =
            self.exclusions.difference(&now.exclusions).map(|(s, p)| format!("`{s}:{p}` is looked at since"));
        let changes: Vec<_> = sources.chain(left_out).chain(included).collect();
        (!changes.is_empty()).then(|| changes.join(", "))
    }

    /// As proofs record it: names of sources, and `source:pattern`, each a JSON array.
    pub(super) fn recorded(&self) -> (String, String) {
        let exclusions: Vec<_> =
            self.exclusions.iter().map(|(source, pattern)| format!("{source}:{pattern}")).collect();
        (json!(self.sources).to_string(), json!(exclusions).to_string())
    }

    /// What a proof covered.
    pub fn of(proof: &proofs::Model) -> Self {
        let exclusions: Vec<String> = serde_json::from_str(&proof.exclusions).unwrap_or_default();
        let pair =
            |path: &String| path.split_once(':').map(|(source, pattern)| (source.to_owned(), pattern.to_owned()));
        Self {
            sources: serde_json::from_str(&proof.sources).unwrap_or_default(),
            exclusions: exclusions.iter().filter_map(pair).collect(),
        }
    }
}

/// The scope that a proof must have now.
pub async fn now(db: &impl ConnectionTrait) -> Result<Scope, LedgerError> {
    let sources = sources::Entity::find().all(db).await?.into_iter().map(|s| s.name).collect();
    let exclusions = exclusions(db).await?.into_iter().map(|x| (x.source, x.pattern)).collect();
    Ok(Scope { sources, exclusions })
}

/// Every exclusion.
pub async fn exclusions(db: &impl ConnectionTrait) -> Result<Vec<exclusions::Model>, LedgerError> {
    let all = exclusions::Entity::find().order_by_asc(exclusions::Column::Source);
    Ok(all.order_by_asc(exclusions::Column::Pattern).all(db).await?)
}

/// Refuses to go on with what was counted over `counted` when the ledger demands more by now.
pub(super) async fn refuse_less(txn: &impl ConnectionTrait, counted: &Scope) -> Result<(), LedgerError> {
    match counted.lacks(&now(txn).await?) {
        None => Ok(()),
        Some(lacks) => Err(LedgerError::refused(
            "scope_changed",
            format!("what a proof must cover changed while it was counted ({lacks}): it is counted again"),
        )),
    }
}

/// Registers exclusions, each once. A person says so; no worker does. In the caller's transaction.
pub async fn exclude(
    txn: &impl ConnectionTrait,
    actor: &str,
    source: &str,
    patterns: &[String],
) -> Result<usize, LedgerError> {
    let known = now(txn).await?.left_out(source);
    let added: BTreeSet<_> = patterns.iter().filter(|p| !known.contains(p)).collect();
    for pattern in &added {
        let row = exclusions::ActiveModel {
            source: Set(source.to_owned()),
            pattern: Set((*pattern).clone()),
            registered_at: Set(now_ms(txn).await?),
            registered_by: Set(actor.to_owned()),
        };
        exclusions::Entity::insert(row).exec_without_returning(txn).await?;
        let (before, after) = (json!(null), json!({"left_out": pattern}));
        let subject = format!("source {source}");
        audit::record(txn, audit::Entry { actor, action: "scope.excluded", subject, before, after }).await?;
    }
    Ok(added.len())
}

/// Takes an exclusion out, by the name `source:pattern`: the scan looks there again. In the caller's transaction.
pub async fn include(txn: &impl ConnectionTrait, actor: &str, path: &str) -> Result<exclusions::Model, LedgerError> {
    let Some(found) = exclusions(txn).await?.into_iter().find(|x| x.path() == path) else {
        return Err(LedgerError::refused(
            "unknown_exclusion",
            format!("`{path}` is not excluded: see `reseal catalog list`"),
        ));
    };
    exclusions::Entity::delete_by_id((found.source.clone(), found.pattern.clone())).exec(txn).await?;
    let (before, after) = (json!({"left_out": found.pattern}), json!(null));
    let subject = format!("source {}", found.source);
    audit::record(txn, audit::Entry { actor, action: "scope.included", subject, before, after }).await?;
    Ok(found)
}

/// Takes a source out that is gone, with its exclusions. Refused while a registered column is in it, and while a
/// proof may rest on it. In the caller's transaction.
pub async fn forget_source(txn: &impl ConnectionTrait, actor: &str, name: &str) -> Result<(), LedgerError> {
    let Some(source) = sources::Entity::find_by_id(name).one(txn).await? else {
        let message = format!("source `{name}` is not registered: see `reseal catalog list`");
        return Err(LedgerError::refused("unknown_source", message));
    };
    let columns = catalog::Entity::find()
        .filter(catalog::Column::Source.eq(name))
        .filter(catalog::Column::ForgottenAt.is_null())
        .one(txn)
        .await?;
    if let Some(column) = columns {
        let message = format!(
            "{} is registered in source `{name}`: take its columns out first, with `reseal catalog forget`",
            column.path()
        );
        return Err(LedgerError::refused("source_in_use", message));
    }
    refuse_while_proved(txn, "its proof covers this source").await?;
    exclusions::Entity::delete_many().filter(exclusions::Column::Source.eq(name)).exec(txn).await?;
    source_addresses::Entity::delete_many().filter(source_addresses::Column::Source.eq(name)).exec(txn).await?;
    sources::Entity::delete_by_id(name).exec(txn).await?;
    let (before, after) = (json!({"identity": source.identity}), json!(null));
    let subject = format!("source {name}");
    audit::record(txn, audit::Entry { actor, action: "source.forgotten", subject, before, after }).await
}

/// Refuses while a rotation is between its proof and its end.
pub(super) async fn refuse_while_proved(txn: &impl ConnectionTrait, what: &str) -> Result<(), LedgerError> {
    let resting = rotations::Entity::find()
        .filter(rotations::Column::State.is_in([RotationState::Waiting, RotationState::Clearing]))
        .one(txn)
        .await?;
    match resting {
        None => Ok(()),
        Some(rotation) => Err(LedgerError::refused(
            "catalog_in_use",
            format!("rotation {} is {} and {what}: let it end first", rotation.id, rotation.state),
        )),
    }
}
