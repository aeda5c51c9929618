//! The files that keysets come in and leave by.

use crate::failure::Failure;
use reseal_keyring::KeysetFormat;
use std::{
    fs::File,
    io::{self, Read, Write},
    path::Path,
};
use zeroize::Zeroizing;

/// A keyset of a thousand keys is smaller.
const FILE_BYTES_MAX: usize = 1 << 20;

#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub(crate) enum Format {
    /// A Tink keyset in JSON
    TinkJson,
    /// A Tink keyset in binary protobuf
    TinkBinary,
}

impl Format {
    pub(super) fn as_str(self) -> &'static str {
        match self {
            Self::TinkJson => "tink-json",
            Self::TinkBinary => "tink-binary",
        }
    }

    pub(super) fn of_keyring(self) -> KeysetFormat {
        match self {
            Self::TinkJson => KeysetFormat::Json,
            Self::TinkBinary => KeysetFormat::Binary,
        }
    }
}

pub(super) fn is_standard(file: &Path) -> bool {
    file.as_os_str() == "-"
}

pub(super) fn read(file: &Path) -> Result<Zeroizing<Vec<u8>>, Failure> {
    let bytes = if is_standard(file) { filled(io::stdin().lock()) } else { File::open(file).and_then(filled) };
    bytes.map_err(Failure::io(format!("{} cannot be read", file.display())))
}

/// Into one buffer that never grows: growing leaves copies behind.
fn filled(mut from: impl Read) -> io::Result<Zeroizing<Vec<u8>>> {
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

pub(super) fn write(mut file: File, path: &Path, bytes: &[u8]) -> Result<(), Failure> {
    let written = file.write_all(bytes).and_then(|()| file.sync_all());
    written.map_err(Failure::io(format!("{} cannot be written", path.display())))
}
