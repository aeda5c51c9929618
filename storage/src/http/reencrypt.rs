//! Re-encrypting: from whatever key a value names to the active one

use std::{collections::HashSet, sync::Arc};

use futures::future::join_all;
use reseal_http::Problem;
use reseal_keyring::{KeyId, cell};

use super::{
    bytes,
    call::{Call, Request, bound_to, keyset_name, names_its_cells},
    refused,
    shapes::{CiphertextValue, ReencryptAnswer, ReencryptRequest, Reencrypted, ValueError},
};
use crate::keysets::Loaded;

impl Request for ReencryptRequest {
    type Answer = ReencryptAnswer;
    const PATH: &str = "/v1/re-encrypt";

    fn values(&self) -> usize {
        self.values.len()
    }

    async fn answer(self, call: &Call) -> Result<ReencryptAnswer, Problem> {
        let keyset = keyset_name(self.keyset.as_deref())?;
        let to = self.to_key_id.map(KeyId);
        let cells: Vec<_> = self.values.iter().map(|value| call.cell(value)).collect();
        let named: HashSet<KeyId> = cells.iter().flatten().filter_map(|cell| key_named_by(cell)).collect();
        let loaded = call.keysets().for_reencrypting(keyset, &named, to).await;
        let loaded = loaded.map_err(|error| refused::no_keyset(&error))?;
        let target = target(&loaded, to)?;
        let from = self.from_key_id.map(KeyId);
        let one = async |(at, (value, cell)): (usize, (&CiphertextValue, &Result<Vec<u8>, ValueError>))| {
            let cell = cell.as_deref().map_err(|error| *error)?;
            reencrypt(call, &loaded, from, at, value, cell).await
        };
        let results = join_all(self.values.iter().zip(&cells).enumerate().map(one)).await;
        let changed = results.iter().filter(|result| matches!(result, Ok(Some(_)))).count();
        call.encrypted(target, changed);
        let results = results.into_iter().zip(self.values).map(|(result, value)| match result {
            Ok(Some(cell)) => Reencrypted::Done { ciphertext: bytes::encode(cell), unchanged: false },
            Ok(None) => Reencrypted::Done { ciphertext: value.ciphertext, unchanged: true },
            Err(error) => Reencrypted::Refused { error },
        });
        Ok(ReencryptAnswer { key_id: target.0, results: results.collect() })
    }
}

/// The new cell; `None` where the value is under the active key already, which is only said of what authenticates.
async fn reencrypt(
    call: &Call,
    loaded: &Arc<Loaded>,
    from: Option<KeyId>,
    at: usize,
    value: &CiphertextValue,
    cell: &[u8],
) -> Result<Option<Vec<u8>>, ValueError> {
    let target = loaded.keyset.active();
    let named = key_named_by(cell).ok_or_else(ValueError::decryption_failed)?;
    // What a call before this one has brought to the target is no mistake: whoever repeats it goes through.
    if from.is_some_and(|from| named != from && named != target) {
        return Err(refused::UNDER_ANOTHER_KEY);
    }
    let plaintext = call.open(loaded, at, value, cell).await?;
    if named == target {
        return Ok(None);
    }
    let associated_data = bound_to(value.associated_data.as_ref());
    let new = loaded.keyset.encrypt(&plaintext, associated_data);
    // The caller will drop the old value: a fault of this machine's between the two would cost it.
    match loaded.keyset.decrypt(&new, associated_data) {
        Ok(again) if again == plaintext => Ok(Some(new)),
        _ => Err(refused::NOT_ROUND_TRIP),
    }
}

/// The active key. A pre_active one may encrypt for its probe alone (NIST SP 800-57): nobody has promised that its
/// readers know it.
fn target(loaded: &Loaded, to: Option<KeyId>) -> Result<KeyId, Problem> {
    let active = names_its_cells(loaded)?;
    let Some(to) = to else { return Ok(active) };
    let Some(key) = loaded.keyset.info(to) else { return Err(refused::unknown_key(to)) };
    if to != active {
        return Err(refused::key_not_active(to, key.state, active));
    }
    if loaded.is_compromised(to) {
        return Err(refused::key_compromised(to));
    }
    Ok(active)
}

fn key_named_by(bytes: &[u8]) -> Option<KeyId> {
    cell::parse(bytes).ok().map(|cell| cell.key_id)
}
