//! Keysets to and from Tink, with Python's Tink at the other end and a KMS on loopback.

use crate::{embedded, failed};
use reseal_keyring::{Algorithm, Dek, KeyId, KeyInfo, KeyState, Keyset, KeysetFormat, tink};
use reseal_tests::{Kms, Output, Reseal, run_python, shared_kms};
use serde_json::Value;
use std::path::Path;

const ROW: &[u8] = b"messages.encrypted_content:42";

/// With KEK, ledger and tables.
fn site() -> Reseal {
    set_up(embedded())
}

fn set_up(reseal: Reseal) -> Reseal {
    reseal.run(&["keys", "init"]).ok();
    reseal.run(&["migrate", "--reference-tables", "app"]).ok();
    reseal
}

/// The same and a KMS.
fn site_with_kms() -> (Reseal, &'static Kms) {
    let kms = shared_kms();
    let reseal = kms.env().into_iter().fold(embedded(), |reseal, (name, value)| reseal.env(name, value));
    (set_up(reseal), kms)
}

fn path(reseal: &Reseal, name: &str) -> String {
    reseal.dir().join(name).display().to_string()
}

fn interop(command: &str, reseal: &Reseal, kms: &Kms, more: &[&str]) -> Value {
    let dir = reseal.dir().display().to_string();
    let args = [&[command, &dir, "--endpoint", &kms.endpoint, "--kms", &kms.key], more].concat();
    let output = run_python("interop.py", &args).ok();
    serde_json::from_str(&output.stdout).unwrap()
}

/// The options that say what protects a keyset.
fn protected<'a>(protection: &str, uri: &'a str) -> Vec<&'a str> {
    match protection {
        "clear" => vec!["--insecure-cleartext"],
        "kek" => vec!["--under", "kek"],
        "kms" => vec!["--under", uri],
        _ => vec!["--under", uri, "--associated-data", "bound to this"],
    }
}

fn in_the_clear(reseal: &Reseal, name: &str) -> Keyset {
    let output = reseal.run(&["keys", "export", name, "-", "--format", "tink-json", "--insecure-cleartext"]).ok();
    let keys = tink::import(output.stdout.as_bytes(), KeysetFormat::Json).unwrap();
    let keys = (1..).zip(keys).map(|(version, (key, dek))| {
        let state = if key.primary { KeyState::Active } else { KeyState::Deactivated };
        (KeyInfo { key_id: key.key_id, version, state, algorithm: key.algorithm, prefix: key.prefix }, Some(dek))
    });
    Keyset::new(name, keys.collect()).unwrap()
}

#[test]
fn every_algorithm_goes_to_tink_and_back_in_every_format_and_under_every_protection() {
    let (reseal, kms) = site_with_kms();
    let uri = format!("aws-kms://{}", kms.key);
    let made = interop("make", &reseal, kms, &[]);
    let mut lines = String::new();
    for entry in made.as_array().unwrap() {
        let text = |field: &str| entry[field].as_str().unwrap();
        let (name, format, out) = (text("name"), text("format"), path(&reseal, &format!("{}.out", text("name"))));
        let options = [&["--format", format], &protected(text("protection"), &uri)[..]].concat();
        let imported = reseal.json(&[&["keys", "import", name, text("file")], &options[..]].concat());
        let kind = |field: &str| imported["keys"][0][field].as_str().unwrap().to_owned();
        let template = text("template");
        let (algorithm, prefix) = template.strip_suffix("_RAW").map_or((template, "tink"), |word| (word, "raw"));
        assert_eq!(
            (kind("algorithm"), kind("prefix"), kind("state")),
            (algorithm.into(), prefix.into(), "active".into())
        );

        reseal.run(&[&["keys", "export", name, &out], &options[..]].concat()).ok();

        let mut entry = entry.clone();
        let cell = in_the_clear(&reseal, name).encrypt(b"a value", ROW);
        entry["cells"].as_array_mut().unwrap().push(hex::encode(cell).into());
        entry["file"] = out.into();
        lines += &format!("{entry}\n");
    }
    let list = path(&reseal, "list");
    std::fs::write(&list, &lines).unwrap();
    assert_eq!(interop("check", &reseal, kms, &["--list", &list]), 2 * (7 * 3 + 1));
}

