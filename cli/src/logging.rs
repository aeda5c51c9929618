//! The log, on stderr or in a file.

use crate::{
    args::{Global, LogFormat},
    failure::Failure,
    output,
};
use std::{
    fs::{File, OpenOptions},
    os::unix::fs::OpenOptionsExt,
    path::Path,
    sync::Arc,
};
use tracing::{Level, Metadata};
use tracing_subscriber::{
    EnvFilter, Layer, filter::FilterExt, filter::filter_fn, fmt::writer::BoxMakeWriter, layer::SubscriberExt,
    util::SubscriberInitExt,
};

/// Appended last, so that a broad filter does not reach into them.
const QUIET_ONES: &str = "sea_orm=warn,sea_orm_migration=warn,sqlx=off,apalis=warn,apalis_core=warn,apalis_redis=warn";

/// Starts the log. A worker tells more than a command.
pub(crate) fn start(global: &Global, is_a_worker: bool) -> Result<(), Failure> {
    let by_default = match (global.quiet, global.verbose, is_a_worker) {
        (true, ..) => "error",
        (_, 0, false) => "warn",
        (_, 0 | 1, _) => "info",
        _ => "debug",
    };
    // Not clap's: it would take the variable for an option, and show it in the usage of every mistake.
    let variable = std::env::var("RUST_LOG").ok().filter(|_| global.verbose == 0 && !global.quiet);
    let asked = global.log.clone().or(variable).filter(|log| !log.is_empty());
    let asked = asked.as_deref().unwrap_or(by_default);
    let directives = if global.quiet { asked.to_owned() } else { format!("{asked},{QUIET_ONES}") };
    let filter = EnvFilter::builder()
        .parse(directives)
        .map_err(|e| Failure::usage("usage", format!("`{asked}` is not a log filter ({e}): write e.g. debug")))?;
    let filter = filter.and(filter_fn(shows_no_values));
    let (writer, colours) = match &global.log_file {
        Some(file) => (BoxMakeWriter::new(Arc::new(open(file)?)), false),
        None => (BoxMakeWriter::new(output::log), output::stderr_has_colours()),
    };
    let layer = tracing_subscriber::fmt::layer().with_writer(writer).with_ansi(colours);
    let registry = tracing_subscriber::registry();
    match global.log_format {
        LogFormat::Text => registry.with(layer.compact().with_filter(filter)).init(),
        LogFormat::Json => registry.with(layer.json().with_filter(filter)).init(),
    }
    Ok(())
}

/// Appended to, so that several processes may write into it, and a rotated one begins anew at the next start.
fn open(file: &Path) -> Result<File, Failure> {
    let opened = OpenOptions::new().append(true).create(true).mode(0o600).open(file);
    opened.map_err(Failure::io(format!("the log file {} cannot be opened", file.display())))
}

/// Whatever is asked for: the driver prints what a server remarks, where a trigger may speak of a row, and a URL's
/// parameters, at any level; what it fails at comes back to us and is told in our own words. Below INFO the crates over
/// it print statements with their values, and AWS's print requests, where only their wrapping hides the keyset.
fn shows_no_values(of: &Metadata<'_>) -> bool {
    let prints_values = ["sea_orm", "aws_"].iter().any(|name| of.target().starts_with(name));
    !of.target().starts_with("sqlx") && (!prints_values || *of.level() <= Level::INFO)
}

#[cfg(test)]
mod tests {
    use std::sync::{Arc, Mutex};
    use tracing_subscriber::{Layer, filter::filter_fn, layer::SubscriberExt};

    #[derive(Clone, Default)]
    struct Written(Arc<Mutex<Vec<u8>>>);

    impl std::io::Write for Written {
        fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
            self.0.lock().map_err(|_| std::io::ErrorKind::Other)?.extend(bytes);
            Ok(bytes.len())
        }

        fn flush(&mut self) -> std::io::Result<()> {
            Ok(())
        }
    }

    #[test]
    fn what_a_server_or_a_url_says_to_the_driver_is_in_no_log() {
        let written = Written::default();
        let writer = written.clone();
        let layer = tracing_subscriber::fmt::layer().with_writer(move || writer.clone());
        let layer = layer.with_filter(filter_fn(super::shows_no_values));
        tracing::subscriber::with_default(tracing_subscriber::registry().with(layer), || {
            tracing::warn!(target: "sqlx::postgres::notice", "diagnosis of Jane Roe");
            tracing::error!(target: "sqlx_postgres::options::parse", "sslpassword=hunter2");
            tracing::debug!(target: "sea_orm::driver", "SELECT 'hunter2'");
            tracing::warn!(target: "reseal_engine::step", "a step failed");
        });
        let text = String::from_utf8(written.0.lock().unwrap().clone()).unwrap();
        assert!(text.contains("a step failed") && !text.contains("Roe") && !text.contains("hunter2"), "{text}");
    }
}
