//! The texts that people, applications and databases choose, as they should be and as somebody makes them who means
//! harm. Each fits into its column of the ledger.

/// One choice of all of them.
pub(crate) struct Words {
    pub(crate) source: &'static str,
    /// Of the rotation that goes on.
    pub(crate) tables: [&'static str; 3],
    pub(crate) column: &'static str,
    /// Of the rotation that goes on, that waits, that has ended, that stands still.
    pub(crate) keysets: [&'static str; 4],
    pub(crate) person: &'static str,
    pub(crate) other_person: &'static str,
    pub(crate) reason: &'static str,
    /// One that runs, one that drains, one that is lost.
    pub(crate) workers: [&'static str; 3],
    pub(crate) writers: [&'static str; 2],
    /// Causes of failed batches, and what is said of each.
    pub(crate) failed: [(&'static str, &'static str); 3],
    /// Why rows are quarantined.
    pub(crate) quarantined: [&'static str; 3],
    pub(crate) row_key: &'static str,
    pub(crate) pace: &'static str,
    pub(crate) action: &'static str,
}

pub(crate) const PLAIN: Words = Words {
    source: "app",
    tables: ["messages", "user_profiles", "sync_queue"],
    column: "encrypted_content",
    keysets: ["default", "billing", "archive", "sessions"],
    person: "ada@example.org",
    other_person: "grace@example.org",
    reason: "the yearly rotation, ticket OPS-2041",
    workers: [
        "worker-1.example.org.4711.0a1b2c3d",
        "worker-2.example.org.88.44e0f1aa",
        "worker-3.example.org.9.77cd0102",
    ],
    writers: ["mail-7c9f", "api-2b61"],
    failed: [
        ("source_statement_timeout", "the source ended a statement that took longer than its statement_timeout (30 s)"),
        ("write_refused", "the source refused the row: check constraint `content_not_empty`"),
        ("kills_its_worker", "three workers died while they had it"),
    ],
    quarantined: ["cell_truncated", "not_authentic", "unknown_key"],
    row_key: "8f14e45f-ceea-467f-a0e6-5c8b1d0c9b42",
    pace: "replica lag 2.3 s",
    action: "rotation.reasoned",
};

const ELEMENT: &str = "<script>alert(1)</script>";
const ATTRIBUTE: &str = r#""><img src=x onerror=alert(1)>"#;
const TEMPLATE: &str = "{{7*7}}{%raw%}${7*7}<%=7*7%>";
const LONG: &str = "Donaudampfschifffahrtselektrizitätenhauptbetriebswerkbauunterbeamten";
/// Arabic, and an override after which everything would run from right to left.
const FROM_THE_RIGHT: &str = "\u{645}\u{641}\u{627}\u{62a}\u{64a}\u{62d} \u{202e}gnp.exe";

pub(crate) const HOSTILE: Words = Words {
    source: "'onload='alert(1)",
    tables: [ELEMENT, ATTRIBUTE, TEMPLATE],
    column: FROM_THE_RIGHT,
    keysets: ["</title><script>alert(1)</script>", LONG_KEYSET, TEMPLATE, FROM_THE_RIGHT],
    person: ATTRIBUTE,
    other_person: LONG,
    reason: "<a href=\"javascript:alert(1)\">why</a> <style>*{display:none}</style>\n</textarea>-->]]>&lt;b&gt;",
    workers: ["<svg onload=alert(1)>.4711.0a1b2c3d", LONG, "../../%2e%2e/?a=1&b=2#c \u{202e}.9.77cd0102"],
    writers: [ELEMENT, TEMPLATE],
    failed: [(ELEMENT, ATTRIBUTE), (LONG_CODE, LONG_DETAIL), (FROM_THE_RIGHT, TEMPLATE)],
    quarantined: [ATTRIBUTE, TEMPLATE, LONG_CODE],
    row_key: LONG_DETAIL,
    pace: ATTRIBUTE,
    action: "<b onmouseover=alert(1)>",
};

const LONG_KEYSET: &str = "wwwwwwwwwwwwwwwwwwwwwwwwwwwwwwwwwwwwwwwwwwwwwwwwwwwwwwwwwwwwwwww";
const LONG_CODE: &str = "source_of_a_failure_whose_name_was_never_meant_to_be_read_by_man";
const LONG_DETAIL: &str = concat!(
    "0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef",
    "0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef",
);
