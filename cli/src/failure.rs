//! How a command ends.

use std::{error::Error, process::ExitCode};

/// The exit code.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Exit {
    Done,
    Failed,
    /// Usage or configuration.
    Usage,
    /// Nothing can go on without a person.
    Attention,
    /// By ctrl-c; what it looked at goes on.
    Interrupted,
}

impl From<Exit> for ExitCode {
    fn from(exit: Exit) -> Self {
        Self::from(match exit {
            Exit::Done => 0,
            Exit::Failed => 1,
            Exit::Usage => 2,
            Exit::Attention => 3,
            Exit::Interrupted => 130,
        })
    }
}

/// Why a command did not do as asked.
#[derive(Debug)]
pub(crate) struct Failure {
    /// Stable.
    pub code: &'static str,
    /// What happened, then what to do; lower case, no full stop.
    pub message: String,
    pub exit: Exit,
}

impl Failure {
    pub(crate) fn new(code: &'static str, message: impl Into<String>) -> Self {
        Self { code, message: message.into(), exit: Exit::Failed }
    }

    /// Asked for in a way that cannot be.
    pub(crate) fn usage(code: &'static str, message: impl Into<String>) -> Self {
        Self { exit: Exit::Usage, ..Self::new(code, message) }
    }

    /// An error with whatever stands behind it.
    fn of(code: &'static str, error: &dyn Error) -> Self {
        let mut message = error.to_string();
        let mut behind = error.source();
        while let Some(cause) = behind {
            let text = cause.to_string();
            if !message.contains(&text) {
                message = format!("{message}: {text}");
            }
            behind = cause.source();
        }
        Self::new(code, message)
    }

    /// A failed look at `what`.
    pub(crate) fn io(what: impl std::fmt::Display) -> impl FnOnce(std::io::Error) -> Self {
        move |error| Self::new("io", format!("{what}: {error}"))
    }
}

macro_rules! coded {
    ($($error:ty),+ $(,)?) => {
        $(impl From<$error> for Failure {
            fn from(error: $error) -> Self {
                Self::of(error.code(), &error)
            }
        })+
    };
}

coded!(
    reseal_engine::EngineError,
    reseal_entities::ledger::LedgerError,
    reseal_keyring::KekError,
    reseal_keyring::RawKeyError,
    reseal_keyring::TinkError,
);

impl From<reseal_config::ConfigError> for Failure {
    fn from(error: reseal_config::ConfigError) -> Self {
        Self { exit: Exit::Usage, ..Self::of("configuration", &error) }
    }
}

impl From<sea_orm::DbErr> for Failure {
    fn from(error: sea_orm::DbErr) -> Self {
        reseal_entities::ledger::LedgerError::from(error).into()
    }
}

impl From<reseal_migration::MigrateError> for Failure {
    fn from(error: reseal_migration::MigrateError) -> Self {
        let code = match error {
            reseal_migration::MigrateError::Newer(_) => "ledger_newer",
            reseal_migration::MigrateError::Database(_) => "migration_failed",
        };
        Self::new(code, error.to_string())
    }
}

impl From<reseal_queue::QueueError> for Failure {
    fn from(error: reseal_queue::QueueError) -> Self {
        use reseal_queue::QueueError::{Address, Evicts, Namespace, Randomness, Refused, Unreachable, Unsuitable};
        let code = match error {
            Address(_) | Namespace => "queue_address",
            Unreachable { .. } => "queue_unreachable",
            Refused { .. } => "queue_refused",
            Evicts { .. } => "queue_evicts",
            Unsuitable { .. } => "queue_unsuitable",
            Randomness(_) => "no_randomness",
            _ => "queue_failed",
        };
        Self::of(code, &error)
    }
}

impl From<reseal_worker::WorkerError> for Failure {
    fn from(error: reseal_worker::WorkerError) -> Self {
        Self::of("worker_cannot_work", &error)
    }
}
