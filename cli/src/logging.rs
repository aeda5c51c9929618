//! The log, on stderr.

use crate::{
    args::{Global, LogFormat},
    failure::Failure,
    output,
};
use tracing::{Level, Metadata};
use tracing_subscriber::{
    EnvFilter, Layer, filter::FilterExt, filter::filter_fn, layer::SubscriberExt, util::SubscriberInitExt,
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
    let asked = global.log.as_deref().filter(|log| !log.is_empty()).unwrap_or(by_default);
    let directives = if global.quiet { asked.to_owned() } else { format!("{asked},{QUIET_ONES}") };
    let filter = EnvFilter::builder()
        .parse(directives)
        .map_err(|e| Failure::usage("usage", format!("`{asked}` is not a log filter ({e}): write e.g. debug")))?;
    let filter = filter.and(filter_fn(shows_no_values));
    let layer = tracing_subscriber::fmt::layer().with_writer(output::log).with_ansi(output::stderr_has_colours());
    let registry = tracing_subscriber::registry();
    match global.log_format {
        LogFormat::Text => registry.with(layer.compact().with_filter(filter)).init(),
        LogFormat::Json => registry.with(layer.json().with_filter(filter)).init(),
    }
    Ok(())
}

/// Whatever is asked for: below INFO the database crates print statements with their values, and AWS's
/// print requests, where only their wrapping hides the keyset.
fn shows_no_values(of: &Metadata<'_>) -> bool {
    let prints_values = ["sea_orm", "sqlx", "aws_"].iter().any(|name| of.target().starts_with(name));
    !prints_values || *of.level() <= Level::INFO
}
