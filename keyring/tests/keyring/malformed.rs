//! One file per way of being wrong, made by another implementation

use reseal_keyring::{Dek, KeyId, KeyInfo, Keyset, Layout};
use serde_json::Value;

use super::{json, vectors};

#[test]
fn every_malformed_cell_is_refused_with_its_code() {
    let (keyset, _) = keyset_and_valid();
    let mut cases = 0;
    for entry in std::fs::read_dir(vectors("malformed")).unwrap() {
        let path = entry.unwrap().path();
        let case = json(&path);
        let (cell, data) = cell(&case);

        let refused = keyset.decrypt(&cell, &data).expect_err(&format!("{path:?}"));

        assert_eq!(refused.code(), case["code"], "{path:?}");
        let again = keyset.reencrypt(Layout::NATIVE, &cell, &data).unwrap_err();
        assert_eq!(again, refused, "{path:?}");
        cases += 1;
    }
    assert!(cases >= 29, "{cases} files: some are gone");
}

#[test]
fn the_cell_that_the_malformed_ones_were_made_from_decrypts() {
    let (keyset, valid) = keyset_and_valid();
    let (cell, data) = cell(&valid);
    let plaintext = keyset.decrypt(&cell, &data).unwrap();
    assert_eq!(plaintext[..], *valid["plaintext"].as_str().unwrap().as_bytes());
}

#[test]
fn a_flipped_bit_is_refused_wherever_it_is() {
    let (keyset, valid) = keyset_and_valid();
    let (cell, data) = cell(&valid);
    for bit in 0..cell.len() * 8 {
        let mut flipped = cell.clone();
        flipped[bit / 8] ^= 1 << (bit % 8);
        let code = keyset.decrypt(&flipped, &data).unwrap_err().code();
        let expected = match bit / 8 {
            0 => "cell_wrong_version",
            1..5 => "unknown_key",
            _ => "not_authentic",
        };
        assert_eq!(code, expected, "bit {bit}");
    }
}

#[test]
fn a_truncated_cell_is_refused_at_every_length() {
    let (keyset, valid) = keyset_and_valid();
    let (cell, data) = cell(&valid);
    for length in 0..cell.len() {
        let code = keyset.decrypt(&cell[..length], &data).unwrap_err().code();
        let expected = match length {
            0 => "cell_empty",
            1..33 => "cell_truncated",
            _ => "not_authentic",
        };
        assert_eq!(code, expected, "{length} bytes");
    }
}

#[test]
fn no_message_shows_the_bytes_of_plaintext_in_a_cells_place() {
    let (keyset, _) = keyset_and_valid();
    let canary = b"canary-7f3a lives among the encrypted values";
    for length in 1..canary.len() {
        let error = keyset.decrypt(&canary[..length], b"").unwrap_err();
        let text = format!("{error} {error:?}");
        assert!(!text.contains("canary") && !text.contains("99, 97"), "{text}");
    }
}

fn keyset_and_valid() -> (Keyset, Value) {
    let file = json(&vectors("malformed_keyset.json"));
    let number = |value: &Value| u32::try_from(value.as_u64().unwrap()).unwrap();
    let keys = file["keys"].as_array().unwrap().iter().map(|key| {
        let (id, version) = (KeyId(number(&key["key_id"])), number(&key["version"]));
        let info = KeyInfo::native(id, version, key["state"].as_str().unwrap().parse().unwrap());
        let dek = key["dek_hex"].as_str().map(|hex| hex::decode(hex).unwrap());
        (info, dek.map(|dek| Dek::from_slice(&dek).unwrap()))
    });
    let keyset = Keyset::new(file["keyset"].as_str().unwrap(), keys.collect()).unwrap();
    (keyset, file["valid"].clone())
}

fn cell(case: &Value) -> (Vec<u8>, Vec<u8>) {
    let cell = hex::decode(case["cell_hex"].as_str().unwrap()).unwrap();
    let data = case["associated_data"].as_str().unwrap().as_bytes();
    (cell, data.to_vec())
}
