//! The dashboard: what the API tells, as pages for people. One page, one file; holds no key.

#[allow(dead_code, unused_imports, reason = "the pages come next")]
mod charts;
#[cfg_attr(not(test), expect(dead_code, reason = "the pages come next"))]
mod numbers;
#[expect(dead_code, reason = "the pages come next")]
mod refused;

#[expect(unused_imports, reason = "the pages come next")]
pub(crate) use refused::refused;
