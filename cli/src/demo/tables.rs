//! The three reference tables and what their cells are bound to.

use std::fmt;
use uuid::Uuid;

pub(super) const KEYSET: &str = "default";

/// A reference table.
#[derive(Debug)]
pub(super) struct Table {
    pub name: &'static str,
    pub column: &'static str,
    /// Its share of the rows.
    pub share: u64,
    /// Its keys are uuids, else integers.
    pub uuids: bool,
}

pub(super) const TABLES: [Table; 3] = [
    Table { name: "user_profiles", column: "encrypted_data", share: 2, uuids: true },
    Table { name: "messages", column: "encrypted_content", share: 10, uuids: false },
    Table { name: "sync_queue", column: "encrypted_data", share: 1, uuids: false },
];

/// Rows for each table, in order; the largest gets what does not divide.
pub(super) fn shares(rows: u64) -> [u64; 3] {
    let whole: u64 = TABLES.iter().map(|t| t.share).sum();
    let [profiles, _, queue] = TABLES.each_ref().map(|t| rows * t.share / whole);
    [profiles, rows - profiles - queue, queue]
}

/// A primary key. Shown as it stands in the associated data.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) enum Key {
    Integer(i64),
    Uuid(Uuid),
}

impl fmt::Display for Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Integer(id) => id.fmt(f),
            Self::Uuid(id) => id.hyphenated().fmt(f),
        }
    }
}

impl Table {
    /// The key of the `n`th row, from 1.
    pub(super) fn key(&self, n: i64) -> Key {
        if self.uuids { Key::Uuid(Uuid::new_v4()) } else { Key::Integer(n) }
    }

    /// What binds a cell to its place.
    pub(super) fn associated_data(&self, key: &Key) -> Vec<u8> {
        format!("{}.{}:{key}", self.name, self.column).into_bytes()
    }
}

impl<'q> sqlx::Encode<'q, sqlx::Sqlite> for Key {
    fn encode_by_ref(
        &self,
        buffer: &mut <sqlx::Sqlite as sqlx::Database>::ArgumentBuffer,
    ) -> Result<sqlx::encode::IsNull, sqlx::error::BoxDynError> {
        match self {
            Self::Integer(id) => sqlx::Encode::<sqlx::Sqlite>::encode(*id, buffer),
            Self::Uuid(id) => sqlx::Encode::<sqlx::Sqlite>::encode(id.as_bytes().to_vec(), buffer),
        }
    }

    fn produces(&self) -> Option<sqlx::sqlite::SqliteTypeInfo> {
        Some(match self {
            Self::Integer(_) => <i64 as sqlx::Type<sqlx::Sqlite>>::type_info(),
            Self::Uuid(_) => <Vec<u8> as sqlx::Type<sqlx::Sqlite>>::type_info(),
        })
    }
}

impl sqlx::Type<sqlx::Sqlite> for Key {
    fn type_info() -> sqlx::sqlite::SqliteTypeInfo {
        <Vec<u8> as sqlx::Type<sqlx::Sqlite>>::type_info()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_shares_add_up() {
        for rows in [1, 2, 12, 13, 1_000, 100_001] {
            assert_eq!(shares(rows).iter().sum::<u64>(), rows);
        }
        assert_eq!(shares(13), [2, 10, 1]);
    }
}
