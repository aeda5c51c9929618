//! A keyset's cells as they stand in a column of some layout

use zeroize::Zeroizing;

use super::{Key, Keyset};
use crate::{CellError, Format, KeyId, KeyState, Layout, Prefix, cell, layout::Stored};

impl Keyset {
    /// A new value for a column of this layout
    ///
    /// # Errors
    ///
    /// `raw_key_active` where the active key's cells would not name it.
    pub fn encrypt_into(&self, layout: Layout, plaintext: &[u8], associated_data: &[u8]) -> Result<Vec<u8>, CellError> {
        let active = &self.keys[self.active].info;
        if active.prefix == Prefix::Raw && layout.format != Format::RawAesGcm {
            return Err(CellError::RawKeyActive { key_id: active.key_id });
        }
        Ok(layout.encoding.encode(self.encrypt(plaintext, associated_data)))
    }

    /// The plaintext of what a column of this layout holds
    ///
    /// A cell that names no key is tried under the keyset's raw keys. A plaintext
    /// comes back as it is, authenticated by nothing: whoever can write the column
    /// can forge it, until a rotation has adopted the column and its format is `tink`.
    ///
    /// # Errors
    ///
    /// Those of [`Keyset::decrypt`], and `cell_not_base64`.
    pub fn decrypt_from(
        &self,
        layout: Layout,
        stored: &[u8],
        associated_data: &[u8],
    ) -> Result<Zeroizing<Vec<u8>>, CellError> {
        match layout.read(stored, |id| self.knows(id))? {
            Stored::Native(cell) => self.decrypt(&cell, associated_data),
            Stored::Raw(sealed) => self.decrypt_raw(&sealed, associated_data),
            Stored::Plaintext(plaintext) => Ok(Zeroizing::new(plaintext.to_vec())),
        }
    }

    /// The same value under the active key, in the same layout, checked by decrypting it again
    ///
    /// The check costs a second decryption and catches what the tag cannot: a
    /// memory or processor fault between decrypting and encrypting. A cell that
    /// is under the active key already gets a new iv.
    ///
    /// # Errors
    ///
    /// Those of [`Keyset::decrypt_from`], `raw_key_active` and `not_round_trip`.
    pub fn reencrypt(&self, layout: Layout, stored: &[u8], associated_data: &[u8]) -> Result<Vec<u8>, CellError> {
        let plaintext = self.decrypt_from(layout, stored, associated_data)?;
        let active = &self.keys[self.active].info;
        if active.prefix == Prefix::Raw {
            return Err(CellError::RawKeyActive { key_id: active.key_id });
        }
        let new = self.encrypt(&plaintext, associated_data);
        self.check_round_trip(active.key_id, &new, associated_data, &plaintext)?;
        Ok(layout.encoding.encode(new))
    }

    /// The suspended key under which stored bytes authenticate, if they do: somebody still needs it
    ///
    /// The plaintext is wiped and not handed out.
    #[must_use]
    pub fn suspended_use(&self, layout: Layout, stored: &[u8], associated_data: &[u8]) -> Option<KeyId> {
        let cell = layout.encoding.decode(stored).ok()?;
        let cell = cell::parse(&cell).ok()?;
        let suspended = |key: &&Key| key.info.key_id == cell.key_id && key.info.state == KeyState::Suspended;
        let material = self.keys.iter().find(suspended)?.material.as_ref()?;
        material.cipher.open(cell.sealed, associated_data).map(|_| cell.key_id)
    }

    /// The key that stored bytes name: in a column where cells need not, only one that is known, since
    /// the first bytes of anything else are a value's own
    #[must_use]
    pub fn key_named_by(&self, layout: Layout, stored: &[u8]) -> Option<KeyId> {
        layout.key_id(stored).filter(|id| layout.format == Format::Tink || self.knows(*id))
    }

    pub(super) fn decrypt_raw(&self, sealed: &[u8], associated_data: &[u8]) -> Result<Zeroizing<Vec<u8>>, CellError> {
        let raw = self.keys.iter().filter(|key| key.info.prefix == Prefix::Raw && key.info.state.decrypts());
        let ciphers: Vec<_> = raw.filter_map(|key| key.material.as_ref()).collect();
        let opened = ciphers.iter().find_map(|material| material.cipher.open(sealed, associated_data));
        opened.ok_or(CellError::RawNotAuthentic { tried: ciphers.len() })
    }

    fn knows(&self, key_id: KeyId) -> bool {
        let own = |key: &Key| key.info.key_id == key_id && key.info.prefix == Prefix::Tink;
        self.keys.iter().any(own) || self.foreign.contains(&key_id)
    }
}
