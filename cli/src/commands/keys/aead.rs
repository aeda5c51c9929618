//! What encrypts a keyset on its way: nothing, which must be said, the KEK, or a KMS.

#[cfg(feature = "aws-kms")]
mod aws_kms;
mod uri;

#[cfg(not(feature = "aws-kms"))]
pub(super) use absent::{decrypt, encrypt};
#[cfg(feature = "aws-kms")]
pub(super) use aws_kms::{decrypt, encrypt};
pub(super) use uri::AwsKey;

use crate::failure::Failure;

#[derive(clap::Args)]
pub(crate) struct Protection {
    /// The keys in the file are not encrypted: whoever reads it can decrypt every value
    #[arg(long, conflicts_with = "under")]
    insecure_cleartext: bool,
    /// What the keyset is encrypted with: kek, which is this ledger's own, or
    /// aws-kms://arn:aws:kms:REGION:ACCOUNT:key/ID as Tink's AWS KMS clients take it
    #[arg(long, value_name = "KEY", value_parser = uri::under)]
    under: Option<Under>,
    /// The associated data that Tink was given with the KMS key; none by default, as in Tink
    #[arg(long, value_name = "TEXT")]
    associated_data: Option<String>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Under {
    Nothing,
    Kek,
    AwsKms(AwsKey),
}

impl Protection {
    /// Refuses keys in the clear that nobody asked for, and what this binary cannot do.
    pub(super) fn said(&self) -> Result<Under, Failure> {
        let under = match (&self.under, self.insecure_cleartext) {
            (Some(under), _) => under.clone(),
            (None, true) => Under::Nothing,
            (None, false) => {
                let message = "the file would hold keys in the clear, and whoever reads it can decrypt every value: \
                               encrypt it with --under kek or --under aws-kms://…, or say --insecure-cleartext if you \
                               know who reads the file and remove it after use";
                return Err(Failure::usage("insecure_cleartext", message));
            }
        };
        if self.associated_data.is_some() && !matches!(under, Under::AwsKms(_)) {
            let message = "--associated-data is for a KMS: under the KEK a keyset is bound to its name";
            return Err(Failure::usage("associated_data", message));
        }
        if matches!(under, Under::AwsKms(_)) && !cfg!(feature = "aws-kms") {
            return Err(built_without());
        }
        Ok(under)
    }

    pub(super) fn associated_data(&self) -> &[u8] {
        self.associated_data.as_deref().unwrap_or_default().as_bytes()
    }
}

impl Under {
    /// None for keys in the clear.
    pub(super) fn uri(&self) -> Option<String> {
        match self {
            Self::Nothing => None,
            Self::Kek => Some("kek".to_owned()),
            Self::AwsKms(key) => Some(key.uri()),
        }
    }

    pub(super) fn audited(&self, format: &str) -> String {
        match self.uri() {
            None => format!("{format} in the clear"),
            Some(uri) => format!("{format} under {uri}"),
        }
    }
}

fn built_without() -> Failure {
    Failure::usage("built_without_aws_kms", "this reseal was built without AWS KMS: build with --features aws-kms")
}

#[cfg(not(feature = "aws-kms"))]
mod absent {
    use super::{AwsKey, Failure, built_without};
    use zeroize::Zeroizing;

    pub(crate) async fn encrypt(_: &AwsKey, _: &[u8], _: &[u8]) -> Result<Vec<u8>, Failure> {
        Err(built_without())
    }

    pub(crate) async fn decrypt(_: &AwsKey, _: &[u8], _: &[u8]) -> Result<Zeroizing<Vec<u8>>, Failure> {
        Err(built_without())
    }
}
