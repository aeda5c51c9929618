//! Which fence a column has, and how a key is let in past those that stand.

use crate::{
    census::headers,
    engine::{Engine, Target, by_table},
    error::EngineError,
    keys::id_of,
    source::{Fence, Header, Rule},
};
use reseal_entities::{
    catalog as catalog_row, keys,
    ledger::{catalog, keys as ledger_keys},
    state::KeyState,
};
use reseal_keyring::cell;

/// The fence of a column. New cells may be under the active key, or one about to be, and no other of
/// its keyset; tombstones included, so that a restored row is refused and not lost. Where the fence is strict, cells once
/// named no key, or the keyset has had a raw key, nothing but the active key's header is let in. The key that
/// is `admitted` counts as active beside the one that is, and then whatever rows may be under is let in, too.
pub(crate) fn fence_of(column: &catalog_row::Model, keys: &[keys::Model], admitted: Option<i64>) -> Fence {
    let active = |k: &&keys::Model| k.state == KeyState::Active || Some(k.key_id) == admitted;
    let in_use = |k: &&keys::Model| active(k) || (admitted.is_some() && k.state == KeyState::Deactivated);
    let own = || keys.iter().filter(|k| k.keyset == column.keyset);
    let rule = if column.takes_only_cells() || own().any(|k| !k.names_its_cells()) {
        Rule::Allow(headers(own().filter(in_use)))
    } else {
        Rule::Deny(headers(own().filter(|k| k.state != KeyState::PreActive && !active(k))))
    };
    let text = column.encoding != "bytes";
    Fence { keyset: column.keyset.clone(), column: column.column_name.clone(), text, rule }
}

/// Opens every fence of a keyset that would refuse cells under `to`, before anything is written under it:
/// one that names what it lets in, and one that a rotation the other way left. Dying afterwards costs
/// nothing: nobody encrypts with the key yet.
pub(crate) async fn admit(engine: &Engine, keyset: &str, to: i64) -> Result<(), EngineError> {
    let db = engine.ledger.db();
    let keys = ledger_keys::all(db).await?;
    let Some(key) = keys.iter().find(|k| k.key_id == to) else {
        return Err(EngineError::refused("unknown_key", format!("key {to} is not in the ledger")));
    };
    let header = cell::header(id_of(key));
    let (registered, forgotten) = (catalog::registered(db).await?, catalog::forgotten(db).await?);
    for table in by_table(registered.into_iter().filter(|c| c.keyset == keyset).collect()) {
        admit_to(&engine.target(table).await?, &keys, to, &header).await?;
    }
    // A fence outlives what the ledger knows of its column, and goes on refusing.
    for column in forgotten.into_iter().filter(|c| c.keyset == keyset) {
        let path = column.path();
        match engine.target(vec![column]).await {
            Ok(target) => admit_to(&target, &keys, to, &header).await?,
            Err(e) => tracing::debug!("the forgotten column {path} is not looked at: {e}"),
        }
    }
    Ok(())
}

async fn admit_to(target: &Target, keys: &[keys::Model], to: i64, header: &Header) -> Result<(), EngineError> {
    let mut prover = target.source.prover().await?;
    for column in &target.columns {
        let fence = fence_of(column, keys, Some(to));
        let state = prover.fence_state(&target.shape, &fence).await?;
        if !state.refuses(header, fence.text) {
            continue;
        }
        target.source.fence(&target.shape, &fence).await?;
        // Only where a constraint stands: it lets in what it let in before, so every row passes the wider one.
        if state.is_sealed() {
            target.source.seal(&target.shape, &fence).await?;
        }
    }
    prover.release().await?;
    Ok(())
}
