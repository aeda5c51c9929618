//! Wrapped keys outside the ledger: what a restored ledger no longer knows

mod error;

use std::{
    fs::{self, DirBuilder, File, OpenOptions},
    io::{self, Write},
    os::unix::fs::{DirBuilderExt, OpenOptionsExt},
    path::{Path, PathBuf},
};

pub use error::BackupError;
use serde::{Deserialize, Serialize};

use crate::KeyId;

/// A directory with one file per key, `key-{key_id}.json`, mode 0600
///
/// Holds wrapped keys only: worth nothing without the KEK, everything with it.
/// Processes may share it; a file lock orders their writes.
#[derive(Clone, Debug)]
pub struct KeyBackup {
    dir: PathBuf,
}

/// All that `reseal keys recover` needs to bring one key back
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct BackupRecord {
    /// The key's keyset
    pub keyset: String,
    /// The key
    pub key_id: KeyId,
    /// Its version in the keyset
    pub version: u32,
    /// Raised by each activation
    pub generation: i64,
    /// An [`Algorithm`](crate::Algorithm)
    pub algorithm: String,
    /// A [`Prefix`](crate::Prefix); `tink` in records that do not say
    #[serde(default = "tink")]
    pub prefix: String,
    /// The KEK that wrapped it
    pub kek_id: String,
    /// As [`Kek::wrap`](crate::Kek::wrap) returned it; base64 in the file
    #[serde(with = "as_base64")]
    pub wrapped_dek: Vec<u8>,
    /// Milliseconds since 1970, UTC
    pub created_at_ms: i64,
}

impl KeyBackup {
    /// Opens the directory; makes it, mode 0700, if it is missing
    ///
    /// # Errors
    ///
    /// [`BackupError::Io`].
    pub fn open(dir: impl Into<PathBuf>) -> Result<Self, BackupError> {
        let dir = dir.into();
        if !dir.is_dir() {
            DirBuilder::new().recursive(true).mode(0o700).create(&dir).map_err(failed("cannot create", &dir))?;
            if let Some(parent) = dir.parent().filter(|parent| !parent.as_os_str().is_empty()) {
                sync(parent)?;
            }
        }
        Ok(Self { dir })
    }

    /// On return the record is on the disk; never in parts, and running it again
    /// changes nothing
    ///
    /// Costs three fsyncs. Other fields than the wrapped bytes may change.
    ///
    /// # Errors
    ///
    /// [`BackupError::Conflict`] when the key is there with other wrapped bytes:
    /// after a rewrap, use [`KeyBackup::replace`].
    pub fn write(&self, record: &BackupRecord) -> Result<(), BackupError> {
        let _lock = self.lock()?;
        match self.read(record.key_id)? {
            Some(existing) if existing.wrapped_dek != record.wrapped_dek => {
                let path = self.path(record.key_id);
                let key_id = record.key_id;
                Err(BackupError::Conflict { key_id, path })
            }
            _ => self.put(record),
        }
    }

    /// As [`KeyBackup::write`], over whatever is there: for a rewrap
    ///
    /// The caller has unwrapped the new bytes before; the old ones are gone.
    ///
    /// # Errors
    ///
    /// [`BackupError::Io`].
    pub fn replace(&self, record: &BackupRecord) -> Result<(), BackupError> {
        let _lock = self.lock()?;
        self.put(record)
    }

    /// One key's record
    ///
    /// # Errors
    ///
    /// [`BackupError::Malformed`] when the file is not this key's record.
    pub fn read(&self, key_id: KeyId) -> Result<Option<BackupRecord>, BackupError> {
        let path = self.path(key_id);
        let json = match fs::read(&path) {
            Ok(json) => json,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            Err(error) => return Err(failed("cannot read", &path)(error)),
        };
        match serde_json::from_slice::<BackupRecord>(&json) {
            Ok(record) if record.key_id == key_id => Ok(Some(record)),
            _ => Err(BackupError::Malformed { path }),
        }
    }

    /// Every record, by keyset and version; what a crash left behind is not one
    ///
    /// # Errors
    ///
    /// As [`KeyBackup::read`]: a file that cannot be read is never passed over.
    pub fn list(&self) -> Result<Vec<BackupRecord>, BackupError> {
        let mut records = Vec::new();
        for key_id in self.ids()? {
            records.extend(self.read(key_id)?);
        }
        records.sort_by(|a, b| (&a.keyset, a.version).cmp(&(&b.keyset, b.version)));
        Ok(records)
    }

