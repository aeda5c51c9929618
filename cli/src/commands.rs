//! One command, one file. None of them decides anything: the laws are the ledger's.

pub(crate) mod approve;
pub(crate) mod audit;
pub(crate) mod cancel;
pub(crate) mod catalog;
pub(crate) mod census;
pub(crate) mod check;
pub(crate) mod exclude;
pub(crate) mod fence;
pub(crate) mod keys;
pub(crate) mod limit;
pub(crate) mod manual;
pub(crate) mod migrate;
pub(crate) mod operations;
pub(crate) mod pause;
pub(crate) mod quarantine;
pub(crate) mod resume;
pub(crate) mod retry;
pub(crate) mod rotate;
pub(crate) mod serve;
pub(crate) mod status;
pub(crate) mod token;
pub(crate) mod up;
pub(crate) mod work;
pub(crate) mod workers;

use crate::{
    args::Command,
    context::Context,
    demo,
    failure::{Exit, Failure},
};

/// Runs a command to its end.
pub(crate) async fn run(command: Command, context: Context) -> Result<Exit, Failure> {
    let context = &context;
    match command {
        Command::Demo(args) => demo::run(args, context).await,
        Command::Up(args) => up::run(args, context).await,
        Command::Work(args) => work::run(args, context).await,
        Command::Serve(args) => serve::run(args, context).await,
        Command::Workers(workers) => workers::run(workers, context).await,
        Command::Migrate(args) => migrate::run(args, context).await,
        Command::Check(args) => check::run(args, context).await,
        Command::Catalog(catalog) => catalog::run(catalog, context).await,
        Command::Keys(keys) => keys::run(keys, context).await,
        Command::Rotate(args) => rotate::run(args, context).await,
        Command::Status(args) => status::run(args, context).await,
        Command::Retry(args) => retry::run(args, context).await,
        Command::Pause(args) => pause::run(args, context).await,
        Command::Resume(args) => resume::run(args, context).await,
        Command::Limit(args) => limit::run(args, context).await,
        Command::Approve(args) => approve::run(args, context).await,
        Command::Exclude(args) => exclude::run(args, context).await,
        Command::Cancel(args) => cancel::cancel(args, context).await,
        Command::Rollback(args) => cancel::roll_back(args, context).await,
        Command::Quarantine(quarantine) => quarantine::run(quarantine, context).await,
        Command::Operations(operations) => operations::run(operations, context).await,
        Command::Fence(fence) => fence::run(fence, context).await,
        Command::Census(args) => census::run(args, context).await,
        Command::Token(token) => token::run(token, context).await,
        Command::Completions { shell } => manual::completions(shell),
        Command::Openapi => manual::openapi(),
        Command::Man { folder } => manual::pages(folder.as_deref(), &context.output),
        Command::Audit(audit) => audit::run(audit, context).await,
    }
}
