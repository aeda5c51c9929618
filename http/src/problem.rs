//! Problem details (RFC 9457), with a stable code.

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

/// Why a request was not done. `code` is stable and listed in `docs/errors.md`; `detail` is for people and
/// never a driver's text.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "server", derive(utoipa::ToSchema))]
pub struct Problem {
    /// `urn:reseal:problem:` and the code.
    #[serde(rename = "type")]
    #[cfg_attr(feature = "server", schema(example = "urn:reseal:problem:unknown_rotation"))]
    pub kind: String,
    /// The code in words.
    #[cfg_attr(feature = "server", schema(example = "Unknown rotation"))]
    pub title: String,
    /// The HTTP status.
    #[cfg_attr(feature = "server", schema(example = 404))]
    pub status: u16,
    /// Stable.
    #[cfg_attr(feature = "server", schema(example = "unknown_rotation"))]
    pub code: String,
    /// What happened, then what to do.
    #[cfg_attr(feature = "server", schema(example = "there is no rotation 7"))]
    pub detail: String,
    /// Each field that is wrong.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub errors: Vec<FieldError>,
    /// What else belongs to this code, e.g. `rotation_id`.
    #[serde(flatten)]
    #[cfg_attr(feature = "server", schema(value_type = std::collections::BTreeMap<String, Value>))]
    pub extensions: Map<String, Value>,
}

/// One field that is wrong.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "server", derive(utoipa::ToSchema))]
pub struct FieldError {
    /// Where, as a JSON pointer into the body, or the name of the parameter.
    pub pointer: String,
    /// What is wrong with it.
    pub detail: String,
}

impl Problem {
    /// A problem with a stable code.
    pub fn new(status: u16, code: &str, detail: impl Into<String>) -> Self {
        Self {
            kind: format!("urn:reseal:problem:{code}"),
            title: title(code),
            status,
            code: code.to_owned(),
            detail: detail.into(),
            errors: Vec::new(),
            extensions: Map::new(),
        }
    }

    /// Adds what else belongs to it.
    #[must_use]
    pub fn with(mut self, name: &str, value: impl Serialize) -> Self {
        self.extensions.insert(name.to_owned(), serde_json::to_value(value).unwrap_or_default());
        self
    }

    /// Bad input: `422 invalid_request` that names the field.
    pub fn invalid(pointer: impl Into<String>, detail: impl Into<String>) -> Self {
        let field = FieldError { pointer: pointer.into(), detail: detail.into() };
        let mut problem = Self::new(422, "invalid_request", format!("{}: {}", field.pointer, field.detail));
        problem.errors.push(field);
        problem
    }
}

impl std::fmt::Display for Problem {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{} ({})", self.detail, self.code)
    }
}

impl std::error::Error for Problem {}

fn title(code: &str) -> String {
    let words = code.replace('_', " ");
    let mut letters = words.chars();
    letters.next().map_or_else(String::new, |first| first.to_uppercase().chain(letters).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_problem_travels_as_rfc_9457_says() {
        let problem = Problem::new(409, "key_in_use", "key 7 is active").with("rotation_id", 3);
        let json = serde_json::to_value(&problem).expect("JSON");
        let expected = serde_json::json!({
            "type": "urn:reseal:problem:key_in_use", "title": "Key in use", "status": 409, "code": "key_in_use",
            "detail": "key 7 is active", "rotation_id": 3,
        });
        assert_eq!(json, expected);
        assert_eq!(serde_json::from_value::<Problem>(json).expect("back"), problem);
    }
}
