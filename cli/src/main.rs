//! The binary `reseal`.
fn main() {}
