//! All versions of one logical key, and the only way to their ciphers

mod column;
mod error;
mod stored;

use std::{collections::HashSet, fmt, sync::OnceLock};

pub use error::KeysetError;
pub use stored::{StoredKey, UnwrapError};
use zeroize::Zeroizing;

use crate::{
    Algorithm, Dek, KeyId, KeyState, Prefix,
    cell::{self, CellError},
    cipher::Cipher,
};

/// What is known of a key besides its material
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct KeyInfo {
    /// Stands in every cell's header
    pub key_id: KeyId,
    /// 1, 2, 3 …: what people say
    pub version: u32,
    /// Decides what the key may be used for
    pub state: KeyState,
    /// The cipher that it is for
    pub algorithm: Algorithm,
    /// Whether its cells name it
    pub prefix: Prefix,
}

impl KeyInfo {
    /// A key as Reseal makes them by default: AES-256-GCM, cells that name it
    #[must_use]
    pub fn native(key_id: KeyId, version: u32, state: KeyState) -> Self {
        Self { key_id, version, state, algorithm: Algorithm::Aes256Gcm, prefix: Prefix::Tink }
    }
}

/// A keyset whose invariants were checked; it never changes
///
/// A value is only ever tried under the key that its header names. A state that
/// changes in the ledger needs a new `Keyset`.
pub struct Keyset {
    name: String,
    keys: Vec<Key>,
    active: usize,
    foreign: HashSet<KeyId>,
    needles: OnceLock<Vec<(KeyId, Vec<u8>)>>,
}

struct Key {
    info: KeyInfo,
    material: Option<Material>,
}

// The DEK stays beside its cipher because an export needs the bytes.
struct Material {
    dek: Dek,
    cipher: Cipher,
}

impl Keyset {
    /// Checks, in this order:
    ///
    /// 1. the name is not empty
    /// 2. there is at least one key
    /// 3. no key id is zero
    /// 4. key ids are unique
    /// 5. versions are positive
    /// 6. versions are unique
    /// 7. a pre_active, active or deactivated key has its DEK
    /// 8. a destroyed key has none (a suspended one may: it is refused for use)
    /// 9. a DEK has its algorithm's length, and a raw key is for AES-GCM
    /// 10. exactly one key is active
    ///
    /// # Errors
    ///
    /// The first of these that does not hold.
    pub fn new(name: &str, keys: Vec<(KeyInfo, Option<Dek>)>) -> Result<Self, KeysetError> {
        if name.is_empty() {
            return Err(KeysetError::NoName);
        }
        if keys.is_empty() {
            return Err(KeysetError::NoKeys);
        }
        let (mut ids, mut versions) = (HashSet::new(), HashSet::new());
        for (info, dek) in &keys {
            let key_id = info.key_id;
            if key_id == KeyId(0) {
                return Err(KeysetError::ZeroKeyId);
            }
            if !ids.insert(key_id) {
                return Err(KeysetError::DuplicateKeyId(key_id));
            }
            if info.version == 0 {
                return Err(KeysetError::ZeroVersion(key_id));
            }
            if !versions.insert(info.version) {
                return Err(KeysetError::DuplicateVersion(key_id, info.version));
            }
            if info.state.decrypts() && dek.is_none() {
                return Err(KeysetError::MissingDek(key_id, info.state));
            }
            if info.state == KeyState::Destroyed && dek.is_some() {
                return Err(KeysetError::DestroyedWithDek(key_id));
            }
            let fits = |dek: &Dek| dek.expose_dek_bytes().len() == info.algorithm.key_len();
            if !dek.as_ref().is_none_or(fits) {
                return Err(KeysetError::WrongDekLength(key_id, info.algorithm));
            }
            let aes_gcm = matches!(info.algorithm, Algorithm::Aes128Gcm | Algorithm::Aes256Gcm);
            if info.prefix == Prefix::Raw && !aes_gcm {
                return Err(KeysetError::RawAlgorithm(key_id, info.algorithm));
            }
        }
        let mut actives = (0..keys.len()).filter(|&i| keys[i].0.state == KeyState::Active);
        let (Some(active), None) = (actives.next(), actives.next()) else {
            return Err(KeysetError::NotOneActive);
        };
        let keys = keys.into_iter().map(Key::new).collect();
        Ok(Self { name: name.to_owned(), keys, active, foreign: HashSet::new(), needles: OnceLock::new() })
    }

    /// Knows these key ids too, of other keysets or only of the key backup: what begins with the header
    /// of one is a cell, and never taken for raw bytes or a plaintext
    #[must_use]
    pub fn knowing(mut self, foreign: impl IntoIterator<Item = KeyId>) -> Self {
        self.foreign.extend(foreign);
        self.needles = OnceLock::new();
        self
    }

    /// The same with a new key of `algorithm` active, made here and kept nowhere: nothing that is encrypted
    /// with it may stay
    ///
    /// # Errors
    ///
    /// `keyset_duplicate_key_id` when `key_id` is taken.
    pub fn with_trial_key(mut self, key_id: KeyId, algorithm: Algorithm) -> Result<Self, KeysetError> {
        if self.info(key_id).is_some() {
            return Err(KeysetError::DuplicateKeyId(key_id));
        }
        let version = self.keys().map(|info| info.version).max().unwrap_or(0) + 1;
        self.keys[self.active].info.state = KeyState::Deactivated;
        let info = KeyInfo { key_id, version, state: KeyState::Active, algorithm, prefix: Prefix::Tink };
        self.active = self.keys.len();
        self.keys.push(Key::new((info, Some(Dek::generate(algorithm)))));
        self.needles = OnceLock::new();
        Ok(self)
    }

