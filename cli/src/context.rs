//! What every command gets.

use crate::{args::Global, failure::Failure, output::Output};
use reseal_config::{Config, Loaded};

/// The global options, and where to print.
pub(crate) struct Context {
    pub global: Global,
    pub output: Output,
}

impl Context {
    pub(crate) fn new(global: Global, output: Output) -> Self {
        Self { global, output }
    }

    /// The configuration and where it came from.
    pub(crate) fn load(&self) -> Result<Loaded, Failure> {
        Ok(Config::load(self.global.config.as_deref())?)
    }

    pub(crate) fn config(&self) -> Result<Config, Failure> {
        Ok(self.load()?.config)
    }
}
