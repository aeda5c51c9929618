use std::path::{Path, PathBuf};

/// The packages of `tests/FOLDER`, as `tests/run` installed them.
pub fn node_modules(folder: &str) -> PathBuf {
    let target = Path::new(env!("CARGO_MANIFEST_DIR")).join("../target");
    let path = target.join(folder).join("node_modules");
    path.canonicalize().unwrap_or_else(|_| panic!("{} is missing: tests/run makes it", path.display()))
}
