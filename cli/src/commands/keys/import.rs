//! `reseal keys import`: an application's keys, as a new keyset.

use super::{
    aead::{self, Under},
    file::Format,
};
use crate::{
    actor::actor,
    context::Context,
    failure::{Exit, Failure},
    ground,
};
use clap::ValueEnum;
use reseal_engine::keys::Keyring;
use reseal_keyring::{Dek, ImportedKey, KeysetFormat, raw_key, tink};
use serde_json::json;
use std::path::PathBuf;

#[derive(clap::Args)]
#[command(after_help = "\
Examples:
  reseal keys import default keyset.json --format tink-json --insecure-cleartext
  reseal keys import default keyset.bin --format tink-binary --under kek
  reseal keys import default keyset.json --format tink-json \\
      --under aws-kms://arn:aws:kms:eu-central-1:111122223333:key/ID
  reseal keys import default key.hex --format raw-aes-gcm --insecure-cleartext")]
pub(crate) struct Args {
    /// The new keyset; with --under kek the name that the keyset was exported from
    keyset: String,
    /// The file, or - for stdin
    file: PathBuf,
    /// How the keys are written
    #[arg(long, value_enum)]
    format: FileFormat,
    #[command(flatten)]
    protection: aead::Protection,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum FileFormat {
    /// A Tink keyset in JSON
    TinkJson,
    /// A Tink keyset in binary protobuf
    TinkBinary,
    /// One line of base64 or hex: the 16 or 32 bytes of a key without Tink, whose cells do not name it
    RawAesGcm,
}

impl FileFormat {
    fn tink(self) -> Option<Format> {
        match self {
            Self::TinkJson => Some(Format::TinkJson),
            Self::TinkBinary => Some(Format::TinkBinary),
            Self::RawAesGcm => None,
        }
    }
}

pub(super) async fn run(args: Args, context: &Context) -> Result<Exit, Failure> {
    let under = args.protection.said()?;
    if args.format == FileFormat::RawAesGcm && under != Under::Nothing {
        let message = "a raw-aes-gcm file holds its key in the clear: say --insecure-cleartext instead of --under";
        return Err(Failure::usage("raw_key_under", message));
    }
    let keyring = ground::keyring(&context.config()?, &context.output).await?;
    let bytes = super::file::read(&args.file)?;
    let imported = decoded(&args, &under, &bytes, &keyring).await?;
    let how = match args.format.tink() {
        Some(format) => under.audited(format.as_str()),
        None => under.audited("raw-aes-gcm"),
    };
    let stored = keyring.import(&actor(), &args.keyset, &imported, &how).await?;
    let keys = stored.iter().zip(&imported).map(|((id, state), (key, _))| {
        json!({"key_id": id, "state": state, "algorithm": key.algorithm.as_str(), "prefix": key.prefix.as_str()})
    });
    let keys: Vec<_> = keys.collect();
    context.output.show(&json!({"keyset": args.keyset, "keys": keys}), || {
        let mut lines: String = stored
            .iter()
            .zip(&imported)
            .map(|((id, state), (key, _))| {
                format!("key {id}, {state}, {}\n", super::kind(key.algorithm.as_str(), key.prefix.as_str()))
            })
            .collect();
        if under == Under::Nothing && !super::file::is_standard(&args.file) {
            lines += &format!("{} still holds them in the clear: remove it when nobody needs it", args.file.display());
        }
        format!("keyset `{}` is imported:\n{lines}", args.keyset)
    });
    Ok(Exit::Done)
}

async fn decoded(
    args: &Args,
    under: &Under,
    bytes: &[u8],
    keyring: &Keyring,
) -> Result<Vec<(ImportedKey, Dek)>, Failure> {
    let Some(format) = args.format.tink() else { return Ok(vec![raw_key::import(bytes)?]) };
    let format = format.of_keyring();
    match under {
        Under::Nothing => Ok(tink::import(bytes, format)?),
        Under::Kek => Ok(keyring.decrypted_under_kek(&args.keyset, bytes, format)?),
        Under::AwsKms(key) => {
            let clear =
                aead::decrypt(key, &tink::ciphertext_of(bytes, format)?, args.protection.associated_data()).await?;
            Ok(tink::import(&clear, KeysetFormat::Binary)?)
        }
    }
}
