//! What may stand on the command line. Never a secret.

use crate::{commands, demo, help};
use clap::{ArgAction, Args, Parser, Subcommand, ValueEnum};
use std::path::PathBuf;

/// Rotates the encryption key under a live database.
#[derive(Parser)]
#[command(name = "reseal", version, help_template = help::TEMPLATE, after_help = help::EXIT_CODES)]
#[command(max_term_width = 80, arg_required_else_help = true, subcommand_required = true)]
pub(crate) struct Cli {
    #[command(flatten)]
    pub global: Global,
    #[command(subcommand)]
    pub command: Command,
}

/// What every command takes.
#[derive(Args, Debug)]
#[command(next_help_heading = "Global options")]
pub(crate) struct Global {
    /// Configuration [default: $RESEAL_CONFIG, ./reseal.toml, the embedded default]
    #[arg(long, value_name = "FILE", global = true)]
    pub config: Option<PathBuf>,
    /// Print objects on stdout and nothing else; errors are objects on stderr
    #[arg(long, global = true)]
    pub json: bool,
    /// What is logged, e.g. debug or reseal_engine=debug [default: $RUST_LOG, warn; up, work, serve: info]
    #[arg(long, value_name = "FILTER", global = true)]
    pub log: Option<String>,
    /// How that is logged
    #[arg(long, value_enum, value_name = "FORMAT", default_value_t, global = true)]
    pub log_format: LogFormat,
    /// Log into this file instead, at its end
    #[arg(long, value_name = "FILE", global = true)]
    pub log_file: Option<PathBuf>,
    /// Log more: -v info, -vv debug
    #[arg(short, long, action = ArgAction::Count, global = true, conflicts_with = "log")]
    pub verbose: u8,
    /// No progress, no notes, only errors in the log
    #[arg(short, long, global = true, conflicts_with = "verbose")]
    pub quiet: bool,
}

#[derive(Clone, Copy, Debug, Default, ValueEnum)]
pub(crate) enum LogFormat {
    #[default]
    Text,
    Json,
}

/// In the order of the help.
#[derive(Subcommand)]
pub(crate) enum Command {
    /// Shows a whole rotation on sample data, in a folder that goes away
    Demo(demo::Args),
    /// Runs everything on this machine: makes KEK and ledger at the first start, then works
    Up(commands::up::Args),
    /// Runs a worker; as many as you like, on as many machines
    Work(commands::work::Args),
    /// Serves the HTTP API; holds no key
    Serve(commands::serve::Args),
    /// Shows the workers that are alive, and asks them to leave
    #[command(subcommand)]
    Workers(commands::workers::Workers),
    /// Brings the ledger's schema up to date
    Migrate(commands::migrate::Args),
    /// Looks at configuration, KEK, queue, sources and a sample of every encrypted column
    Check(commands::check::Args),
    /// Shows what every proof covers, and takes out what is gone
    #[command(subcommand)]
    Catalog(commands::catalog::Catalog),
    /// Makes, shows, imports, exports, clears and recovers keys
    #[command(subcommand)]
    Keys(commands::keys::Keys),
    /// Rotates a keyset: new key, every value re-encrypted, proof, old key destroyed
    Rotate(commands::rotate::Args),
    /// Shows rotations, or one of them
    Status(commands::status::Args),
    /// Does failed batches and quarantined rows again
    Retry(commands::retry::Args),
    /// Stops a rotation's workers at the next chunk
    Pause(commands::pause::Args),
    /// Lets a paused rotation go on
    Resume(commands::resume::Args),
    /// Shows and sets how fast a rotation may go, while it runs
    Limit(commands::limit::Args),
    /// Stops a rotation; values under both keys stay readable, and the next one retires what is left
    Cancel(commands::cancel::Args),
    /// Turns a rotation round: the key that gave way becomes active again
    Rollback(commands::cancel::Args),
    /// Says, as somebody other than who asked for it, that a rotation may clear its old key
    Approve(commands::approve::Args),
    /// Says that a clearing need not wait for a replica or an application that will never catch up
    Exclude(commands::exclude::Args),
    /// Shows and resolves rows that could not be re-encrypted
    #[command(subcommand)]
    Quarantine(commands::quarantine::Quarantine),
    /// Shows what was asked for over HTTP, and what came of it
    #[command(subcommand)]
    Operations(commands::operations::Operations),
    /// Shows and removes the rules in the sources that refuse retired keys
    #[command(subcommand)]
    Fence(commands::fence::Fence),
    /// Counts encrypted values by key, now
    Census(commands::census::Args),
    /// Shows, verifies and exports who did what when
    #[command(subcommand)]
    Audit(commands::audit::Audit),
    /// Makes, shows and revokes tokens for the HTTP API
    #[command(subcommand)]
    Token(commands::token::Token),
    /// Prints what makes a shell complete these commands
    #[command(after_help = commands::manual::COMPLETIONS)]
    Completions {
        /// The shell
        shell: clap_complete::Shell,
    },
    /// Prints the description of the HTTP API (OpenAPI)
    Openapi,
    /// Writes the manual: a page for each command into a folder, or the first page to stdout
    Man {
        /// The folder, made where it is missing
        #[arg(value_name = "DIR")]
        folder: Option<PathBuf>,
    },
}

impl Command {
    pub(crate) fn lasts(&self) -> bool {
        matches!(self, Self::Up(_) | Self::Work(_) | Self::Serve(_))
    }
}
