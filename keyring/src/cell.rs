//! The layout of a cell: `01 ‖ key id u32 BE ‖ iv 12 or 24 ‖ ciphertext ‖ tag 16`
//!
//! These are Tink's AEAD bytes with the `TINK` output prefix. How long the iv is
//! the key's algorithm says.

use std::collections::BTreeSet;

use base64::{
    Engine,
    engine::general_purpose::{STANDARD_NO_PAD, URL_SAFE_NO_PAD},
};

use crate::{KeyId, KeyState};

/// Bytes of the header: version and key id
pub const HEADER_LEN: usize = 5;
/// The first bytes of a cell, which no other cell shares: header and at least 96 random bits
pub const PREFIX_LEN: usize = HEADER_LEN + IV_LEN;
/// The least that a cell is longer than its plaintext; see [`Algorithm::overhead`](crate::Algorithm::overhead)
pub const OVERHEAD: usize = PREFIX_LEN + TAG_LEN;

/// The shortest nonce
const IV_LEN: usize = 12;
pub(crate) const TAG_LEN: usize = 16;

const VERSION: u8 = 1;

/// The bytes with which every cell of this key begins
#[must_use]
pub fn header(key_id: KeyId) -> [u8; HEADER_LEN] {
    let [a, b, c, d] = key_id.0.to_be_bytes();
    [VERSION, a, b, c, d]
}

/// A cell taken apart; nothing in it is authenticated yet
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Cell<'a> {
    /// The key that the header names
    pub key_id: KeyId,
    /// iv, ciphertext and tag: at least 28 bytes
    pub sealed: &'a [u8],
}

pub(crate) fn key_id_of_header(header: &[u8]) -> Option<KeyId> {
    match header {
        [VERSION, id @ ..] => id.try_into().ok().map(|id| KeyId(u32::from_be_bytes(id))),
        _ => None,
    }
}

/// Refuses whatever is not laid out as a cell; never guesses
///
/// A success says nothing of the key: bytes that merely begin with `01` parse.
///
/// # Errors
///
/// `cell_empty`, `cell_wrong_version` and `cell_truncated`, looked for in this
/// order: short plaintext is called a wrong version, not a truncated cell.
pub fn parse(bytes: &[u8]) -> Result<Cell<'_>, CellError> {
    match bytes.first() {
        None => return Err(CellError::Empty),
        Some(&VERSION) => {}
        Some(_) => return Err(CellError::WrongVersion),
    }
    let truncated = CellError::Truncated { length: bytes.len() };
    if bytes.len() < OVERHEAD {
        return Err(truncated);
    }
    let (header, sealed) = bytes.split_at(HEADER_LEN);
    let key_id = key_id_of_header(header).ok_or(truncated)?;
    Ok(Cell { key_id, sealed })
}

/// All 7-character strings with which base64 of this key's cells can begin
///
/// Exact: 5 bytes are 6 characters and two thirds of a seventh, which the iv
/// completes in 4 ways. Both alphabets are covered, so there are 4 to 8
/// strings, sorted. The comparison must be case-sensitive.
#[must_use]
pub fn base64_prefixes(key_id: KeyId) -> Vec<String> {
    let mut bytes = [0; HEADER_LEN + 1];
    bytes[..HEADER_LEN].copy_from_slice(&header(key_id));
    let mut prefixes = BTreeSet::new();
    for iv_bits in 0..4 {
        bytes[HEADER_LEN] = iv_bits << 6;
        for mut text in [STANDARD_NO_PAD.encode(bytes), URL_SAFE_NO_PAD.encode(bytes)] {
            text.truncate(7);
            prefixes.insert(text);
        }
    }
    prefixes.into_iter().collect()
}

/// Why a cell was refused
///
/// No message holds a cell's bytes, with one exception: the key id that its
/// header names, without which nobody could look for the missing key.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum CellError {
    /// No bytes at all
    #[error("the cell is empty: NULL is the only way to hold no value")]
    Empty,
    /// Begins like a cell and is shorter than any
    #[error("the cell is truncated: {length} bytes, a cell has at least {OVERHEAD}")]
    Truncated {
        /// Bytes found
        length: usize,
    },
    /// The first byte is not `01`: plaintext, or another format
    #[error("not a cell: the first byte is not 01, look for plaintext or another format")]
    WrongVersion,
    /// The header names a key that the keyset does not hold
    #[error("key {key_id} is not in the keyset: reload it, or look for a lost key")]
    UnknownKey {
        /// The id in the header
        key_id: KeyId,
    },
    /// The key is known and its state forbids the use
    #[error("key {key_id} is {state}: it is refused for this use")]
    KeyNotUsable {
        /// The key
        key_id: KeyId,
        /// Its state
        state: KeyState,
    },
    /// The key is known and its tag does not verify: truncated, altered, moved
    /// from another row, or written under other associated data
    #[error(
        "the cell does not authenticate under key {key_id}: its bytes or its associated data differ from what was encrypted"
    )]
    NotAuthentic {
        /// The key in the header
        key_id: KeyId,
    },
    /// A cell without a key id, which none of the keyset's raw keys authenticates
    #[error(
        "the cell names no key, and {tried} raw keys of the keyset were tried: none authenticates it with this associated data"
    )]
    RawNotAuthentic {
        /// Raw keys that may decrypt
        tried: usize,
    },
    /// The active key is a raw one, and its cells would not say so in this column
    #[error(
        "the active key {key_id} writes cells without its id: promote a native key first, or declare the column's format raw-aes-gcm"
    )]
    RawKeyActive {
        /// The active key
        key_id: KeyId,
    },
    /// A value that is to be encrypted is a cell under a raw key already
    #[error("not a plaintext: it authenticates under a raw key of the keyset, declare the column's format raw-aes-gcm")]
    RawCell,
    /// A value that is to be encrypted holds a cell
    #[error(
        "the value contains what looks like a cell under key {key_id}, which nobody could find again once it is encrypted: take it out, or decrypt it first"
    )]
    CellInside {
        /// The key that the header inside names
        key_id: KeyId,
    },
    /// Not in the column's encoding
    #[error("not the column's base64: another alphabet, padding that differs, or no base64 at all")]
    NotBase64,
    /// The re-encrypted cell did not decrypt to the same plaintext
    #[error(
        "the cell re-encrypted under key {key_id} did not decrypt to the same value: the old cell was kept, check this machine's memory"
    )]
    NotRoundTrip {
        /// The key that re-encrypted
        key_id: KeyId,
    },
}

impl CellError {
    /// Stable: what the ledger, the API and alerts group by
    #[must_use]
    pub fn code(&self) -> &'static str {
        match self {
            Self::Empty => "cell_empty",
            Self::Truncated { .. } => "cell_truncated",
            Self::WrongVersion => "cell_wrong_version",
            Self::UnknownKey { .. } => "unknown_key",
            Self::KeyNotUsable { .. } => "key_not_usable",
            Self::NotAuthentic { .. } | Self::RawNotAuthentic { .. } => "not_authentic",
            Self::RawKeyActive { .. } => "raw_key_active",
            Self::RawCell => "raw_cell",
            Self::CellInside { .. } => "cell_inside",
            Self::NotBase64 => "cell_not_base64",
            Self::NotRoundTrip { .. } => "not_round_trip",
        }
    }
}
