use std::{fs, os::unix::fs::PermissionsExt, sync::Barrier};

use reseal_keyring::{Algorithm, BackupRecord, KeyBackup, KeyId};

fn record(id: u32, version: u32) -> BackupRecord {
    BackupRecord {
        keyset: "default".to_owned(),
        key_id: KeyId(id),
        version,
        generation: 1,
        algorithm: Algorithm::Aes256Gcm.to_string(),
        prefix: "tink".to_owned(),
        kek_id: "0123456789abcdef".to_owned(),
        wrapped_dek: vec![0xFB; 61],
        created_at_ms: 1_700_000_000_000,
    }
}

fn opened() -> (tempfile::TempDir, KeyBackup) {
    let dir = tempfile::tempdir().unwrap();
    let backup = KeyBackup::open(dir.path()).unwrap();
    (dir, backup)
}

#[test]
fn a_written_record_is_read_back() {
    let (_dir, backup) = opened();
    assert_eq!(backup.read(KeyId(7)).unwrap(), None);
    backup.write(&record(7, 1)).unwrap();
    assert_eq!(backup.read(KeyId(7)).unwrap(), Some(record(7, 1)));
}

#[test]
fn directory_and_files_are_private() {
    let (dir, _) = opened();
    let inner = dir.path().join("a/b");
    let backup = KeyBackup::open(&inner).unwrap();
    backup.write(&record(7, 1)).unwrap();
    let mode = |path| fs::metadata(path).unwrap().permissions().mode() & 0o7777;
    assert_eq!(mode(inner.clone()), 0o700);
    assert_eq!(mode(inner.join("key-7.json")), 0o600);
}

#[test]
fn writing_a_record_again_changes_nothing() {
    let (_dir, backup) = opened();
    backup.write(&record(7, 1)).unwrap();
    backup.write(&record(7, 1)).unwrap();
    assert_eq!(backup.list().unwrap(), [record(7, 1)]);
}

#[test]
fn a_higher_generation_is_written_over_the_same_key() {
    let (_dir, backup) = opened();
    backup.write(&record(7, 1)).unwrap();
    let mut raised = record(7, 1);
    raised.generation = 2;
    backup.write(&raised).unwrap();
    assert_eq!(backup.read(KeyId(7)).unwrap(), Some(raised));
}

#[test]
fn other_wrapped_bytes_are_refused_and_the_first_ones_kept() {
    let (_dir, backup) = opened();
    backup.write(&record(7, 1)).unwrap();
    let mut other = record(7, 1);
    other.wrapped_dek[60] ^= 1;
    let refused = backup.write(&other).unwrap_err();
    assert_eq!(refused.code(), "backup_conflict");
    assert_eq!(backup.read(KeyId(7)).unwrap(), Some(record(7, 1)));
}

#[test]
fn a_rewrap_replaces_the_wrapped_bytes() {
    let (_dir, backup) = opened();
    backup.write(&record(7, 1)).unwrap();
    let mut rewrapped = record(7, 1);
    rewrapped.wrapped_dek[60] ^= 1;
    backup.replace(&rewrapped).unwrap();
    assert_eq!(backup.read(KeyId(7)).unwrap(), Some(rewrapped));
}

#[test]
fn what_a_crash_left_behind_is_no_record_and_goes_with_the_next_write() {
    let (dir, backup) = opened();
    let leftovers = ["key-7.json.tmp", "key-8.json.tmp"].map(|name| dir.path().join(name));
    for path in &leftovers {
        fs::write(path, "{\"keyset\": \"def").unwrap();
    }
    assert_eq!(backup.list().unwrap(), []);
    assert_eq!(backup.read(KeyId(7)).unwrap(), None);

    backup.write(&record(7, 1)).unwrap();

    assert_eq!(backup.list().unwrap(), [record(7, 1)]);
    assert!(leftovers.iter().all(|path| !path.exists()));
}

#[test]
fn records_are_listed_by_keyset_and_version_among_strange_files() {
    let (dir, backup) = opened();
    let mut earlier = record(3, 9);
    earlier.keyset = "archive".to_owned();
    for record in [&record(1, 2), &record(2, 1), &earlier] {
        backup.write(record).unwrap();
    }
    for name in ["README", "key-.json", "key-x.json", "notes.json"] {
        fs::write(dir.path().join(name), "?").unwrap();
    }
    let listed = backup.list().unwrap();
    assert_eq!(listed, [earlier, record(2, 1), record(1, 2)]);
}

#[test]
fn a_damaged_record_is_an_error_and_not_a_missing_key() {
    let (dir, backup) = opened();
    let another_keys = serde_json::to_string(&record(8, 1)).unwrap();
    for text in ["", "{}", "not json", &another_keys] {
        fs::write(dir.path().join("key-7.json"), text).unwrap();
        let code = |error: reseal_keyring::BackupError| error.code();
        assert_eq!(backup.read(KeyId(7)).map_err(code), Err("backup_malformed"));
        assert_eq!(backup.list().map_err(code), Err("backup_malformed"));
        let written = backup.write(&record(7, 1)).map_err(code);
        assert_eq!(written, Err("backup_malformed"));
    }
}

#[test]
fn a_removed_record_is_gone_and_so_is_its_leftover() {
    let (dir, backup) = opened();
    backup.write(&record(7, 1)).unwrap();
    backup.write(&record(8, 2)).unwrap();
    let leftover = dir.path().join("key-7.json.tmp");
    fs::write(&leftover, "{").unwrap();

    assert!(backup.remove(KeyId(7)).unwrap());

    assert_eq!(backup.list().unwrap(), [record(8, 2)]);
    assert!(!leftover.exists());
    assert!(!backup.remove(KeyId(7)).unwrap());
}

#[test]
fn of_many_writers_of_one_key_one_wins_and_the_others_are_refused() {
    let (dir, backup) = opened();
    let start = Barrier::new(8);
    for id in 1..=20 {
        let write = |writer: u8| {
            let backup = KeyBackup::open(dir.path()).unwrap();
            let mut mine = record(id, id);
            mine.wrapped_dek = vec![writer; 61];
            start.wait();
            backup.write(&mine).map(|()| mine)
        };
        let write = &write;
        let results: Vec<_> = std::thread::scope(|scope| {
            let writers: Vec<_> = (0..8).map(|w| scope.spawn(move || write(w))).collect();
            writers.into_iter().map(|w| w.join().unwrap()).collect()
        });
        let (won, refused): (Vec<_>, Vec<_>) = results.into_iter().partition(Result::is_ok);
        let won: Vec<_> = won.into_iter().map(Result::unwrap).collect();
        let codes: Vec<_> = refused.iter().map(|r| r.as_ref().unwrap_err().code()).collect();
        assert_eq!(codes, ["backup_conflict"; 7]);
        assert_eq!(backup.read(KeyId(id)).unwrap().as_ref(), won.first());
    }
}