#[test]
fn a_keyset_under_kek_or_kms_opens_only_with_it_and_no_key_is_in_its_file() {
    let (reseal, kms) = site_with_kms();
    reseal.run(&["keys", "create", "default"]).ok();
    let secret = in_the_clear(&reseal, "default");
    let clear = tink::export(&secret, KeysetFormat::Binary);
    let uri = format!("aws-kms://{}", kms.key);
    let (under_kek, under_kms) = (path(&reseal, "under_kek"), path(&reseal, "under_kms"));
    let export = |file: &str, under: &str| {
        reseal.run(&["keys", "export", "default", file, "--format", "tink-binary", "--under", under]).ok()
    };
    export(&under_kek, "kek");
    export(&under_kms, &uri);
    for file in [&under_kek, &under_kms] {
        let bytes = std::fs::read(file).unwrap();
        assert!(!holds(&bytes, &clear[clear.len() - 24..]) && bytes.len() > clear.len());
    }
    let import = |name: &str, file: &str, more: &[&str]| {
        reseal.run(&[&["keys", "import", name, file, "--format", "tink-binary"], more].concat())
    };
    failed(&import("default", &under_kek, &["--under", "kek"]), 1, &["has keys already"]);
    failed(&import("other", &under_kek, &["--under", "kek"]), 1, &["name that it was exported from"]);
    failed(&import("other", &under_kek, &["--under", &uri]), 1, &["AWS KMS does not decrypt"]);
    failed(&import("other", &under_kms, &["--under", "kek"]), 1, &["another kek"]);
    failed(
        &import("other", &under_kms, &["--under", &uri, "--associated-data", "else"]),
        1,
        &["InvalidCiphertextException", "--associated-data"],
    );
    failed(&import("other", &under_kms, &["--insecure-cleartext"]), 1, &["--under"]);
    failed(&import("other", &under_kms, &["--under", &uri]), 1, &["already that of version 1 of keyset `default`"]);
}

fn holds(bytes: &[u8], part: &[u8]) -> bool {
    bytes.windows(part.len()).any(|window| window == part)
}

#[test]
fn an_export_that_kms_refuses_leaves_no_file_and_no_record() {
    let (reseal, kms) = site_with_kms();
    reseal.run(&["keys", "create", "default"]).ok();
    let out = path(&reseal, "out");
    let export = |arn: &str| {
        let uri = format!("aws-kms://{arn}");
        reseal.run(&["keys", "export", "default", &out, "--format", "tink-json", "--under", &uri])
    };
    failed(&export(&kms.disabled), 1, &["DisabledException", "enable the key first"]);
    let missing = "arn:aws:kms:eu-central-1:123456789012:key/00000000-0000-0000-0000-000000000000";
    failed(&export(missing), 1, &["NotFoundException"]);
    assert!(!Path::new(&out).exists());
    assert!(!reseal.run(&["audit", "list"]).ok().stdout.contains("keyset.exported"));
    export(&kms.key).ok();
    let audit = reseal.run(&["audit", "list", "--json"]).ok().stdout;
    assert!(audit.contains(&format!("tink-json under aws-kms://{}", kms.key)), "{audit}");
}

#[test]
fn no_log_shows_a_keyset_that_goes_through_kms() {
    let (reseal, kms) = site_with_kms();
    reseal.run(&["keys", "create", "default"]).ok();
    let out = path(&reseal, "out");
    let uri = format!("aws-kms://{}", kms.key);
    let args = ["keys", "export", "default", &out, "--format", "tink-json", "--under", &uri, "--log", "trace"];
    let Output { stderr, .. } = reseal.run(&args).ok();
    assert!(stderr.contains("TRACE"), "the log was asked for");
    assert!(!stderr.contains("Plaintext") && !stderr.contains(" aws_"), "{stderr}");
}

#[test]
fn a_raw_key_is_active_until_a_native_one_is_promoted_and_no_key_is_ever_rotated_to_it() {
    let reseal = site();
    let file = path(&reseal, "key.hex");
    std::fs::write(&file, "000102030405060708090a0b0c0d0e0f\n").unwrap();
    let imported =
        reseal.json(&["keys", "import", "default", &file, "--format", "raw-aes-gcm", "--insecure-cleartext"]);
    let raw = imported["keys"][0].clone();
    assert_eq!(
        (&raw["state"], &raw["algorithm"], &raw["prefix"]),
        (&"active".into(), &"AES128_GCM".into(), &"raw".into())
    );
    failed(&reseal.run(&["rotate", "default", "--to", &raw["key_id"].to_string()]), 1, &["only a pre_active key"]);
    reseal.run(&["keys", "create", "default"]).ok();
    let list = reseal.run(&["keys", "list"]).ok().stdout;
    assert!(list.contains("AES128_GCM raw") && list.contains("AES256_GCM "), "{list}");
    let keys = reseal.json(&["keys", "list"])["keys"].clone();
    let kinds: Vec<_> =
        keys.as_array().unwrap().iter().map(|k| (k["algorithm"].clone(), k["prefix"].clone())).collect();
    assert_eq!(kinds, [("AES128_GCM".into(), "raw".into()), ("AES256_GCM".into(), Value::from("tink"))]);
}

