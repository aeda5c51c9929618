use aes_gcm::{
    Aes256Gcm, KeyInit,
    aead::{Aead, Payload},
};
use base64::{Engine, engine::general_purpose::STANDARD};
use reseal_keyring::{Dek, Kek, KeyId, KeyState, Keyset, KeysetFormat, kek, tink};
use serde_json::{Value, json};
use std::os::unix::fs::PermissionsExt;

use super::keyset;

const FORMATS: [KeysetFormat; 2] = [KeysetFormat::Json, KeysetFormat::Binary];
const KEK: [u8; 32] = [5; 32];

fn ours() -> Keyset {
    keyset(&[(1, KeyState::Deactivated), (2, KeyState::Active)])
}

fn kek(bytes: [u8; 32]) -> (tempfile::TempDir, Box<dyn Kek>) {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("kek");
    std::fs::write(&path, STANDARD.encode(bytes)).unwrap();
    std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o600)).unwrap();
    let kek = kek::open(&format!("file:{}", path.display())).unwrap();
    (dir, kek)
}

#[test]
fn a_keyset_under_the_kek_comes_back_in_both_formats() {
    let (_dir, kek) = kek(KEK);
    for format in FORMATS {
        let sealed = kek.encrypt_keyset("default", &tink::export(&ours(), KeysetFormat::Binary)).unwrap();
        let file = tink::encrypted(&ours(), &sealed, format);

        let opened = kek.decrypt_keyset("default", &tink::ciphertext_of(&file, format).unwrap()).unwrap();

        let keys = tink::import(&opened, KeysetFormat::Binary).unwrap();
        let ids: Vec<_> = keys.iter().map(|(key, _)| (key.key_id, key.primary)).collect();
        assert_eq!(ids, [(KeyId(1), false), (KeyId(2), true)]);
    }
}

#[test]
fn a_keyset_under_the_kek_has_the_layout_that_the_documentation_gives() {
    let (_dir, kek) = kek(KEK);
    let sealed = kek.encrypt_keyset("default", b"the keyset").unwrap();
    let iv: [u8; 12] = sealed[..12].try_into().unwrap();
    let payload = Payload { msg: &sealed[12..], aad: b"reseal keyset v1:default" };
    let opened = Aes256Gcm::new_from_slice(&KEK).unwrap().decrypt(&iv.into(), payload).unwrap();
    assert_eq!(opened, b"the keyset");
}

#[test]
fn a_keyset_opens_under_its_kek_and_its_name_only() {
    let ((_a, one), (_b, other)) = (kek(KEK), kek([6; 32]));
    let sealed = one.encrypt_keyset("default", b"the keyset").unwrap();
    let refused = |opened: Result<_, reseal_keyring::KekError>| {
        opened.map(|_: zeroize::Zeroizing<Vec<u8>>| ()).unwrap_err().code()
    };
    assert_eq!(refused(other.decrypt_keyset("default", &sealed)), "kek_not_authentic");
    assert_eq!(refused(one.decrypt_keyset("other", &sealed)), "kek_not_authentic");
    for at in 0..sealed.len() {
        let mut changed = sealed.clone();
        changed[at] ^= 1;
        assert_eq!(refused(one.decrypt_keyset("default", &changed)), "kek_not_authentic", "{at}");
        assert_eq!(refused(one.decrypt_keyset("default", &sealed[..at])), "kek_not_authentic", "{at}");
    }
}

#[test]
fn a_wrapped_dek_and_an_encrypted_keyset_never_stand_in_for_each_other() {
    let (_dir, kek) = kek(KEK);
    let wrapped = kek.wrap("default", KeyId(7), &Dek::from_slice(&[9; 32]).unwrap()).unwrap();
    for name in ["default", "\0default", "default\0\0\0\0\u{7}"] {
        assert!(kek.decrypt_keyset(name, &wrapped[1..]).is_err(), "{name:?}");
        let sealed = kek.encrypt_keyset(name, &[9; 32]).unwrap();
        assert!(kek.unwrap("default", KeyId(7), &[&[1], &sealed[..]].concat()).is_err(), "{name:?}");
    }
}

#[test]
fn an_encrypted_keyset_names_its_keys_as_tink_does_and_holds_none_in_the_clear() {
    let file = tink::encrypted(&ours(), b"ciphertext", KeysetFormat::Json);
    let about = |id: u32| json!({"typeUrl": "type.googleapis.com/google.crypto.tink.AesGcmKey", "status": "ENABLED", "keyId": id, "outputPrefixType": "TINK"});
    let expected = json!({
        "encryptedKeyset": STANDARD.encode(b"ciphertext"),
        "keysetInfo": {"primaryKeyId": 2, "keyInfo": [about(1), about(2)]},
    });
    assert_eq!(serde_json::from_slice::<Value>(&file).unwrap(), expected);
}

#[test]
fn clear_and_encrypted_keysets_are_told_apart() {
    for format in FORMATS {
        let clear = tink::export(&ours(), format);
        assert_eq!(tink::ciphertext_of(&clear, format).unwrap_err().code(), "tink_not_encrypted");
        let sealed = tink::encrypted(&ours(), &[0xAA; 60], format);
        assert_eq!(tink::import(&sealed, format).map(|_| ()).unwrap_err().code(), "tink_encrypted");
    }
    let no_ciphertext = |bytes: &[u8], format| tink::ciphertext_of(bytes, format).unwrap_err().code();
    assert_eq!(no_ciphertext(b"{}", KeysetFormat::Json), "tink_no_ciphertext");
    assert_eq!(no_ciphertext(br#"{"encryptedKeyset":"!"}"#, KeysetFormat::Json), "tink_no_ciphertext");
    assert_eq!(no_ciphertext(b"", KeysetFormat::Binary), "tink_no_ciphertext");
    assert_eq!(no_ciphertext(&[0x12, 0], KeysetFormat::Binary), "tink_no_ciphertext");
    assert_eq!(no_ciphertext(&[0x12, 9, 1], KeysetFormat::Binary), "tink_binary");
}
