//! AWS KMS, byte for byte as Tink's own clients call it: `Encrypt` and `Decrypt` by the key's ARN, the
//! associated data in hex as the encryption context `associatedData`, and no context when it is empty.
//!
//! Credentials come as everywhere with AWS: environment, profile, web identity, container, instance.
//! The client keeps unwiped copies of the keyset until this process ends; core files it does not reach.

use super::AwsKey;
use crate::failure::Failure;
use aws_config::{BehaviorVersion, Region};
use aws_sdk_kms::{
    Client,
    error::{ProvideErrorMetadata, SdkError},
    primitives::Blob,
};
use aws_smithy_http_client::{
    Builder,
    tls::{Provider, rustls_provider::CryptoMode},
};
use std::{collections::HashMap, error::Error};
use zeroize::Zeroizing;

/// KMS's own limit.
const PLAINTEXT_BYTES_MAX: usize = 4096;

pub(crate) async fn encrypt(key: &AwsKey, keyset: &[u8], associated_data: &[u8]) -> Result<Vec<u8>, Failure> {
    if keyset.len() > PLAINTEXT_BYTES_MAX {
        let message = format!(
            "the keyset has {} bytes, and AWS KMS encrypts at most {PLAINTEXT_BYTES_MAX}: rotate, so that old keys are \
             destroyed, or export it with --under kek",
            keyset.len()
        );
        return Err(Failure::new("kms_keyset_too_long", message));
    }
    let client = client(key).await;
    let request = client.encrypt().key_id(&key.arn).plaintext(Blob::new(keyset));
    let answer = Box::pin(request.set_encryption_context(context(associated_data)).send()).await;
    let answer = answer.map_err(|error| failed("encrypt", key, error))?;
    answer.ciphertext_blob.map(Blob::into_inner).ok_or_else(|| empty(key))
}

pub(crate) async fn decrypt(
    key: &AwsKey,
    ciphertext: &[u8],
    associated_data: &[u8],
) -> Result<Zeroizing<Vec<u8>>, Failure> {
    let client = client(key).await;
    let request = client.decrypt().key_id(&key.arn).ciphertext_blob(Blob::new(ciphertext));
    let answer = Box::pin(request.set_encryption_context(context(associated_data)).send()).await;
    let answer = answer.map_err(|error| failed("decrypt", key, error))?;
    answer.plaintext.map(|plaintext| Zeroizing::new(plaintext.into_inner())).ok_or_else(|| empty(key))
}

async fn client(key: &AwsKey) -> Client {
    let http = Builder::new().tls_provider(Provider::Rustls(CryptoMode::Ring)).build_https();
    let config = aws_config::defaults(BehaviorVersion::v2026_01_12());
    let config = config.region(Region::new(key.region.clone())).http_client(http);
    Client::new(&Box::pin(config.load()).await)
}

fn context(associated_data: &[u8]) -> Option<HashMap<String, String>> {
    let hex = |bytes: &[u8]| bytes.iter().map(|byte| format!("{byte:02x}")).collect();
    (!associated_data.is_empty()).then(|| HashMap::from([("associatedData".to_owned(), hex(associated_data))]))
}

// Never the errors' Debug: it shows the answer's body.
fn failed<E: ProvideErrorMetadata + Error + 'static, R: std::fmt::Debug + 'static>(
    what: &str,
    key: &AwsKey,
    error: SdkError<E, R>,
) -> Failure {
    let arn = &key.arn;
    if let Some(code) = error.code() {
        let advice = match code {
            "InvalidCiphertextException" | "IncorrectKeyException" => {
                "it was encrypted under another key, with other associated data (see --associated-data), or altered"
            }
            "AccessDeniedException" => "allow this role kms:Encrypt and kms:Decrypt on the key",
            "NotFoundException" => "look for the key in this account and region",
            "DisabledException" | "KMSInvalidStateException" => "enable the key first",
            "ThrottlingException" => "try again later",
            _ => "see what AWS says of it",
        };
        let said = error.message().map(|message| format!(" ({message})")).unwrap_or_default();
        return Failure::new("kms_refused", format!("AWS KMS does not {what} with {arn}: {code}{said}; {advice}"));
    }
    let mut message =
        format!("AWS KMS cannot be asked to {what} with {arn}; look at credentials, region and network: {error}");
    let mut behind = error.source();
    while let Some(cause) = behind {
        message += &format!(": {cause}");
        behind = cause.source();
    }
    Failure::new("kms_unreachable", message)
}

fn empty(key: &AwsKey) -> Failure {
    Failure::new("kms_refused", format!("AWS KMS answered without a result for {}", key.arn))
}