#[test]
fn a_keyset_goes_on_with_the_algorithm_of_its_active_key() {
    let reseal = site();
    reseal.run(&["keys", "create", "default", "--algorithm", "XCHACHA20_POLY1305"]).ok();
    reseal.run(&["keys", "create", "default"]).ok();
    reseal.run(&["keys", "create", "default", "--algorithm", "AES256_GCM"]).ok();
    let keys = reseal.json(&["keys", "list"])["keys"].clone();
    let algorithms: Vec<_> = keys.as_array().unwrap().iter().map(|k| k["algorithm"].as_str().unwrap()).collect();
    assert_eq!(algorithms, ["XCHACHA20_POLY1305", "XCHACHA20_POLY1305", "AES256_GCM"]);
}

#[test]
fn recovered_keys_keep_their_algorithm_and_prefix() {
    let reseal = site();
    let file = path(&reseal, "key");
    std::fs::write(&file, "000102030405060708090a0b0c0d0e0f").unwrap();
    reseal.run(&["keys", "import", "legacy", &file, "--format", "raw-aes-gcm", "--insecure-cleartext"]).ok();
    reseal.run(&["keys", "create", "default", "--algorithm", "XCHACHA20_POLY1305"]).ok();
    let kinds = || {
        let keys = reseal.json(&["keys", "list"])["keys"].clone();
        let keys = keys.as_array().unwrap().iter();
        keys.map(|k| (k["key_id"].clone(), k["algorithm"].clone(), k["prefix"].clone())).collect::<Vec<_>>()
    };
    let before = kinds();
    for end in ["", "-wal", "-shm"] {
        let _ = std::fs::remove_file(path(&reseal, &format!("ledger.sqlite{end}")));
    }
    reseal.run(&["migrate"]).ok();
    reseal.run(&["keys", "recover"]).ok();
    assert_eq!(kinds(), before);
    in_the_clear(&reseal, "default");
}

#[test]
fn the_three_lines_of_the_documentation_open_a_keyset_under_the_kek() {
    let reseal = site();
    reseal.run(&["keys", "create", "default"]).ok();
    let out = path(&reseal, "keyset.json");
    reseal.run(&["keys", "export", "default", &out, "--format", "tink-json", "--under", "kek"]).ok();
    let guide = include_str!("../../../docs/cells-and-keys.md");
    let example = guide.split("```python\n").nth(1).unwrap().split("```").next().unwrap();
    assert_eq!(example.lines().count(), 3);
    let script = format!(
        "import json, os\nfrom base64 import b64decode, b64encode\n\
         from tink import aead, json_proto_keyset_format, secret_key_access\n\
         aead.register()\nos.chdir({:?})\n{example}\
         print(keyset.primitive(aead.Aead).encrypt(b\"a value\", {:?}.encode()).hex())\n",
        reseal.dir().display().to_string(),
        str::from_utf8(ROW).unwrap(),
    );
    std::fs::write(path(&reseal, "example.py"), script).unwrap();
    let cell = run_python(&path(&reseal, "example.py"), &[]).ok().stdout;
    let plaintext = in_the_clear(&reseal, "default").decrypt(&hex::decode(cell.trim()).unwrap(), ROW).unwrap();
    assert_eq!(*plaintext, b"a value");
}

#[test]
fn a_kms_that_cannot_be_reached_and_a_keyset_too_long_for_it_are_named() {
    let (reseal, kms) = site_with_kms();
    let uri = format!("aws-kms://{}", kms.key);
    let export = ["keys", "export", "default", "-", "--format", "tink-json", "--under", &uri];
    let keys = (1..=50).map(|version| {
        let state = if version == 1 { KeyState::Active } else { KeyState::Deactivated };
        (KeyInfo::native(KeyId(version), version, state), Some(Dek::generate(Algorithm::Aes256Gcm)))
    });
    let keyset = Keyset::new("default", keys.collect()).unwrap();
    std::fs::write(path(&reseal, "many"), tink::export(&keyset, KeysetFormat::Binary)).unwrap();
    let many = path(&reseal, "many");
    reseal.run(&["keys", "import", "default", &many, "--format", "tink-binary", "--insecure-cleartext"]).ok();
    failed(&reseal.run(&export), 1, &["AWS KMS encrypts at most 4096", "--under kek"]);
    let reseal = reseal.env("AWS_ENDPOINT_URL_KMS", "http://127.0.0.1:1");
    reseal.run(&["keys", "create", "other"]).ok();
    let export = ["keys", "export", "other", "-", "--format", "tink-json", "--under", &uri];
    failed(&reseal.run(&export), 1, &["cannot be asked", "credentials, region and network", "onnection refused"]);
}
