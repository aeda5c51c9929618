//! How cells stand in a column: their format, and their encoding

use std::borrow::Cow;

use base64::{
    Engine,
    engine::general_purpose::{STANDARD, STANDARD_NO_PAD, URL_SAFE, URL_SAFE_NO_PAD},
};

use crate::{
    CellError, KeyId,
    algorithm::words,
    cell::{self, HEADER_LEN},
};

words! {
    /// What a column's cells are; all but `tink` are adopted: a rotation makes them native
    Format: "format" {
        /// Native cells, and nothing else
        Tink = "tink",
        /// Native cells, or `nonce 12 ‖ ciphertext ‖ tag 16` under one of the keyset's raw keys
        RawAesGcm = "raw-aes-gcm",
        /// Native cells, or values that nobody encrypted yet
        Plaintext = "plaintext",
    }
}

words! {
    /// How a cell's bytes are written in its column (RFC 4648); padding is demanded or refused
    Encoding: "encoding" {
        /// As they are, in a bytes column
        Bytes = "bytes",
        /// Standard alphabet with padding, in a text column
        Base64 = "base64",
        /// URL-safe alphabet with padding, in a text column
        Base64Url = "base64url",
        /// Standard alphabet without padding, in a text column
        Base64Unpadded = "base64-unpadded",
        /// URL-safe alphabet without padding, in a text column
        Base64UrlUnpadded = "base64url-unpadded",
    }
}

impl Encoding {
    /// The column holds text
    #[must_use]
    pub fn is_text(self) -> bool {
        self != Self::Bytes
    }

    /// The bytes as they are stored
    #[must_use]
    pub fn encode(self, cell: Vec<u8>) -> Vec<u8> {
        match self.engine() {
            None => cell,
            Some(engine) => engine.encode(cell).into_bytes(),
        }
    }

    /// The bytes of what is stored
    ///
    /// # Errors
    ///
    /// `cell_not_base64`, also for the other alphabet, and for padding that should not or should be there.
    pub fn decode(self, stored: &[u8]) -> Result<Cow<'_, [u8]>, CellError> {
        match self.engine() {
            None => Ok(Cow::Borrowed(stored)),
            Some(engine) => engine.decode(stored).map(Cow::Owned).map_err(|_| CellError::NotBase64),
        }
    }

    /// Bytes that `cell_bytes` bytes take when they are stored
    #[must_use]
    pub fn stored_len(self, cell_bytes: usize) -> usize {
        match self {
            Self::Bytes => cell_bytes,
            Self::Base64 | Self::Base64Url => cell_bytes.div_ceil(3) * 4,
            Self::Base64Unpadded | Self::Base64UrlUnpadded => (cell_bytes * 4).div_ceil(3),
        }
    }

    fn engine(self) -> Option<&'static base64::engine::GeneralPurpose> {
        match self {
            Self::Bytes => None,
            Self::Base64 => Some(&STANDARD),
            Self::Base64Url => Some(&URL_SAFE),
            Self::Base64Unpadded => Some(&STANDARD_NO_PAD),
            Self::Base64UrlUnpadded => Some(&URL_SAFE_NO_PAD),
        }
    }
}

/// How cells stand in one column
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Layout {
    /// What they are
    pub format: Format,
    /// How they are written
    pub encoding: Encoding,
}

/// What stands in a column of some layout; nothing of it is authenticated yet
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Stored<'a> {
    /// A cell that names its key
    Native(Cow<'a, [u8]>),
    /// One that does not
    Raw(Cow<'a, [u8]>),
    /// A value
    Plaintext(&'a [u8]),
}

impl Layout {
    /// Native cells in a bytes column
    pub const NATIVE: Self = Self { format: Format::Tink, encoding: Encoding::Bytes };

    /// The key id with which stored bytes begin, if they begin like a cell
    #[must_use]
    pub fn key_id(self, stored: &[u8]) -> Option<KeyId> {
        let mut start = [0; HEADER_LEN + 1];
        if self.encoding.is_text() {
            // Eight characters are six bytes. Either alphabet: what is a cell must not pass for a plaintext.
            let eight = stored.get(..8)?;
            let decoded =
                [&STANDARD_NO_PAD, &URL_SAFE_NO_PAD].iter().find_map(|e| e.decode_slice(eight, &mut start).ok());
            decoded?;
        } else {
            start[..HEADER_LEN].copy_from_slice(stored.get(..HEADER_LEN)?);
        }
        cell::key_id_of_header(&start[..HEADER_LEN])
    }

    /// Whether stored bytes begin as a cell of this key does; what SQL asks, too
    #[must_use]
    pub fn is_under(self, key_id: KeyId, stored: &[u8]) -> bool {
        self.key_id(stored) == Some(key_id)
    }

    /// Takes bytes that begin with a `known` key's header for a native cell, whatever the format:
    /// encrypting such a one again would bury it
    pub(crate) fn read(self, stored: &[u8], known: impl Fn(KeyId) -> bool) -> Result<Stored<'_>, CellError> {
        let native = self.format == Format::Tink || self.key_id(stored).is_some_and(known);
        Ok(match self.format {
            _ if native => Stored::Native(self.encoding.decode(stored)?),
            Format::Plaintext => Stored::Plaintext(stored),
            _ => Stored::Raw(self.encoding.decode(stored)?),
        })
    }
}
