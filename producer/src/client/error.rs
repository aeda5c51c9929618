//! Why a call did not do as asked.

use crate::api::{Problem, RotationDetail};

/// Why a call did not do as asked.
#[derive(Debug)]
#[non_exhaustive]
pub enum ClientError {
    /// The server said why.
    Problem(Box<Problem>),
    /// No answer came, also not to the repetitions. Of what can be asked twice nobody knows whether it was done: ask again.
    Unreachable(String),
    /// What answered is not this API: a proxy, perhaps.
    Unexpected(String),
    /// Nothing can go on without a person.
    NeedsAttention(Box<RotationDetail>),
    /// The client was given what cannot be.
    Usage(String),
}

impl ClientError {
    /// The server's stable code.
    pub fn code(&self) -> Option<&str> {
        match self {
            Self::Problem(problem) => Some(&problem.code),
            _ => None,
        }
    }
}

impl std::fmt::Display for ClientError {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Problem(problem) => problem.fmt(f),
            Self::Unreachable(why) => write!(f, "the server does not answer: {why}"),
            Self::Unexpected(what) => write!(f, "what answered is not Reseal's API: {what}"),
            Self::NeedsAttention(detail) => {
                write!(f, "rotation {} goes on only with a person: {}", detail.rotation.id, detail.rotation.summary)
            }
            Self::Usage(what) => f.write_str(what),
        }
    }
}

impl std::error::Error for ClientError {}
