//! What a form brings. A field that was left empty is none.

use reseal_http::Problem;
use serde::{Deserialize, Deserializer, de::Error};
use std::{fmt::Display, str::FromStr};

/// Why something is done, or a note.
#[derive(Debug, Deserialize)]
pub(super) struct Why {
    #[serde(default, deserialize_with = "some")]
    pub(super) reason: Option<String>,
}

/// The form's key: sent twice, it is done once.
#[derive(Deserialize)]
pub(super) struct Once {
    #[serde(default, deserialize_with = "some")]
    pub(super) key: Option<String>,
}

/// The text of a field, unless it is blank.
pub(super) fn some<'de, D: Deserializer<'de>>(field: D) -> Result<Option<String>, D::Error> {
    let text = Option::<String>::deserialize(field)?;
    Ok(text.map(|text| text.trim().to_owned()).filter(|text| !text.is_empty()))
}

/// What a field says, unless it is blank.
pub(super) fn parsed<'de, D: Deserializer<'de>, T: FromStr<Err: Display>>(field: D) -> Result<Option<T>, D::Error> {
    some(field)?.map(|text| text.parse().map_err(|_| D::Error::custom(format!("`{text}` is not a number")))).transpose()
}

/// A number that somebody typed at `label`, unless it is blank. One that fits no field is said to be too much.
#[expect(clippy::result_large_err, reason = "a problem is made once, and shown")]
pub(super) fn number<T: FromStr>(typed: Option<String>, label: &str) -> Result<Option<T>, Problem> {
    let refuse = |typed: &str| Problem::invalid(label, format!("`{}` is not a number that fits", shown(typed)));
    typed.map(|typed| typed.parse().map_err(|_| refuse(&typed))).transpose()
}

/// The beginning of what was typed.
fn shown(typed: &str) -> String {
    typed.chars().take(40).collect()
}

/// A text that must be there.
pub(super) fn required(text: Option<String>, name: &str, why: &str) -> Result<String, Problem> {
    match text {
        None => Err(Problem::invalid(name, why)),
        Some(text) if text.chars().count() > 1_000 => Err(Problem::invalid(name, "longer than 1000 characters")),
        Some(text) => Ok(text),
    }
}

/// A fresh idempotency key for a form: sent twice, it is done once.
pub(super) fn fresh_key() -> String {
    uuid::Uuid::new_v4().simple().to_string()
}
