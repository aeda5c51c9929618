use std::{fs, os::unix::fs::PermissionsExt, path::Path, process::Command};

use aes_gcm::{
    Aes256Gcm, KeyInit,
    aead::{Aead, Payload},
};
use base64::{Engine, engine::general_purpose::STANDARD};
use reseal_keyring::{Algorithm, Dek, Kek, KeyId, KeyInfo, KeyState, Keyset, kek};

const ID: KeyId = KeyId(0x0102_0304);

#[test]
fn a_wrapped_dek_unwraps_to_the_same_key() {
    let (_dir, kek) = made();
    let dek = Dek::generate(Algorithm::Aes256Gcm);
    let wrapped = kek.wrap("default", ID, &dek).unwrap();
    let cell = keyset(dek).encrypt(b"value", b"");

    let unwrapped = kek.unwrap("default", ID, &wrapped).unwrap();

    let plaintext = keyset(unwrapped).decrypt(&cell, b"").unwrap();
    assert_eq!(plaintext[..], *b"value");
}

#[test]
fn a_wrapped_dek_has_the_layout_that_the_documentation_gives() {
    let dir = tempfile::tempdir().unwrap();
    let kek = kek::open(&write(&dir.path().join("kek"), &STANDARD.encode([5; 32]), 0o600)).unwrap();
    let dek = Dek::from_slice(&[9; 32]).unwrap();

    let wrapped = kek.wrap("default", ID, &dek).unwrap();

    assert_eq!((wrapped.len(), wrapped[0]), (1 + 12 + 32 + 16, 1));
    let iv: [u8; 12] = wrapped[1..13].try_into().unwrap();
    let payload = Payload { msg: &wrapped[13..], aad: b"reseal dek v1\0default\0\x01\x02\x03\x04" };
    let bytes = cipher().decrypt(&iv.into(), payload).unwrap();
    assert_eq!(bytes, [9; 32]);
}

#[test]
fn another_kek_does_not_unwrap() {
    let ((_a, one), (_b, other)) = (made(), made());
    let wrapped = one.wrap("default", ID, &Dek::generate(Algorithm::Aes256Gcm)).unwrap();
    let refused = other.unwrap("default", ID, &wrapped).unwrap_err();
    assert_eq!(refused.code(), "kek_not_authentic");
    assert!(refused.to_string().contains("another kek"));
    assert_ne!(one.id(), other.id());
}

#[test]
fn a_wrapped_dek_swapped_to_another_key_or_keyset_does_not_unwrap() {
    let (_dir, kek) = made();
    let wrapped = kek.wrap("default", ID, &Dek::generate(Algorithm::Aes256Gcm)).unwrap();
    for (keyset, id) in [("default", KeyId(5)), ("other", ID), ("", ID)] {
        let refused = kek.unwrap(keyset, id, &wrapped).unwrap_err();
        assert_eq!(refused.code(), "kek_not_authentic", "{keyset} {id}");
    }
}

#[test]
fn a_flipped_bit_of_a_wrapped_dek_is_refused() {
    let (_dir, kek) = made();
    let wrapped = kek.wrap("default", ID, &Dek::generate(Algorithm::Aes256Gcm)).unwrap();
    for bit in 0..wrapped.len() * 8 {
        let mut flipped = wrapped.clone();
        flipped[bit / 8] ^= 1 << (bit % 8);
        let refused = kek.unwrap("default", ID, &flipped).unwrap_err();
        let expected = if bit < 8 { "wrapped_malformed" } else { "kek_not_authentic" };
        assert_eq!(refused.code(), expected, "bit {bit}");
    }
}

#[test]
fn a_truncated_wrapped_dek_is_refused_at_every_length() {
    let (_dir, kek) = made();
    let wrapped = kek.wrap("default", ID, &Dek::generate(Algorithm::Aes256Gcm)).unwrap();
    for length in 0..wrapped.len() {
        let refused = kek.unwrap("default", ID, &wrapped[..length]).unwrap_err();
        let expected = if length < 29 { "wrapped_malformed" } else { "kek_not_authentic" };
        assert_eq!(refused.code(), expected, "{length} bytes");
    }
}

#[test]
fn a_dek_that_unwraps_to_the_wrong_length_is_refused() {
    let dir = tempfile::tempdir().unwrap();
    let kek = kek::open(&write(&dir.path().join("kek"), &STANDARD.encode([5; 32]), 0o600)).unwrap();
    let payload = Payload { msg: &[9; 24], aad: b"reseal dek v1\0default\0\x01\x02\x03\x04" };
    let sealed = cipher().encrypt(&[0; 12].into(), payload).unwrap();
    let wrapped = [&[1][..], &[0; 12], &sealed].concat();

    let refused = kek.unwrap("default", ID, &wrapped).unwrap_err();

    assert_eq!(refused.code(), "dek_wrong_length");
    assert!(refused.to_string().contains("24 bytes"));
}

#[test]
fn a_made_kek_is_private_one_line_and_opens_again() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("kek");
    let uri = format!("file:{}", path.display());

    let made = kek::create(&uri).unwrap();

    let mode = fs::metadata(&path).unwrap().permissions().mode();
    assert_eq!(mode & 0o7777, 0o600);
    let text = fs::read_to_string(&path).unwrap();
    assert_eq!((text.len(), text.lines().count()), (45, 1));
    assert_eq!(kek::open(&uri).unwrap().id(), made.id());
    assert_eq!(made.id().len(), 16);
}

#[test]
fn an_existing_kek_is_never_overwritten() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("kek");
    let uri = write(&path, "anything", 0o600);
    assert_eq!(refused(kek::create(&uri)).0, "kek_exists");
    assert_eq!(fs::read_to_string(&path).unwrap(), "anything");
}

