//! The keyring's promises, through its public API

mod associated_data;
mod backup;
mod cells;
mod kek;
mod keys;
mod keysets;
mod malformed;
mod raw_key;
mod tink;
mod tink_binary;
mod tink_encrypted;

use reseal_keyring::{Dek, KeyId, KeyInfo, KeyState, Keyset};

const ROW: &[u8] = b"messages.encrypted_content:42";

fn info(id: u32, version: u32, state: KeyState) -> KeyInfo {
    KeyInfo::native(KeyId(id), version, state)
}

// The same bytes at every call, so that two keysets can hold the same key.
fn dek(id: u32) -> Dek {
    Dek::from_slice(&[id.to_le_bytes()[0]; 32]).unwrap()
}

fn keyset(keys: &[(u32, KeyState)]) -> Keyset {
    let keys = (1..).zip(keys).map(|(version, &(id, state))| {
        let dek = (state != KeyState::Destroyed).then(|| dek(id));
        (info(id, version, state), dek)
    });
    Keyset::new("default", keys.collect()).unwrap()
}

fn vectors(path: &str) -> std::path::PathBuf {
    std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("../tests/vectors").join(path)
}

fn json(path: &std::path::Path) -> serde_json::Value {
    serde_json::from_slice(&std::fs::read(path).unwrap()).unwrap()
}
