use std::path::PathBuf;

/// Why there is no configuration. Never prints an option's text where that may be a secret.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ConfigError {
    /// A file that must be there cannot be read.
    #[error("cannot read {}: {source}", path.display())]
    Read {
        /// Which one.
        path: PathBuf,
        /// Why not.
        source: std::io::Error,
    },
    /// A file is not TOML.
    #[error("{origin}: {reason}")]
    Syntax {
        /// The file.
        origin: String,
        /// Where and why, without the line's text.
        reason: String,
    },
    /// An option is unknown, missing, of the wrong type, or at odds with another one.
    #[error("{origin}: {option}: {reason}")]
    Option {
        /// The option's path, e.g. `table[0].columns[1].keyset`.
        option: String,
        /// The file or the environment variable that set it.
        origin: String,
        /// What is wrong, then what to do.
        reason: String,
    },
    /// The embedded default has nowhere to keep its data.
    #[error("no data folder: set RESEAL_DATA_DIR, or HOME, or name a file with --config")]
    NoDataFolder,
}

impl ConfigError {
    pub(crate) fn option(option: impl Into<String>, origin: impl Into<String>, reason: impl Into<String>) -> Self {
        Self::Option { option: option.into(), origin: origin.into(), reason: reason.into() }
    }

    /// TOML errors quote the line, and the line may hold a password.
    pub(crate) fn syntax(origin: impl Into<String>, message: &str) -> Self {
        let quoted = |line: &str| {
            line.trim_start().trim_start_matches(|c: char| c.is_ascii_digit()).trim_start().starts_with('|')
        };
        let kept: Vec<_> = message.lines().filter(|line| !quoted(line) && !line.trim().is_empty()).collect();
        Self::Syntax { origin: origin.into(), reason: kept.join(": ") }
    }
}

/// Cuts the offending text out of serde's `invalid type: string "…", expected …`.
pub(crate) fn without_text(message: &str) -> String {
    for kind in ["invalid type: string", "invalid value: string"] {
        if let Some(rest) = message.strip_prefix(kind) {
            let expected = rest.rfind(", expected").map_or("", |at| &rest[at..]);
            return format!("{kind}{expected}");
        }
    }
    message.to_owned()
}
