use std::{path::PathBuf, time::Duration};

use crate::leash::{Job, Leash, Output};

/// The interpreter that has Tink and psycopg.
pub fn python() -> PathBuf {
    let path = here().join("../target/python/bin/python");
    assert!(path.exists(), "{} is missing: tests/run makes it", path.display());
    path
}

/// Runs `tests/python/SCRIPT` to its end, at most five minutes.
pub fn run_python(script: &str, args: &[&str]) -> Output {
    let leash = Leash::new();
    spawn_python(&leash, script, args).wait(Duration::from_secs(300))
}

/// Starts `tests/python/SCRIPT`, which ends at the latest with `leash`.
pub fn spawn_python(leash: &Leash, script: &str, args: &[&str]) -> Job {
    let script = here().join("python").join(script);
    let words = [&["-uB", script.to_str().expect("UTF-8")], args].concat();
    leash.start(python(), &words, &[])
}

fn here() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR"))
}