#[test]
fn a_kek_that_others_may_use_is_refused_with_the_command_that_helps() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("kek");
    for mode in [0o640, 0o604, 0o620, 0o602, 0o610, 0o601, 0o644] {
        let uri = write(&path, &STANDARD.encode([5; 32]), mode);
        let (code, text) = refused(kek::open(&uri));
        assert_eq!(code, "kek_loose_permissions");
        assert!(text.contains(&format!("mode {mode:04o}")), "{text}");
        assert!(text.contains(&format!("chmod 600 {}", path.display())));
    }
    let uri = write(&path, &STANDARD.encode([5; 32]), 0o400);
    assert!(kek::open(&uri).is_ok());
}

#[test]
fn a_kek_of_the_wrong_length_or_encoding_is_refused_and_not_shown() {
    let dir = tempfile::tempdir().unwrap();
    let canary = "Y2FuYXJ5Y2FuYXJ5";
    for (text, expected) in [
        (String::new(), "kek_wrong_length"),
        (canary.to_owned(), "kek_wrong_length"),
        (STANDARD.encode([5; 33]), "kek_wrong_length"),
        ("A".repeat(2048), "kek_wrong_length"),
        (format!("{canary}*"), "kek_bad_base64"),
        (format!("{}\n{canary}\n", STANDARD.encode([5; 32])), "kek_bad_base64"),
        (hex::encode([5; 30]) + "=!", "kek_bad_base64"),
    ] {
        let (code, message) = refused(kek::open(&write(&dir.path().join("kek"), &text, 0o600)));
        assert_eq!(code, expected, "{text}");
        assert!(!message.contains(canary), "{message}");
    }
}

#[test]
fn a_missing_kek_is_refused_with_the_command_that_makes_one() {
    let (code, text) = refused(kek::open("file:/nowhere/at/all"));
    assert_eq!(code, "kek_missing");
    assert!(text.contains("reseal keys init"), "{text}");
    let (code, text) = refused(kek::open("env:RESEAL_TEST_NOT_SET"));
    assert_eq!(code, "kek_missing");
    assert!(text.contains("RESEAL_TEST_NOT_SET"), "{text}");
}

#[test]
fn a_uri_that_is_none_is_refused_without_showing_a_secret() {
    let secret = STANDARD.encode([0xA5; 32]);
    for (uri, expected) in [
        (secret.clone(), "kek_not_a_uri"),
        ("file:".to_owned(), "kek_not_a_uri"),
        (format!("env:{secret}"), "kek_not_a_variable"),
        (format!("passphrase:{secret}"), "kek_unknown_scheme"),
    ] {
        let (code, text) = refused(kek::open(&uri));
        assert_eq!(code, expected);
        assert!(!text.contains(&secret), "{text}");
    }
    let (_, text) = refused(kek::open("vault:x"));
    assert!(text.contains("\"vault\"") && text.contains("file:PATH, env:NAME"));
    assert_eq!(refused(kek::create("env:NAME")).0, "kek_not_creatable");
}

#[test]
fn a_kek_in_the_environment_is_the_same_kek_as_in_a_file() {
    let dir = tempfile::tempdir().unwrap();
    let text = STANDARD.encode([5; 32]);
    let file = kek::open(&write(&dir.path().join("kek"), &text, 0o600)).unwrap();
    // Setting a variable is unsafe in a process with threads; a child gets it at birth.
    let child = Command::new(std::env::current_exe().unwrap())
        .args(["kek::opens_the_variable_that_its_parent_set", "--exact", "--ignored"])
        .env("RESEAL_TEST_KEK", text)
        .env("RESEAL_TEST_KEK_ID", file.id())
        .output()
        .unwrap();
    let output = String::from_utf8_lossy(&child.stdout).into_owned();
    assert!(output.contains("1 passed"), "{output}");
}

#[test]
#[ignore = "started by a_kek_in_the_environment_is_the_same_kek_as_in_a_file"]
fn opens_the_variable_that_its_parent_set() {
    let kek = kek::open("env:RESEAL_TEST_KEK").unwrap();
    assert_eq!(kek.id(), std::env::var("RESEAL_TEST_KEK_ID").unwrap());
}

#[test]
fn a_kek_id_is_the_fingerprint_that_the_documentation_gives() {
    use sha2::{Digest, Sha256};
    let dir = tempfile::tempdir().unwrap();
    let kek = kek::open(&write(&dir.path().join("kek"), &STANDARD.encode([5; 32]), 0o600)).unwrap();
    let hashed = [b"reseal kek id v1".as_slice(), &[5; 32]].concat();
    assert_eq!(kek.id(), hex::encode(&Sha256::digest(hashed)[..8]));
}

fn made() -> (tempfile::TempDir, Box<dyn Kek>) {
    let dir = tempfile::tempdir().unwrap();
    let kek = kek::create(&format!("file:{}", dir.path().join("kek").display())).unwrap();
    (dir, kek)
}

fn write(path: &Path, text: &str, mode: u32) -> String {
    let _ = fs::remove_file(path);
    fs::write(path, text).unwrap();
    fs::set_permissions(path, fs::Permissions::from_mode(mode)).unwrap();
    format!("file:{}", path.display())
}

fn refused(opened: Result<Box<dyn Kek>, reseal_keyring::KekError>) -> (&'static str, String) {
    let error = opened.map(|_| ()).unwrap_err();
    (error.code(), format!("{error} {error:?}"))
}

fn cipher() -> Aes256Gcm {
    Aes256Gcm::new(&[5; 32].into())
}

fn keyset(dek: Dek) -> Keyset {
    let info = KeyInfo::native(ID, 1, KeyState::Active);
    Keyset::new("default", vec![(info, Some(dek))]).unwrap()
}
