use reseal_keyring::{Algorithm, KeyId, KeyInfo, KeyState, Keyset, KeysetFormat::Binary, Prefix, tink};

use super::{ROW, dek};

const AES_GCM: &str = "type.googleapis.com/google.crypto.tink.AesGcmKey";

fn varint(mut number: u64) -> Vec<u8> {
    let mut out = Vec::new();
    while number >= 0x80 {
        out.push((number as u8) | 0x80);
        number >>= 7;
    }
    out.push(number as u8);
    out
}

fn number(field: u64, value: u64) -> Vec<u8> {
    [varint(field << 3), varint(value)].concat()
}

fn bytes(field: u64, value: &[u8]) -> Vec<u8> {
    [varint(field << 3 | 2), varint(value.len() as u64), value.to_vec()].concat()
}

fn key_data() -> Vec<u8> {
    let value = bytes(3, &[7; 32]);
    [bytes(1, AES_GCM.as_bytes()), bytes(2, &value), number(3, 1)].concat()
}

fn key(key_id: u64) -> Vec<u8> {
    [bytes(1, &key_data()), number(2, 1), number(3, key_id), number(4, 1)].concat()
}

fn one_key() -> Vec<u8> {
    [number(1, 9), bytes(2, &key(9))].concat()
}

fn outcome(keyset: &[u8]) -> Result<usize, &'static str> {
    tink::import(keyset, Binary).map(|keys| keys.len()).map_err(|error| error.code())
}

/// Every algorithm and prefix that there is.
fn mixed() -> Keyset {
    let kinds = Algorithm::ALL.iter().map(|algorithm| (*algorithm, Prefix::Tink));
    let kinds = kinds.chain([(Algorithm::Aes128Gcm, Prefix::Raw), (Algorithm::Aes256Gcm, Prefix::Raw)]);
    let keys = (1..).zip(kinds).map(|(version, (algorithm, prefix))| {
        let state = if version == 2 { KeyState::Active } else { KeyState::Deactivated };
        let info = KeyInfo { key_id: KeyId(version), version, state, algorithm, prefix };
        let dek = if algorithm.key_len() == 32 { dek(version) } else { reseal_keyring::Dek::generate(algorithm) };
        (info, Some(dek))
    });
    Keyset::new("default", keys.collect()).unwrap()
}

#[test]
fn every_algorithm_and_prefix_comes_back_from_its_export() {
    let ours = mixed();
    for format in [reseal_keyring::KeysetFormat::Json, Binary] {
        let keys = tink::import(&tink::export(&ours, format), format).unwrap();
        let theirs = super::tink::as_keyset(keys);
        assert_eq!(theirs.keys().collect::<Vec<_>>(), ours.keys().collect::<Vec<_>>());
        let cell = ours.encrypt(b"value", ROW);
        assert_eq!(theirs.decrypt(&cell, ROW).unwrap()[..], *b"value");
    }
}

#[test]
fn a_keyset_cut_anywhere_is_refused() {
    // The primary key comes last, so that no cut between two keys leaves a keyset.
    for whole in [one_key(), [number(1, 9), bytes(2, &key(5)), bytes(2, &key(9))].concat()] {
        assert!(outcome(&whole).is_ok());
        for length in 0..whole.len() {
            let refused = outcome(&whole[..length]).unwrap_err();
            let expected = ["tink_binary", "tink_no_keys", "tink_unknown_primary"];
            assert!(expected.contains(&refused), "{length}: {refused}");
        }
    }
}

#[test]
fn no_changed_byte_makes_the_parser_panic_or_go_on_with_less() {
    let whole = one_key();
    for at in 0..whole.len() {
        for byte in 0..=u8::MAX {
            let mut changed = whole.clone();
            changed[at] = byte;
            // A byte of the key or of its id is another key; all else is refused, or means the same.
            assert!(matches!(outcome(&changed), Ok(1) | Err(_)), "{at} {byte}");
        }
    }
}

#[test]
fn unknown_fields_are_passed_over_at_every_level() {
    let unknown = [number(99, u64::MAX), bytes(100, b"more"), vec![101 << 3 & 0x7F | 0x80 | 5, 6, 1, 2, 3, 4]].concat();
    let data = [unknown.clone(), key_data(), unknown.clone()].concat();
    let key = [bytes(1, &data), number(2, 1), unknown.clone(), number(3, 9), number(4, 1)].concat();
    let keyset = [unknown.clone(), number(1, 9), bytes(2, &key), unknown].concat();
    assert_eq!(outcome(&keyset), Ok(1));
}

#[test]
fn the_last_of_a_repeated_field_counts() {
    assert_eq!(outcome(&[number(1, 4), one_key()].concat()), Ok(1));
    assert_eq!(outcome(&[one_key(), number(1, 4)].concat()), Err("tink_unknown_primary"));
    assert_eq!(outcome(&[number(1, 9), bytes(2, &[key(9), number(2, 2)].concat())].concat()), Err("tink_status"));
    let destroyed = bytes(2, &[number(2, 3), number(3, 8), number(4, 1)].concat());
    assert_eq!(outcome(&[one_key(), destroyed].concat()), Ok(1), "a destroyed key is left out");
}

#[test]
fn what_is_no_protobuf_or_too_long_is_refused() {
    // In an unknown field, so that nothing but the number itself is wrong.
    let long_number = [varint(99 << 3), vec![0xFF; 9], vec![0x02]].concat();
    let endless = [varint(99 << 3), vec![0x80; 11], vec![0]].concat();
    for (malformed, why) in [
        (long_number, "more than 64 bits"),
        (endless, "more than ten bytes"),
        (number(1, 1 << 32), "an id of more than 32 bits"),
        (bytes(1, b"9"), "an id that is bytes"),
        (number(2, 9), "a key that is a number"),
        ([varint(2 << 3 | 2), varint(u64::MAX)].concat(), "longer than memory"),
        (vec![0x0B, 0x0C], "a group"),
        (vec![0x0E], "no wire type"),
        (vec![0x00, 0x01], "field 0"),
        (br#"{"primaryKeyId":9}"#.to_vec(), "JSON"),
        (bytes(2, &bytes(1, &bytes(1, &[0xFF]))), "a type that is no UTF-8"),
    ] {
        assert_eq!(outcome(&[one_key(), malformed].concat()), Err("tink_binary"), "{why}");
    }
}

#[test]
fn enums_without_a_name_are_refused_by_their_number() {
    let with = |tail: Vec<u8>| {
        let keyset = [number(1, 9), bytes(2, &[key(9), tail].concat())].concat();
        tink::import(&keyset, Binary).map(|_| ()).unwrap_err()
    };
    assert!(with(number(4, 77)).to_string().contains("output prefix 77"));
    assert!(with(number(4, 4)).to_string().contains("output prefix CRUNCHY"));
    assert!(with(number(2, 0)).to_string().contains("is 0"));
    // A second message is merged into the first, as proto3 has it: the type stays.
    assert!(with(bytes(1, &number(3, 4))).to_string().contains("(AesGcmKey) has material type REMOTE"));
}