    /// The logical key's name, e.g. `default`
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }

    /// The one key that encrypts
    #[must_use]
    pub fn active(&self) -> KeyId {
        self.keys[self.active].info.key_id
    }

    /// Every key, tombstones too, in the order given
    pub fn keys(&self) -> impl Iterator<Item = &KeyInfo> {
        self.keys.iter().map(|key| &key.info)
    }

    /// What is known of one key
    #[must_use]
    pub fn info(&self, key_id: KeyId) -> Option<&KeyInfo> {
        self.keys().find(|info| info.key_id == key_id)
    }

    /// A new cell under the active key; without its header when that is a raw key
    ///
    /// # Panics
    ///
    /// When the operating system has no random bytes for the iv.
    #[must_use]
    pub fn encrypt(&self, plaintext: &[u8], associated_data: &[u8]) -> Vec<u8> {
        self.encrypt_with(self.active(), plaintext, associated_data).expect("an active key encrypts: invariant 7")
    }

    /// A new cell under a key that may encrypt: the active or a pre_active one
    ///
    /// # Errors
    ///
    /// `unknown_key`; `key_not_usable` in every other state.
    pub fn encrypt_with(&self, key_id: KeyId, plaintext: &[u8], associated_data: &[u8]) -> Result<Vec<u8>, CellError> {
        let (info, cipher) = self.cipher(key_id, KeyState::encrypts)?;
        let header = cell::header(key_id);
        let prefix = if info.prefix == Prefix::Tink { &header[..] } else { &[] };
        Ok(cipher.seal(prefix, plaintext, associated_data))
    }

    /// The plaintext, tried under no key but the one that the header names
    ///
    /// # Errors
    ///
    /// Those of [`cell::parse`]; `unknown_key`, `key_not_usable` (suspended,
    /// destroyed) and `not_authentic`.
    pub fn decrypt(&self, cell: &[u8], associated_data: &[u8]) -> Result<Zeroizing<Vec<u8>>, CellError> {
        let cell = cell::parse(cell)?;
        let key_id = cell.key_id;
        let (info, cipher) = self.cipher(key_id, KeyState::decrypts)?;
        if info.prefix == Prefix::Raw {
            return Err(CellError::UnknownKey { key_id }); // its cells have no header
        }
        cipher.open(cell.sealed, associated_data).ok_or(CellError::NotAuthentic { key_id })
    }

    /// Encrypts and decrypts a test value under one key, before cells depend on it
    ///
    /// # Errors
    ///
    /// As [`Keyset::encrypt_with`], and `not_round_trip`.
    pub fn probe(&self, key_id: KeyId) -> Result<(), CellError> {
        let (value, associated_data) = (b"reseal probe", b"reseal probe v1");
        let cell = self.encrypt_with(key_id, value, associated_data)?;
        self.check_round_trip(key_id, &cell, associated_data, value)
    }

    fn check_round_trip(
        &self,
        key_id: KeyId,
        cell: &[u8],
        associated_data: &[u8],
        plaintext: &[u8],
    ) -> Result<(), CellError> {
        // However it fails, the fault is ours and not the stored cell's.
        let again = match self.info(key_id).map(|info| info.prefix) {
            Some(Prefix::Raw) => self.decrypt_raw(cell, associated_data),
            _ => self.decrypt(cell, associated_data),
        };
        match again {
            Ok(again) if *again == plaintext => Ok(()),
            _ => Err(CellError::NotRoundTrip { key_id }),
        }
    }

    fn cipher(&self, key_id: KeyId, may: fn(KeyState) -> bool) -> Result<(&KeyInfo, &Cipher), CellError> {
        let key = self.keys.iter().find(|key| key.info.key_id == key_id).ok_or(CellError::UnknownKey { key_id })?;
        let state = key.info.state;
        match &key.material {
            Some(material) if may(state) => Ok((&key.info, &material.cipher)),
            _ => Err(CellError::KeyNotUsable { key_id, state }),
        }
    }

    /// The keys that may leave in an export: those that decrypt
    pub(crate) fn exportable(&self) -> impl Iterator<Item = (&KeyInfo, &Dek)> {
        self.keys
            .iter()
            .filter(|key| key.info.state.decrypts())
            .filter_map(|key| Some((&key.info, &key.material.as_ref()?.dek)))
    }
}

impl Key {
    // Invariant 9 was checked: every DEK fits.
    fn new((info, dek): (KeyInfo, Option<Dek>)) -> Self {
        let material = dek.and_then(|dek| Some(Material { cipher: Cipher::new(info.algorithm, &dek)?, dek }));
        Self { info, material }
    }
}

impl fmt::Debug for Keyset {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Keyset")
            .field("name", &self.name)
            .field("keys", &self.keys().collect::<Vec<_>>())
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    // No working cipher can be made to differ, so the comparison is given cells that do.
    #[test]
    fn a_cell_that_decrypts_to_something_else_is_not_kept() {
        let key_id = KeyId(7);
        let info = KeyInfo::native(key_id, 1, KeyState::Active);
        let keyset = Keyset::new("default", vec![(info, Some(Dek::generate(info.algorithm)))]).unwrap();
        let cell = keyset.encrypt(b"one value", b"row 1");
        let refused = Err(CellError::NotRoundTrip { key_id });

        let check = |data: &[u8], value: &[u8]| keyset.check_round_trip(key_id, &cell, data, value);
        assert_eq!(check(b"row 1", b"one value"), Ok(()));
        assert_eq!(check(b"row 1", b"another value"), refused);
        assert_eq!(check(b"row 2", b"one value"), refused);
    }
}
