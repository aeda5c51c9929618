use std::{
    fs,
    path::{Path, PathBuf},
};

/// The folder that screenshots of pages are to be kept in, if they are: `RESEAL_SCREENSHOTS`, from the workspace's root.
pub fn screenshots_wanted() -> Option<PathBuf> {
    let wanted = std::env::var_os("RESEAL_SCREENSHOTS").filter(|folder| !folder.is_empty())?;
    Some(Path::new(env!("CARGO_MANIFEST_DIR")).join("..").join(wanted))
}

/// Copies what was `chosen`, pairs of a picture's name and its file's, and makes the folder; panics when one was not taken.
pub fn keep_screenshots(taken: &Path, into: &Path, chosen: &[(&str, &str)]) {
    fs::create_dir_all(into).expect("the folder of the screenshots");
    for (picture, file) in chosen {
        let picture = taken.join(format!("{picture}.png"));
        fs::copy(&picture, into.join(file)).unwrap_or_else(|e| panic!("{} is not kept: {e}", picture.display()));
    }
}
