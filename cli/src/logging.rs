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
const QUIET_ONES: &str = "sea_orm=warn,sea_orm_migration=warn,sqlx=warn,apalis=warn,apalis_core=warn,apalis_redis=warn";

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

/// Whatever is asked for: below INFO the database crates print statements with their values, and AWS's
/// print requests, where only their wrapping hides the keyset.
fn shows_no_values(of: &Metadata<'_>) -> bool {
    let prints_values = ["sea_orm", "sqlx", "aws_"].iter().any(|name| of.target().starts_with(name));
    !prints_values || *of.level() <= Level::INFO
}