    /// The ids of all keys that have a record; reads no file
    ///
    /// # Errors
    ///
    /// [`BackupError::Io`].
    pub fn ids(&self) -> Result<Vec<KeyId>, BackupError> {
        let id = |name: &String| name.strip_prefix("key-")?.strip_suffix(".json")?.parse().ok();
        Ok(self.names()?.iter().filter_map(id).collect())
    }

    /// Unlinks the key's file; `false` when there was none
    ///
    /// Does not overwrite the bytes: disks, snapshots and journals keep copies
    /// that no program reaches. What protects those is the KEK.
    ///
    /// # Errors
    ///
    /// [`BackupError::Io`].
    pub fn remove(&self, key_id: KeyId) -> Result<bool, BackupError> {
        let _lock = self.lock()?;
        self.remove_leftovers()?;
        let path = self.path(key_id);
        let removed = match fs::remove_file(&path) {
            Ok(()) => true,
            Err(error) if error.kind() == io::ErrorKind::NotFound => false,
            Err(error) => return Err(failed("cannot remove", &path)(error)),
        };
        sync(&self.dir)?;
        Ok(removed)
    }

    fn put(&self, record: &BackupRecord) -> Result<(), BackupError> {
        self.remove_leftovers()?;
        let path = self.path(record.key_id);
        let temporary = path.with_extension("json.tmp");
        let mut json = serde_json::to_vec_pretty(record).expect("a record is plain data");
        json.push(b'\n');
        OpenOptions::new()
            .write(true)
            .create_new(true)
            .mode(0o600)
            .open(&temporary)
            .and_then(|mut file| file.write_all(&json).and_then(|()| file.sync_all()))
            .map_err(failed("cannot write", &temporary))?;
        fs::rename(&temporary, &path).map_err(failed("cannot rename to", &path))?;
        sync(&self.dir)
    }

    // Under the lock every temporary file is a crash's: nobody else is writing.
    fn remove_leftovers(&self) -> Result<(), BackupError> {
        for name in self.names()? {
            if name.starts_with("key-") && name.ends_with(".json.tmp") {
                let path = self.dir.join(name);
                fs::remove_file(&path).map_err(failed("cannot remove", &path))?;
            }
        }
        Ok(())
    }

    fn names(&self) -> Result<Vec<String>, BackupError> {
        let names = || -> io::Result<Vec<String>> {
            fs::read_dir(&self.dir)?.map(|entry| Ok(entry?.file_name().to_string_lossy().into_owned())).collect()
        };
        names().map_err(failed("cannot list", &self.dir))
    }

    // Released when the file is closed, also by kill -9.
    fn lock(&self) -> Result<File, BackupError> {
        let path = self.dir.join(".lock");
        let lock = OpenOptions::new()
            .write(true)
            .create(true)
            .truncate(false)
            .mode(0o600)
            .open(&path)
            .map_err(failed("cannot open", &path))?;
        lock.lock().map_err(failed("cannot lock", &path))?;
        Ok(lock)
    }

    fn path(&self, key_id: KeyId) -> PathBuf {
        self.dir.join(format!("key-{key_id}.json"))
    }
}

fn sync(dir: &Path) -> Result<(), BackupError> {
    File::open(dir).and_then(|dir| dir.sync_all()).map_err(failed("cannot sync", dir))
}

fn failed(action: &'static str, path: &Path) -> impl FnOnce(io::Error) -> BackupError {
    let path = path.to_owned();
    move |source| BackupError::Io { action, path, source }
}

fn tink() -> String {
    crate::Prefix::Tink.to_string()
}

mod as_base64 {
    use base64::{Engine, engine::general_purpose::STANDARD};
    use serde::{Deserialize, Deserializer, Serializer, de::Error};

    pub(super) fn serialize<S: Serializer>(bytes: &[u8], to: S) -> Result<S::Ok, S::Error> {
        to.serialize_str(&STANDARD.encode(bytes))
    }

    pub(super) fn deserialize<'de, D: Deserializer<'de>>(from: D) -> Result<Vec<u8>, D::Error> {
        STANDARD.decode(String::deserialize(from)?).map_err(|_| D::Error::custom("not base64"))
    }
}
