//! `reseal keys import` and `export`: keys in the clear, only when that is said.

use crate::{
    actor::actor,
    context::Context,
    failure::{Exit, Failure},
    ground, output,
};
use serde_json::json;
use std::{
    fs::{File, OpenOptions},
    io::{self, Read, Write},
    os::unix::fs::OpenOptionsExt,
    path::{Path, PathBuf},
};
use zeroize::Zeroizing;

/// A keyset of a thousand keys is smaller.
const FILE_BYTES_MAX: usize = 1 << 20;

#[derive(Clone, Copy, Debug, clap::ValueEnum)]
pub(crate) enum Format {
    /// Tink's cleartext JSON keyset
    TinkJson,
}

#[derive(clap::Args)]
pub(crate) struct Args {
    /// The keyset
    keyset: String,
    /// The file, or - for stdin or stdout
    file: PathBuf,
    /// How the keyset is written
    #[arg(long, value_enum)]
    format: Format,
    /// The keys in the file are not encrypted: whoever reads it can decrypt every value
    #[arg(long)]
    insecure_cleartext: bool,
}

impl Args {
    fn refuse_unless_said(&self) -> Result<(), Failure> {
        if self.insecure_cleartext {
            return Ok(());
        }
        let message = "a tink-json keyset holds its keys in the clear, and whoever reads it can decrypt every value: \
                       say --insecure-cleartext if you know who reads the file and remove it after use";
        Err(Failure::usage("insecure_cleartext", message))
    }

    fn is_standard(&self) -> bool {
        self.file.as_os_str() == "-"
    }
}

pub(super) async fn import(args: Args, context: &Context) -> Result<Exit, Failure> {
    args.refuse_unless_said()?;
    let keyring = ground::keyring(&context.config()?, &context.output).await?;
    let bytes = if args.is_standard() { read(io::stdin().lock()) } else { File::open(&args.file).and_then(read) };
    let bytes = bytes.map_err(Failure::io(format!("{} cannot be read", args.file.display())))?;
    let text = str::from_utf8(&bytes).map_err(|_| Failure::new("tink_json", "not a tink keyset in JSON: not UTF-8"))?;
    let stored = keyring.import_tink(&actor(), &args.keyset, text.trim_end_matches('\0')).await?;
    let keys: Vec<_> = stored.iter().map(|(id, state)| json!({"key_id": id, "state": state})).collect();
    context.output.show(&json!({"keyset": args.keyset, "keys": keys}), || {
        let mut lines: String = stored.iter().map(|(id, state)| format!("key {id}, {state}\n")).collect();
        if !args.is_standard() {
            lines += &format!("{} still holds them in the clear: remove it when nobody needs it", args.file.display());
        }
        format!("keyset `{}` is imported:\n{lines}", args.keyset)
    });
    Ok(Exit::Done)
}

/// Into one buffer that never grows: growing leaves copies behind.
fn read(mut from: impl Read) -> io::Result<Zeroizing<Vec<u8>>> {
    let mut bytes = Zeroizing::new(vec![0; FILE_BYTES_MAX]);
    let mut length = 0;
    loop {
        match from.read(&mut bytes[length..]) {
            Ok(0) if length == FILE_BYTES_MAX => return Err(io::Error::other("larger than a keyset can be")),
            Ok(0) => break,
            Ok(read) => length += read,
            Err(e) if e.kind() == io::ErrorKind::Interrupted => {}
            Err(e) => return Err(e),
        }
    }
    bytes.truncate(length);
    Ok(bytes)
}

pub(super) async fn export(args: Args, context: &Context) -> Result<Exit, Failure> {
    args.refuse_unless_said()?;
    let keyring = ground::keyring(&context.config()?, &context.output).await?;
    // First, so that an export that cannot be written is not recorded as one.
    let file = if args.is_standard() { None } else { Some(create(&args.file)?) };
    let json = match keyring.export_tink(&actor(), &args.keyset).await {
        Ok(json) => json,
        Err(e) => {
            if file.is_some() {
                let _ = std::fs::remove_file(&args.file);
            }
            return Err(e.into());
        }
    };
    let written = match file {
        Some(mut file) => file.write_all(json.as_bytes()).and_then(|()| file.sync_all()),
        None => output::raw_on_stdout(json.as_bytes()).and_then(|()| output::raw_on_stdout(b"\n")),
    };
    written.map_err(Failure::io(format!("{} cannot be written", args.file.display())))?;
    if !args.is_standard() {
        let file = args.file.display().to_string();
        context.output.show(&json!({"keyset": args.keyset, "file": file}), || {
            format!("keyset `{}` is in {file}, in the clear, mode 0600: remove it after use", args.keyset)
        });
    }
    Ok(Exit::Done)
}

fn create(path: &Path) -> Result<File, Failure> {
    let file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(path);
    file.map_err(|e| match e.kind() {
        io::ErrorKind::AlreadyExists => {
            Failure::new("file_exists", format!("{} exists and is not overwritten", path.display()))
        }
        _ => Failure::io(format!("{} cannot be made", path.display()))(e),
    })
}
