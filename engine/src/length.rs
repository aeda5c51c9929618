//! Whether new cells fit where the old values stand: asked before a key is made.

use crate::{engine::Target, error::EngineError, source::CellColumn};
use reseal_entities::{keys, state::KeyState};
use reseal_keyring::{Algorithm, Format};

/// The algorithm of the key that the next rotation of a keyset promotes: `to`'s, or that of the one it makes.
pub(crate) fn next_algorithm(keys: &[keys::Model], keyset: &str, to: Option<i64>) -> Algorithm {
    let next = keys.iter().find(|k| Some(k.key_id) == to);
    let next = next.or_else(|| keys.iter().find(|k| k.keyset == keyset && k.state == KeyState::Active));
    let algorithm = next.and_then(|k| k.algorithm.parse::<Algorithm>().ok()).filter(|a| a.may_be_rotated_to());
    algorithm.unwrap_or(Algorithm::Aes256Gcm)
}

/// Bytes of a value of so many bytes as it is stored now, once it is a cell.
fn cell_bytes(format: Format, stored: usize, algorithm: Algorithm) -> usize {
    let decoded = (3 * stored).div_ceil(4);
    let plaintext = match format {
        Format::Plaintext => stored,
        Format::RawAesGcm => decoded.saturating_sub(28),
        Format::Tink => decoded.saturating_sub(33),
    };
    plaintext + algorithm.overhead()
}

/// Why a column of limited length cannot take its longest value re-encrypted.
pub(crate) async fn too_short(
    target: &Target,
    column: &CellColumn,
    algorithm: Algorithm,
) -> Result<Option<String>, EngineError> {
    let Some(most) = column.length_max else { return Ok(None) };
    let longest = target.source.longest(&target.shape, &column.name).await?;
    let needs = column.layout.encoding.stored_len(cell_bytes(column.layout.format, longest, algorithm));
    Ok((longest > 0 && needs > most).then(|| {
        format!(
            "it takes {most} characters, and its longest value ({longest} bytes) needs {needs} once it is re-encrypted: make \
             the column longer"
        )
    }))
}
