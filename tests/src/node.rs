use std::path::{Path, PathBuf};

/// The packages that TypeScript of the guides needs.
pub fn node_modules() -> PathBuf {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../target/typescript/node_modules");
    path.canonicalize().unwrap_or_else(|_| panic!("{} is missing: tests/run makes it", path.display()))
}
