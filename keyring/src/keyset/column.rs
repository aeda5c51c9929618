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

    /// Whether a value that nobody encrypted may be encrypted as it is: not when it is a cell after all, or holds one
    ///
    /// What it is compared with are this keyset's raw keys and every key id that it knows.
    ///
    /// # Errors
    ///
    /// `raw_cell`: it authenticates under a raw key. `cell_inside`: a known key's header stands in it, as bytes,
    /// hex or base64; encrypted, nobody could find that cell again when its key is cleared.
    pub fn adoptable(&self, layout: Layout, stored: &[u8], associated_data: &[u8]) -> Result<(), CellError> {
        let Stored::Plaintext(value) = layout.read(stored, |id| self.knows(id))? else { return Ok(()) };
        let decoded = layout.encoding.decode(value).ok();
        let forms = [Some(value), decoded.as_deref()];
        if forms.into_iter().flatten().any(|bytes| self.decrypt_raw(bytes, associated_data).is_ok()) {
            return Err(CellError::RawCell);
        }
        let held = |needle: &(KeyId, Vec<u8>)| memchr::memmem::find(value, &needle.1).is_some();
        match self.needles().iter().find(|needle| held(needle)) {
            Some((key_id, _)) => Err(CellError::CellInside { key_id: *key_id }),
            None => Ok(()),
        }
    }

    /// The header of every known key in each way in which a value can hold it; made once
    fn needles(&self) -> &[(KeyId, Vec<u8>)] {
        self.needles.get_or_init(|| {
            let own = self.keys().filter(|info| info.prefix == Prefix::Tink).map(|info| info.key_id);
            let ids: std::collections::BTreeSet<KeyId> = own.chain(self.foreign.iter().copied()).collect();
            let ways = |id: KeyId| {
                let header = cell::header(id);
                let hex = hex::encode(header);
                let mut ways = vec![header.to_vec(), hex.to_uppercase().into_bytes(), hex.into_bytes()];
                ways.extend(cell::base64_prefixes(id).into_iter().map(String::into_bytes));
                ways.into_iter().map(move |way| (id, way))
            };
            ids.into_iter().flat_map(ways).collect()
        })
    }

    /// The key that stored bytes would name if they were a cell, when this keyset has never heard of it: they are
    /// a value, or the keyset is older than they are
    #[must_use]
    pub fn stranger(&self, layout: Layout, stored: &[u8]) -> Option<KeyId> {
        let id = layout.key_id(stored).filter(|id| layout.format != Format::Tink && !self.knows(*id))?;
        let bytes = layout.encoding.decode(stored).ok()?;
        cell::parse(&bytes).is_ok().then_some(id)
    }

    /// The same value under the active key, in the same layout, checked by decrypting it again
    ///
    /// The check costs a second decryption and catches what the tag cannot: a
    /// memory or processor fault between decrypting and encrypting. A cell that
    /// is under the active key already gets a new iv.
    ///
    /// # Errors
    ///
    /// Those of [`Keyset::decrypt_from`] and [`Keyset::adoptable`], `raw_key_active` and `not_round_trip`.
    pub fn reencrypt(&self, layout: Layout, stored: &[u8], associated_data: &[u8]) -> Result<Vec<u8>, CellError> {
        self.adoptable(layout, stored, associated_data)?;
        let plaintext = self.decrypt_from(layout, stored, associated_data)?;
        let active = &self.keys[self.active].info;
        if active.prefix == Prefix::Raw {
            return Err(CellError::RawKeyActive { key_id: active.key_id });
        }
        let new = self.encrypt(&plaintext, associated_data);
        self.check_round_trip(active.key_id, &new, associated_data, &plaintext)?;
        Ok(layout.encoding.encode(new))
    }

    /// The suspended key under which stored bytes authenticate, if they do: they are still needed
    ///
    /// A cell that names no key is tried under each suspended raw key, whatever the column's format: a copy of
    /// such a cell can stand in a column that was adopted since. The plaintext is wiped and not handed out.
    #[must_use]
    pub fn suspended_use(&self, layout: Layout, stored: &[u8], associated_data: &[u8]) -> Option<KeyId> {
        let bytes = layout.encoding.decode(stored).ok()?;
        let opens = |key: &Key, sealed: &[u8]| {
            let cipher = key.material.as_ref().map(|material| &material.cipher);
            key.info.state == KeyState::Suspended && cipher.is_some_and(|c| c.open(sealed, associated_data).is_some())
        };
        let named = cell::parse(&bytes).ok();
        let is_named = |key: &&Key, cell: &cell::Cell<'_>| {
            key.info.prefix == Prefix::Tink && key.info.key_id == cell.key_id && opens(key, cell.sealed)
        };
        let by_name = named.and_then(|cell| self.keys.iter().find(|key| is_named(key, &cell)));
        let found = by_name.or_else(|| self.keys.iter().find(|k| k.info.prefix == Prefix::Raw && opens(k, &bytes)));
        found.map(|key| key.info.key_id)
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
