//! Which cipher a key is for, and whether its cells name it

/// The text is none of the words that it may be
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("unknown {what} {text:?}: known are {}", known.join(", "))]
pub struct UnknownWord {
    /// What it should be
    pub what: &'static str,
    /// What it is
    pub text: String,
    /// What it may be
    pub known: &'static [&'static str],
}

macro_rules! words {
    ($(#[$doc:meta])* $name:ident: $what:literal { $($(#[$variant_doc:meta])* $variant:ident = $word:literal),+ $(,)? }) => {
        $(#[$doc])*
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
        pub enum $name { $($(#[$variant_doc])* $variant),+ }

        impl $name {
            /// Every one of them
            pub const ALL: &[Self] = &[$(Self::$variant),+];

            /// The word in the ledger, the configuration and on the command line
            #[must_use]
            pub fn as_str(self) -> &'static str {
                match self { $(Self::$variant => $word),+ }
            }
        }

        impl std::fmt::Display for $name {
            fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                f.pad(self.as_str())
            }
        }

        impl std::str::FromStr for $name {
            type Err = $crate::UnknownWord;

            fn from_str(text: &str) -> Result<Self, Self::Err> {
                let unknown = || $crate::UnknownWord { what: $what, text: text.to_owned(), known: &[$($word),+] };
                Self::ALL.iter().copied().find(|one| one.as_str() == text).ok_or_else(unknown)
            }
        }
    };
}
pub(crate) use words;

words! {
    /// An AEAD, by the name of Tink's key template; all have a tag of 16 bytes
    Algorithm: "algorithm" {
        /// NIST SP 800-38D, key of 16 bytes; read and rotated from
        Aes128Gcm = "AES128_GCM",
        /// NIST SP 800-38D, key of 32 bytes; the default
        Aes256Gcm = "AES256_GCM",
        /// RFC 8452, key of 16 bytes; read and rotated from
        Aes128GcmSiv = "AES128_GCM_SIV",
        /// RFC 8452, key of 32 bytes; read and rotated from
        Aes256GcmSiv = "AES256_GCM_SIV",
        /// draft-irtf-cfrg-xchacha-03; for more values than a nonce of 12 bytes allows
        XChaCha20Poly1305 = "XCHACHA20_POLY1305",
    }
}

impl Algorithm {
    /// Bytes of a key
    #[must_use]
    pub fn key_len(self) -> usize {
        match self {
            Self::Aes128Gcm | Self::Aes128GcmSiv => 16,
            Self::Aes256Gcm | Self::Aes256GcmSiv | Self::XChaCha20Poly1305 => 32,
        }
    }

    /// Bytes of a nonce
    #[must_use]
    pub fn iv_len(self) -> usize {
        match self {
            Self::XChaCha20Poly1305 => 24,
            _ => 12,
        }
    }

    /// Bytes that a native cell is longer than its plaintext
    #[must_use]
    pub fn overhead(self) -> usize {
        crate::cell::HEADER_LEN + self.iv_len() + crate::cell::TAG_LEN
    }

    /// New keys are made for these only, and only to these is a keyset rotated
    #[must_use]
    pub fn may_be_rotated_to(self) -> bool {
        matches!(self, Self::Aes256Gcm | Self::XChaCha20Poly1305)
    }
}

words! {
    /// Whether a key's cells begin with its id: Tink's output prefixes
    Prefix: "prefix" {
        /// `01 ‖ key id`: native
        Tink = "tink",
        /// Nothing: such cells can be read and rotated from, in columns that say so
        Raw = "raw",
    }
}
