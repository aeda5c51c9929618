//! `reseal keys export`: a keyset for applications that use Tink.

use super::{
    aead::{self, Under},
    file::{self, Format},
};
use crate::{
    actor::actor,
    context::Context,
    failure::{Exit, Failure},
    ground, output,
};
use reseal_engine::keys::Keyring;
use reseal_keyring::{Keyset, KeysetFormat, tink};
use serde_json::json;
use std::path::PathBuf;
use zeroize::Zeroizing;

#[derive(clap::Args)]
#[command(after_help = "\
Examples:
  reseal keys export default keyset.json --format tink-json --insecure-cleartext
  reseal keys export default keyset.bin --format tink-binary --under kek
  reseal keys export default - --format tink-json \\
      --under aws-kms://arn:aws:kms:eu-central-1:111122223333:key/ID")]
pub(crate) struct Args {
    /// The keyset
    keyset: String,
    /// The file, which must not exist, or - for stdout
    file: PathBuf,
    /// How the keyset is written
    #[arg(long, value_enum)]
    format: Format,
    #[command(flatten)]
    protection: aead::Protection,
}

pub(super) async fn run(args: Args, context: &Context) -> Result<Exit, Failure> {
    let under = args.protection.said()?;
    let is_standard = file::is_standard(&args.file);
    if is_standard && args.format == Format::TinkBinary && output::stdout_is_terminal() {
        return Err(Failure::usage("binary_on_a_terminal", "tink-binary is no text for a terminal: name a file"));
    }
    let keyring = ground::keyring(&context.config()?, &context.output).await?;
    // First, so that an export that cannot be written is not recorded as one.
    let target = if is_standard { None } else { Some(output::new_file(&args.file)?) };
    let write = async |keyset: &Keyset| written(&args, &under, keyset, &keyring).await;
    let how = under.audited(args.format.as_str());
    let bytes = match Box::pin(keyring.export(&actor(), &args.keyset, &how, write)).await {
        Ok(bytes) => bytes,
        Err(failure) => {
            if target.is_some() {
                let _ = std::fs::remove_file(&args.file);
            }
            return Err(failure);
        }
    };
    match target {
        Some(target) => file::write(target, &args.file, &bytes)?,
        None => on_stdout(&bytes, args.format)?,
    }
    if !is_standard {
        let file = args.file.display().to_string();
        let object = json!({"keyset": args.keyset, "file": file, "format": args.format.as_str(), "under": under.uri()});
        context.output.show(&object, || match under.uri() {
            None => format!("keyset `{}` is in {file}, in the clear, mode 0600: remove it after use", args.keyset),
            Some(uri) => format!("keyset `{}` is in {file}, encrypted under {uri}, mode 0600", args.keyset),
        });
    }
    Ok(Exit::Done)
}

async fn written(
    args: &Args,
    under: &Under,
    keyset: &Keyset,
    keyring: &Keyring,
) -> Result<Zeroizing<Vec<u8>>, Failure> {
    let format = args.format.of_keyring();
    Ok(match under {
        Under::Nothing => tink::export(keyset, format),
        Under::Kek => Zeroizing::new(keyring.encrypted_under_kek(keyset, format)?),
        Under::AwsKms(key) => {
            let clear = tink::export(keyset, KeysetFormat::Binary);
            let ciphertext = aead::encrypt(key, &clear, args.protection.associated_data()).await?;
            Zeroizing::new(tink::encrypted(keyset, &ciphertext, format))
        }
    })
}

fn on_stdout(bytes: &[u8], format: Format) -> Result<(), Failure> {
    let line_end: &[u8] = if format == Format::TinkJson { b"\n" } else { b"" };
    let written = output::raw_on_stdout(bytes).and_then(|()| output::raw_on_stdout(line_end));
    written.map_err(Failure::io("stdout cannot be written"))
}
