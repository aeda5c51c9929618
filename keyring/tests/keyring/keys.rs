use std::collections::HashSet;

use reseal_keyring::{Algorithm, Dek, KeyId, KeyState, WrongDekLength};

#[test]
fn a_state_is_read_back_from_its_name() {
    for state in KeyState::ALL {
        assert_eq!(state.as_str().parse(), Ok(*state));
    }
    assert_eq!(KeyState::PreActive.as_str(), "pre_active");
    assert!("PreActive".parse::<KeyState>().is_err());
    assert!("compromised".parse::<KeyState>().is_err());
}

#[test]
fn a_key_id_is_a_decimal_number_everywhere() {
    let id = KeyId(u32::MAX);
    assert_eq!(id.to_string(), "4294967295");
    assert_eq!("4294967295".parse(), Ok(id));
    assert_eq!(serde_json::to_string(&id).unwrap(), "4294967295");
    assert!("4294967296".parse::<KeyId>().is_err());
    assert!("0xff".parse::<KeyId>().is_err());
}

#[test]
fn random_key_ids_differ_and_are_never_zero() {
    let ids: HashSet<_> = (0..100).map(|_| KeyId::random()).collect();
    assert!(ids.len() > 98);
    assert!(!ids.contains(&KeyId(0)));
}

#[test]
fn a_dek_has_16_or_32_bytes() {
    assert!(Dek::from_slice(&[7; 16]).is_ok());
    assert!(Dek::from_slice(&[7; 32]).is_ok());
    for length in [0, 15, 24, 31, 33, 64] {
        let refused = Dek::from_slice(&vec![7; length]).unwrap_err();
        assert_eq!(refused, WrongDekLength(length));
    }
}

#[test]
fn a_printed_dek_shows_nothing() {
    assert_eq!(format!("{:?}", Dek::generate(Algorithm::Aes256Gcm)), "Dek(redacted)");
}
