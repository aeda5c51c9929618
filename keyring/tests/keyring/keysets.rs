use reseal_keyring::{
    CellError, KeyId,
    KeyState::{Active, Deactivated, Destroyed, PreActive, Suspended},
    Keyset, KeysetError, Layout,
};

use super::{ROW, dek, info, keyset};

#[test]
fn a_value_decrypts_to_what_was_encrypted() {
    let keyset = keyset(&[(1, Active)]);
    for value in [&b""[..], b"v", &[0; 100_000]] {
        let cell = keyset.encrypt(value, ROW);
        assert_eq!(keyset.decrypt(&cell, ROW).unwrap()[..], *value);
    }
}

#[test]
fn only_the_active_key_encrypts() {
    let keyset = keyset(&[(1, Deactivated), (2, Active), (3, PreActive)]);
    assert_eq!(keyset.active(), KeyId(2));
    assert_eq!(keyset.encrypt(b"value", ROW)[..5], [1, 0, 0, 0, 2]);
}

#[test]
fn reencrypting_moves_a_cell_to_the_active_key_and_keeps_its_value() {
    let old = keyset(&[(1, Active)]).encrypt(b"value", ROW);
    let keyset = keyset(&[(1, Deactivated), (2, Active)]);

    let new = keyset.reencrypt(Layout::NATIVE, &old, ROW).unwrap();

    assert_eq!(new[..5], [1, 0, 0, 0, 2]);
    assert_eq!(keyset.decrypt(&new, ROW).unwrap()[..], *b"value");
    assert_eq!(keyset.decrypt(&old, ROW).unwrap()[..], *b"value");
}

#[test]
fn a_cell_of_another_row_is_not_reencrypted_into_this_one() {
    let keyset = keyset(&[(1, Active)]);
    let cell = keyset.encrypt(b"value", b"row 43");
    let key_id = KeyId(1);
    let refused = keyset.reencrypt(Layout::NATIVE, &cell, ROW);
    assert_eq!(refused, Err(CellError::NotAuthentic { key_id }));
}

#[test]
fn a_cell_is_tried_only_under_the_key_that_its_header_names() {
    let keyset = keyset(&[(1, Active), (2, Deactivated)]);
    let mut cell = keyset.encrypt(b"value", ROW);
    cell[4] = 2;
    let key_id = KeyId(2);
    let refused = keyset.decrypt(&cell, ROW).unwrap_err();
    assert_eq!(refused, CellError::NotAuthentic { key_id });
}

#[test]
fn an_unknown_key_id_is_named_so_that_a_reader_can_reload() {
    let cell = keyset(&[(99, Active)]).encrypt(b"value", ROW);
    let refused = keyset(&[(1, Active)]).decrypt(&cell, ROW).unwrap_err();
    let key_id = KeyId(99);
    assert_eq!(refused, CellError::UnknownKey { key_id });
}

#[test]
fn a_state_says_what_its_key_may_do() {
    let keys = [PreActive, Deactivated, Suspended, Destroyed];
    for state in keys {
        let old = keyset(&[(1, Active)]).encrypt(b"value", ROW);
        let keyset = keyset(&[(1, state), (2, Active)]);
        let key_id = KeyId(1);
        let refused = CellError::KeyNotUsable { key_id, state };

        match keyset.encrypt_with(key_id, b"value", ROW) {
            Ok(_) => assert_eq!(state, PreActive),
            Err(error) => assert_eq!(error, refused),
        }
        assert_eq!(keyset.probe(key_id).is_ok(), state == PreActive, "{state}");
        match keyset.decrypt(&old, ROW) {
            Ok(_) => assert!(matches!(state, PreActive | Deactivated)),
            Err(error) => assert_eq!(error, refused),
        }
        assert_eq!(keyset.reencrypt(Layout::NATIVE, &old, ROW).is_ok(), matches!(state, PreActive | Deactivated));
    }
}

#[test]
fn an_active_key_passes_its_probe_and_an_unknown_one_does_not() {
    let keyset = keyset(&[(1, Active)]);
    assert_eq!(keyset.probe(KeyId(1)), Ok(()));
    assert_eq!(keyset.probe(KeyId(2)).unwrap_err().code(), "unknown_key");
}

#[test]
fn a_keyset_that_breaks_an_invariant_is_not_made() {
    let new = |keys| Keyset::new("default", keys).map(|_| ()).unwrap_err();
    let active = || (info(1, 1, Active), Some(dek(1)));
    let with = |info, dek| new(vec![active(), (info, dek)]);

    let nameless = Keyset::new("", vec![active()]).map(|_| ());
    assert_eq!(nameless, Err(KeysetError::NoName));
    assert_eq!(new(vec![]), KeysetError::NoKeys);
    assert_eq!(with(info(0, 2, Deactivated), Some(dek(2))), KeysetError::ZeroKeyId);
    assert_eq!(with(info(1, 2, Deactivated), Some(dek(1))), KeysetError::DuplicateKeyId(KeyId(1)));
    assert_eq!(with(info(2, 0, Deactivated), Some(dek(2))), KeysetError::ZeroVersion(KeyId(2)));
    assert_eq!(with(info(2, 1, Deactivated), Some(dek(2))), KeysetError::DuplicateVersion(KeyId(2), 1));
    for state in [PreActive, Active, Deactivated] {
        assert_eq!(with(info(2, 2, state), None), KeysetError::MissingDek(KeyId(2), state));
    }
    assert_eq!(with(info(2, 2, Destroyed), Some(dek(2))), KeysetError::DestroyedWithDek(KeyId(2)));
    assert_eq!(with(info(2, 2, Active), Some(dek(2))), KeysetError::NotOneActive);
    assert_eq!(new(vec![(info(1, 1, Deactivated), Some(dek(1)))]), KeysetError::NotOneActive);
}

#[test]
fn a_suspended_key_may_come_with_or_without_its_dek() {
    for material in [None, Some(dek(2))] {
        let keys = vec![(info(1, 1, Active), Some(dek(1))), (info(2, 2, Suspended), material)];
        assert!(Keyset::new("default", keys).is_ok());
    }
}

#[test]
fn a_printed_keyset_shows_no_key() {
    let keyset = Keyset::new("default", vec![(info(1, 1, Active), Some(dek(0xAB)))]).unwrap();
    let text = format!("{keyset:?}");
    assert!(text.contains("default") && text.contains("Active"));
    for secret in ["171", "ab, ab", "abab", "AB"] {
        assert!(!text.contains(secret), "{text}");
    }
}

#[test]
fn a_keyset_is_shared_between_threads() {
    fn shared<T: Send + Sync>() {}
    shared::<Keyset>();
}
