//! A SQLite ledger's file: a process that has it open must not go on once another file has its name.

use sea_orm::{DbErr, sqlx::sqlite::SqliteConnectOptions};
use std::{os::unix::fs::MetadataExt, path::PathBuf, sync::Arc};

/// How the error begins; it travels as a database's.
pub(super) const REPLACED: &str = "the ledger's file was replaced";

/// A file as it was opened.
#[derive(Debug)]
pub(super) struct LedgerFile {
    path: PathBuf,
    device: u64,
    inode: u64,
}

impl LedgerFile {
    /// None for what is no file.
    pub(super) fn of(url: &str) -> Option<Arc<Self>> {
        let options = url.starts_with("sqlite:").then(|| url.parse::<SqliteConnectOptions>().ok()).flatten()?;
        let path = std::fs::canonicalize(options.get_filename()).ok()?;
        let file = std::fs::metadata(&path).ok()?;
        Some(Arc::new(Self { path, device: file.dev(), inode: file.ino() }))
    }

    /// Without the device, whose number may be another one after a restart of the machine.
    pub(super) fn place(&self) -> String {
        format!("{} (inode {})", self.path.display(), self.inode)
    }

    pub(super) fn refuse_replaced(&self) -> Result<(), DbErr> {
        match std::fs::metadata(&self.path) {
            Ok(file) if (file.dev(), file.ino()) == (self.device, self.inode) => Ok(()),
            _ => Err(DbErr::Custom(format!(
                "{REPLACED} while this process had it open ({}), so nothing is written into it any more: start the process again",
                self.path.display()
            ))),
        }
    }
}
