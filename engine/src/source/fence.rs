//! The rule that a source itself enforces on one column, whatever the database.

use super::{Header, fingerprint, key_id_of};
use reseal_keyring::{KeyId, cell};

/// Which headers a new cell may have.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Rule {
    /// Any but these: the retired keys', tombstones' too.
    Deny(Vec<Header>),
    /// One of these, or the cell is NULL: of columns that take only cells.
    Allow(Vec<Header>),
}

/// The rule that the source itself enforces on one column.
#[derive(Clone, Debug)]
pub struct Fence {
    /// The keyset, for the message.
    pub keyset: String,
    /// The column.
    pub column: String,
    /// It holds base64.
    pub text: bool,
    /// What it refuses.
    pub rule: Rule,
}

/// A fence as it stands in the source.
#[derive(Clone, Debug, Default, PartialEq, Eq, serde::Serialize)]
pub struct FenceState {
    /// It refuses what it should, and nobody switched it off.
    pub complete: bool,
    /// Something of it stands, be it another rotation's.
    pub stands: bool,
    /// What is missing.
    pub detail: String,
    /// SHA-256 over its definition, hexadecimal.
    pub fingerprint: String,
    /// What stands as a trigger, and what as a constraint.
    #[serde(skip)]
    pub(crate) definitions: [String; 2],
}

impl FenceState {
    /// A constraint stands.
    pub fn is_sealed(&self) -> bool {
        !self.definitions[1].is_empty()
    }

    /// Whether what stands, this rotation's or another's, would refuse a cell with this header.
    pub fn refuses(&self, header: &Header, text: bool) -> bool {
        let starts = if text { base64_prefixes(&[*header]) } else { vec![hex::encode(header)] };
        let starts: Vec<String> = starts.into_iter().flat_map(|s| [hex::encode(&s), s]).collect();
        let standing = self.definitions.iter().filter(|d| !d.is_empty());
        standing.clone().any(|definition| {
            let named = starts.iter().any(|start| definition.contains(start.as_str()));
            let allows = ALLOWING.iter().any(|words| definition.contains(words));
            named != allows
        })
    }
}

/// How a definition is told that names what it lets in, and not what it refuses: on PostgreSQL and SQLite.
const ALLOWING: [&str; 2] = ["<> ALL", "IS NOT NULL AND NOT"];

impl Fence {
    pub(super) fn headers(&self) -> &[Header] {
        match &self.rule {
            Rule::Deny(headers) | Rule::Allow(headers) => headers,
        }
    }

    /// What an application is told whose cell the fence refuses.
    pub(super) fn refusal(&self) -> String {
        let keyset = self.keyset.replace('\'', "");
        match self.rule {
            Rule::Deny(_) => format!(
                "reseal: this cell is under a retired key of keyset {keyset}: reload the keyset and encrypt it again"
            ),
            Rule::Allow(_) => format!(
                "reseal: this column takes only cells under the active key of keyset {keyset}: reload the keyset and encrypt the value again"
            ),
        }
    }

    /// What an application is told whose value is no cell at all; none where the fence does not look.
    pub(super) fn refusal_of_plaintext(&self) -> Option<String> {
        let keyset = self.keyset.replace('\'', "");
        matches!(self.rule, Rule::Allow(_)).then(|| {
            format!(
                "{NOT_ENCRYPTED} and this one is not encrypted: encrypt it under keyset {keyset} before it is stored"
            )
        })
    }
}

/// How a refusal begins of a value that is no cell: `storage` knows it by this on SQLite.
const NOT_ENCRYPTED: &str = "reseal: this column takes only encrypted values,";

/// The two characters with which base64 of a cell can begin, whatever its key: of the byte 1 and two bits more.
pub(super) fn base64_starts() -> impl Iterator<Item = String> {
    ('Q'..='Z').chain('a'..='f').map(|second| format!("A{second}"))
}

/// The 7-character strings with which base64 of cells with these headers can begin.
pub(super) fn base64_prefixes(headers: &[Header]) -> Vec<String> {
    headers.iter().filter_map(|h| key_id_of(h)).flat_map(|id| cell::base64_prefixes(KeyId(id))).collect()
}

/// The name of a column's fence: the same at every rotation, short enough for every database.
pub(super) fn fence_name(schema: &str, table: &str, column: &str) -> String {
    format!("zz_reseal_fence_{}", &fingerprint([schema, table, column])[..16])
}
