//! The binary `reseal`: the demo, workers, and what an operator says to the ledger.
//!
//! One command, one file under [`commands`]; [`output`] is the only place that prints.

mod actor;
mod args;
mod commands;
mod context;
mod demo;
mod failure;
mod follow;
mod ground;
mod help;
mod logging;
mod output;
mod signals;

use crate::{args::Cli, context::Context, output::Output};
use clap::Parser;
use std::process::ExitCode;

#[tokio::main]
async fn main() -> ExitCode {
    let cli = match Cli::try_parse() {
        Ok(cli) => cli,
        Err(error) => return help::refuse(&error).into(),
    };
    let output = Output::new(cli.global.json, cli.global.quiet);
    let done = match logging::start(&cli.global, cli.command.lasts()) {
        Ok(()) => Box::pin(commands::run(cli.command, Context::new(cli.global, output))).await,
        Err(failure) => Err(failure),
    };
    match done {
        Ok(exit) => exit.into(),
        Err(failure) => {
            output.failure(&failure);
            failure.exit.into()
        }
    }
}
