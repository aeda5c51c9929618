//! `reseal keys`: keys on their way in and out. None of this clears a key.

mod aead;
mod clear;
mod compromise;
mod export;
mod file;
mod import;
mod list;
mod show;

use crate::{
    actor::actor,
    context::Context,
    failure::{Exit, Failure},
    ground,
    output::count,
};
use reseal_entities::state::KeyState;
use reseal_keyring::{Algorithm, Prefix};
use serde_json::json;

#[derive(clap::Subcommand)]
pub(crate) enum Keys {
    /// Makes the key-encryption key of a file: URI; never overwrites
    Init,
    /// Makes a key: a keyset's first is active, a later one pre_active
    Create {
        /// The keyset
        keyset: String,
        /// What the key is for [default: as the active key if that is one of these, else AES256_GCM]
        #[arg(long, value_enum)]
        algorithm: Option<NewAlgorithm>,
    },
    /// Shows every key, tombstones too
    List,
    /// Shows everything that is known of one key
    Show {
        /// The key
        key_id: u32,
    },
    /// Brings a Tink keyset, or a bare AES key, in as a new keyset
    Import(import::Args),
    /// Hands a keyset out in Tink's formats
    Export(export::Args),
    /// Says whether a retired key can be cleared, and what is in the way; a worker clears it
    Clear {
        /// The key
        key_id: u32,
    },
    /// Notes for good that others may know a key
    Compromise(compromise::Compromise),
    /// Lets a clearing go on that the use of a suspended key holds
    Dismiss(compromise::Dismiss),
    /// Puts keys back from the key backup that the ledger has lost
    Recover,
}

/// The algorithms that new keys are made for; a test holds them to the keyring's.
#[derive(Clone, Copy, Debug, clap::ValueEnum)]
pub(crate) enum NewAlgorithm {
    /// AES-256-GCM: the default
    #[value(name = "AES256_GCM")]
    Aes256Gcm,
    /// XChaCha20-Poly1305: for more than 2^31 values under one key
    #[value(name = "XCHACHA20_POLY1305")]
    XChaCha20Poly1305,
}

impl From<NewAlgorithm> for Algorithm {
    fn from(new: NewAlgorithm) -> Self {
        match new {
            NewAlgorithm::Aes256Gcm => Self::Aes256Gcm,
            NewAlgorithm::XChaCha20Poly1305 => Self::XChaCha20Poly1305,
        }
    }
}

/// An algorithm and a prefix in one word of a list.
fn kind(algorithm: &str, prefix: &str) -> String {
    if prefix == Prefix::Raw.as_str() { format!("{algorithm} raw") } else { algorithm.to_owned() }
}

pub(crate) async fn run(keys: Keys, context: &Context) -> Result<Exit, Failure> {
    match keys {
        Keys::Init => init(context).await,
        Keys::Create { keyset, algorithm } => create(&keyset, algorithm, context).await,
        Keys::List => list::run(context).await,
        Keys::Import(args) => import::run(args, context).await,
        Keys::Export(args) => export::run(args, context).await,
        Keys::Clear { key_id } => clear::run(key_id, context).await,
        Keys::Show { key_id } => show::run(key_id, context).await,
        Keys::Compromise(args) => compromise::mark(args, context).await,
        Keys::Dismiss(args) => compromise::dismiss(args, context).await,
        Keys::Recover => recover(context).await,
    }
}

async fn init(context: &Context) -> Result<Exit, Failure> {
    let config = context.config()?;
    ground::refuse_a_second_kek(&config).await?;
    reseal_worker::protect_keys().map_err(Failure::io("this process's memory cannot be kept out of core files"))?;
    let id = ground::create_kek(&config)?;
    context.output.show(&json!({"kek_id": id, "uri": config.kek.uri.to_string()}), || {
        format!(
            "made {} (id {id})\nback it up apart from the ledger: without it every encrypted value is lost, and whoever has both has all of them",
            config.kek.uri
        )
    });
    Ok(Exit::Done)
}

async fn create(keyset: &str, algorithm: Option<NewAlgorithm>, context: &Context) -> Result<Exit, Failure> {
    let keyring = ground::keyring(&context.config()?, &context.output).await?;
    let (key_id, state) = match algorithm {
        None => keyring.create(&actor(), keyset).await?,
        Some(algorithm) => keyring.create_for(&actor(), keyset, algorithm.into()).await?,
    };
    context.output.show(&json!({"keyset": keyset, "key_id": key_id, "state": state}), || match state {
        KeyState::Active => format!("keyset `{keyset}` has its first key {key_id}, active"),
        _ => format!("keyset `{keyset}` has key {key_id}, {state}: `reseal rotate {keyset} --to {key_id}` promotes it"),
    });
    Ok(Exit::Done)
}

async fn recover(context: &Context) -> Result<Exit, Failure> {
    let keyring = ground::keyring(&context.config()?, &context.output).await?;
    let records = keyring.recover(&actor()).await?;
    let keys: Vec<_> =
        records.iter().map(|r| json!({"keyset": r.keyset, "key_id": r.key_id, "version": r.version})).collect();
    context.output.show(&json!({"recovered": keys}), || {
        let mut text = match records.len() {
            0 => "the ledger has every key of the backup".to_owned(),
            n => format!("{} put back:\n", count(n as u64, "key")),
        };
        text.extend(records.iter().map(|r| format!("  {} (version {} of {})\n", r.key_id, r.version, r.keyset)));
        text
    });
    Ok(Exit::Done)
}
