//! A table as the live schema has it, and a row's key as text.

use super::{SourceError, fingerprint};
use reseal_keyring::{Encoding, Format, Layout};

/// How a primary key column is written as text and read back.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum KeyType {
    /// Any integer type, in decimal.
    Integer,
    /// PostgreSQL's `uuid`, or the canonical text in SQLite.
    Uuid,
    /// Sixteen bytes in SQLite.
    UuidBytes,
    /// Text as it is.
    Text,
    /// Bytes, in hexadecimal.
    Bytes,
}

/// One column of a primary key.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct KeyColumn {
    /// Its name.
    pub name: String,
    /// Its type.
    pub ty: KeyType,
    /// What the primary key compares its text by, where that can be another than the column's own.
    pub collation: Option<String>,
}

/// An encrypted column as it is asked for, and as it was found.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CellColumn {
    /// Its name.
    pub name: String,
    /// How cells stand in it.
    pub layout: Layout,
    /// The most characters that it takes, if the schema says so.
    pub length_max: Option<usize>,
}

/// What of an old value is compared before it is overwritten, where the database has a log.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Compare {
    /// Both ends of a native cell and its length: header and iv, and the tag. A writer that repeats an iv, as
    /// deterministic ones do, still makes another tag for another value.
    Ends,
    /// All of it.
    Whole,
    /// The version of the row: nothing that is made of a plaintext reaches the database's log.
    Version,
}

impl CellColumn {
    /// A column to be looked for.
    pub fn wanted(name: impl Into<String>, layout: Layout) -> Self {
        Self { name: name.into(), layout, length_max: None }
    }

    pub(super) fn is_text(&self) -> bool {
        self.layout.encoding.is_text()
    }

    pub(super) fn compare(&self) -> Compare {
        match (self.layout.format, self.layout.encoding) {
            (Format::Tink, Encoding::Bytes) => Compare::Ends,
            (Format::Plaintext, _) => Compare::Version,
            _ => Compare::Whole,
        }
    }
}

/// A table as the live schema has it: what was asked for exists and can be rotated.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Shape {
    /// The schema as the database resolved it.
    pub schema: String,
    /// The table.
    pub table: String,
    /// Its primary key's columns, in order.
    pub key: Vec<KeyColumn>,
    /// The encrypted columns, as asked for.
    pub columns: Vec<CellColumn>,
    /// SHA-256 over the definition, hexadecimal: another one is another table.
    pub fingerprint: String,
    /// PostgreSQL: triggers of others run at each update, so what was stored is read again before it is kept.
    pub(super) watched: bool,
}

impl Shape {
    pub(super) fn new(
        schema: &str,
        table: &str,
        key: Vec<KeyColumn>,
        columns: Vec<CellColumn>,
        parts: &[String],
    ) -> Self {
        let fingerprint = fingerprint(parts.iter().map(String::as_str));
        Self { schema: schema.to_owned(), table: table.to_owned(), key, columns, fingerprint, watched: false }
    }

    /// Whether the version of a row is part of what is compared.
    pub(super) fn compares_versions(&self) -> bool {
        self.columns.iter().any(|c| c.compare() == Compare::Version)
    }

    /// A name for a column of ours beside the table's own.
    pub(super) fn free_name(&self, wanted: &str) -> String {
        let taken = |name: &str| {
            let own = self.key.iter().map(|k| &k.name).chain(self.columns.iter().map(|c| &c.name));
            own.into_iter().any(|own| own.eq_ignore_ascii_case(name))
        };
        let mut name = wanted.to_owned();
        while taken(&name) {
            name.push('_');
        }
        name
    }

    pub(super) fn column(&self, name: &str) -> Result<&CellColumn, SourceError> {
        let found = self.columns.iter().find(|c| c.name == name);
        found.ok_or_else(|| SourceError::refused("column_missing", format!("`{}` has no `{name}`", self.table)))
    }

    /// A row's key as the ledger keeps it: the text of a single column, a JSON array of several.
    pub fn join_key(&self, mut parts: Vec<String>) -> String {
        if parts.len() == 1 { parts.remove(0) } else { serde_json::json!(parts).to_string() }
    }

    /// The texts of a key's columns.
    pub fn split_key(&self, text: &str) -> Result<Vec<String>, SourceError> {
        let parts = match self.key.len() {
            1 => Some(vec![text.to_owned()]),
            n => serde_json::from_str(text).ok().filter(|parts: &Vec<String>| parts.len() == n),
        };
        parts.ok_or_else(|| self.bad_key(text))
    }

    pub(super) fn bad_key(&self, text: &str) -> SourceError {
        SourceError::refused("key_malformed", format!("`{text}` is no key of {}.{}", self.schema, self.table))
    }
}

/// What a primary key can be refused for.
pub(super) fn check_key_names(table: &str, live: &[&str], wanted: &[String]) -> Result<(), SourceError> {
    if live.is_empty() {
        return Err(SourceError::refused(
            "no_primary_key",
            format!("`{table}` has no primary key, so its rows cannot be told apart: give it one"),
        ));
    }
    if live != wanted.iter().map(String::as_str).collect::<Vec<_>>() {
        return Err(SourceError::refused(
            "primary_key_differs",
            format!("the primary key of `{table}` is ({}), not ({})", live.join(", "), wanted.join(", ")),
        ));
    }
    Ok(())
}

/// What a column's type is refused for, when its encoding wants another.
pub(super) fn refuse_type(table: &str, column: &CellColumn, ty: &str) -> SourceError {
    let wants = if column.is_text() { "a text column" } else { "a bytes column" };
    SourceError::refused(
        "column_type",
        format!(
            "`{table}.{}` is {ty}, and encoding `{}` needs {wants}: cells stand in bytes columns as they are and in \
             text columns as base64",
            column.name, column.layout.encoding
        ),
    )
}

pub(super) fn refuse_generated(table: &str, column: &str) -> SourceError {
    SourceError::refused(
        "column_generated",
        format!("`{table}.{column}` is a generated column: register the column that it is made of"),
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shape(columns: usize) -> Shape {
        let key =
            (0..columns).map(|i| KeyColumn { name: format!("k{i}"), ty: KeyType::Text, collation: None }).collect();
        Shape::new("s", "t", key, Vec::new(), &[])
    }

    #[test]
    fn a_key_of_any_text_comes_back_from_the_ledger_as_it_was() {
        for parts in [["", ""], ["a\",\"b", "c"], ["[", "]"], ["ü\\", "\u{1}\n"]] {
            let parts: Vec<String> = parts.iter().map(|p| (*p).to_owned()).collect();
            assert_eq!(shape(2).split_key(&shape(2).join_key(parts.clone())).unwrap(), parts);
            let one = vec![parts[0].clone()];
            assert_eq!(shape(1).split_key(&shape(1).join_key(one.clone())).unwrap(), one);
        }
    }

    #[test]
    fn a_key_of_another_arity_is_refused() {
        assert_eq!(shape(2).split_key("42").unwrap_err().code, "key_malformed");
        assert_eq!(shape(2).split_key("[\"a\"]").unwrap_err().code, "key_malformed");
    }
}
