//! The dashboard: what the API tells, as pages for people. One page, one file; holds no key.

#[expect(dead_code, reason = "the pages come next")]
mod refused;

#[expect(unused_imports, reason = "the pages come next")]
pub(crate) use refused::refused;
