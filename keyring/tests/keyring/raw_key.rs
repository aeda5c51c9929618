use base64::{
    Engine,
    engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD},
};
use reseal_keyring::{Algorithm, Encoding, Format, Layout, Prefix, RawKeyError, raw_key};

use super::{ROW, tink::as_keyset};

/// Its base64 differs between the alphabets.
const BYTES: [u8; 32] = [0xFB; 32];

#[test]
fn a_raw_key_is_read_in_every_spelling_and_decrypts_what_tink_wrote_with_it() {
    let cases = super::tink::cases();
    let case = cases.iter().find(|case| case["template"] == "AES256_GCM_RAW").unwrap();
    let value = case["keyset_json"]["key"][0]["keyData"]["value"].as_str().unwrap();
    let key = &STANDARD.decode(value).unwrap()[2..];
    let cell = hex::decode(case["ciphertext_hex"].as_str().unwrap()).unwrap();
    let (data, plaintext) = (case["aad"].as_str().unwrap(), case["plaintext"].as_str().unwrap());
    let layout = Layout { format: Format::RawAesGcm, encoding: Encoding::Bytes };
    for line in
        [hex::encode(key), hex::encode_upper(key) + "\r\n", STANDARD.encode(key) + "\n", URL_SAFE_NO_PAD.encode(key)]
    {
        let keys = vec![raw_key::import(line.as_bytes()).unwrap()];
        let keyset = as_keyset(keys);
        assert_eq!(*keyset.decrypt_from(layout, &cell, data.as_bytes()).unwrap(), plaintext.as_bytes());
        let cell = keyset.encrypt(b"value", ROW);
        assert_eq!(cell.len(), 12 + 5 + 16, "a cell without a header");
    }
}

#[test]
fn a_raw_keys_length_says_its_algorithm() {
    for (line, algorithm) in [
        (hex::encode(&BYTES[..16]), Algorithm::Aes128Gcm),
        (STANDARD.encode(&BYTES[..16]), Algorithm::Aes128Gcm),
        (STANDARD.encode(BYTES), Algorithm::Aes256Gcm),
    ] {
        let (key, _) = raw_key::import(line.as_bytes()).unwrap();
        assert_eq!((key.algorithm, key.prefix, key.primary), (algorithm, Prefix::Raw, true));
    }
}

#[test]
fn what_is_no_raw_key_is_refused() {
    let refused = |text: &[u8]| raw_key::import(text).map(|_| ()).unwrap_err();
    assert_eq!(refused(&BYTES), RawKeyError::NotOneLine);
    assert_eq!(refused(b"-----BEGIN PRIVATE KEY-----"), RawKeyError::NotOneLine);
    assert_eq!(refused(format!("{0}\n{0}", hex::encode(BYTES)).as_bytes()), RawKeyError::NotOneLine);
    assert_eq!(refused(b""), RawKeyError::Length(0));
    assert_eq!(refused(STANDARD.encode(&BYTES[..24]).as_bytes()), RawKeyError::Length(24));
}
