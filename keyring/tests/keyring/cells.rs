use std::collections::BTreeSet;

use base64::{
    Engine,
    engine::general_purpose::{STANDARD, URL_SAFE},
};
use reseal_keyring::{
    KeyId, KeyState,
    cell::{HEADER_LEN, OVERHEAD, PREFIX_LEN, base64_prefixes, header, parse},
};

use super::{ROW, keyset};

#[test]
fn a_cell_is_header_iv_ciphertext_and_tag() {
    let cell = keyset(&[(0x0102_0304, KeyState::Active)]).encrypt(b"value", ROW);
    assert_eq!((HEADER_LEN, PREFIX_LEN, OVERHEAD), (5, 17, 33));
    assert_eq!(cell.len(), OVERHEAD + 5);
    assert_eq!(cell[..5], [1, 1, 2, 3, 4]);
    assert_eq!(header(KeyId(0x0102_0304)), [1, 1, 2, 3, 4]);

    let parsed = parse(&cell).unwrap();
    assert_eq!(parsed.key_id, KeyId(0x0102_0304));
    assert_eq!(parsed.sealed, &cell[5..]);
}

#[test]
fn no_two_cells_share_an_iv() {
    let keyset = keyset(&[(1, KeyState::Active)]);
    let ivs = (0..1000).map(|_| keyset.encrypt(b"value", ROW)[5..17].to_vec());
    assert_eq!(ivs.collect::<BTreeSet<_>>().len(), 1000);
}

#[test]
fn base64_of_a_cell_begins_with_one_of_the_prefixes_whatever_its_iv() {
    // The alphabets differ nowhere, in the seventh character only, and before it.
    for (id, count) in [(1, 4), (0x2A3B_4C5D, 4), (0xF, 6), (u32::MAX, 8)] {
        let id = KeyId(id);
        let prefixes = base64_prefixes(id);
        let mut met = BTreeSet::new();
        for first in 0..=255 {
            let mut cell = header(id).to_vec();
            cell.extend([first; 28]);
            met.insert(STANDARD.encode(&cell)[..7].to_owned());
            met.insert(URL_SAFE.encode(&cell)[..7].to_owned());
        }
        // Equal, not a subset: a prefix too many would count another key's cells.
        assert_eq!(met.into_iter().collect::<Vec<_>>(), prefixes, "{id}");
        assert_eq!(prefixes.len(), count, "{id}");
    }
}

#[test]
fn neighbouring_keys_share_no_base64_prefix() {
    for other in (0..32).map(|bit| KeyId(0x2A3B_4C5D ^ (1 << bit))) {
        let ours = base64_prefixes(KeyId(0x2A3B_4C5D));
        assert!(base64_prefixes(other).iter().all(|p| !ours.contains(p)));
    }
}
