//! `file:/path`: anyone who can read the file can unwrap every key

use std::{
    fs::{File, OpenOptions},
    io::{self, Read, Write},
    os::unix::fs::{OpenOptionsExt, PermissionsExt},
    path::Path,
};

use base64::{Engine, engine::general_purpose::STANDARD};
use zeroize::Zeroizing;

use super::{KekError, local::LocalKek};
use crate::{Algorithm, Dek};

const FILE_BYTES_MAX: usize = 1024;

pub(super) fn open(path: &Path) -> Result<LocalKek, KekError> {
    let mut file = File::open(path).map_err(|error| match error.kind() {
        io::ErrorKind::NotFound => KekError::FileMissing(path.to_owned()),
        _ => failed("cannot open", path)(error),
    })?;
    // Of the open file, not of the path: the path can be changed in between.
    let metadata = file.metadata().map_err(failed("cannot inspect", path))?;
    let mode = metadata.permissions().mode() & 0o7777;
    if mode & 0o077 != 0 {
        let path = path.to_owned();
        return Err(KekError::LoosePermissions { path, mode });
    }
    let mut text = Zeroizing::new([0; FILE_BYTES_MAX]);
    let length = fill(&mut file, &mut text[..]).map_err(failed("cannot read", path))?;
    LocalKek::from_base64(&text[..length], &path.display().to_string())
}

pub(super) fn create(path: &Path) -> Result<LocalKek, KekError> {
    let mut file =
        OpenOptions::new().write(true).create_new(true).mode(0o600).open(path).map_err(|error| match error.kind() {
            io::ErrorKind::AlreadyExists => KekError::AlreadyExists(path.to_owned()),
            _ => failed("cannot create", path)(error),
        })?;
    // 32 random bytes that wipe themselves: what a KEK is made of, too.
    let key = Dek::generate(Algorithm::Aes256Gcm);
    let mut line = Zeroizing::new([b'\n'; 45]);
    STANDARD.encode_slice(key.expose_dek_bytes(), &mut line[..44]).expect("32 bytes are 44 characters");
    let written = file.write_all(&line[..]).and_then(|()| file.sync_all());
    if let Err(error) = written {
        // Nothing was wrapped under it yet, and a partial file blocks the next try.
        let _ = std::fs::remove_file(path);
        return Err(failed("cannot write", path)(error));
    }
    let directory = match path.parent() {
        Some(parent) if !parent.as_os_str().is_empty() => parent,
        _ => Path::new("."),
    };
    File::open(directory).and_then(|directory| directory.sync_all()).map_err(failed("cannot sync", directory))?;
    open(path)
}

// Into a buffer of its own: `read_to_end` grows and leaves copies behind.
fn fill(file: &mut File, buffer: &mut [u8]) -> io::Result<usize> {
    let mut length = 0;
    while length < buffer.len() {
        match file.read(&mut buffer[length..]) {
            Ok(0) => break,
            Ok(read) => length += read,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
    Ok(length)
}

fn failed(action: &'static str, path: &Path) -> impl FnOnce(io::Error) -> KekError {
    let path = path.to_owned();
    move |source| KekError::Io { action, path, source }
}
