//! What every HTTP surface of Reseal shares. Knows no key and no database.
//!
//! A [`Problem`] is what is answered when something did not go as asked (RFC 9457). With the feature
//! `server` come the extractors that turn bad input into one, naming the field, and the limits that
//! every request runs under.

mod problem;
mod whole;

#[cfg(feature = "server")]
mod extract;
#[cfg(feature = "server")]
mod limits;
#[cfg(feature = "server")]
mod request_id;
#[cfg(feature = "server")]
mod respond;

pub use problem::{FieldError, Problem};
pub use whole::{whole, whole_list};

#[cfg(feature = "server")]
pub use {
    extract::{Form, Json, JsonBody, Path, Query},
    limits::{Limits, limited},
    request_id::{RequestId, with_request_id},
};
