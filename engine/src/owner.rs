//! Whose a source is. Identifiers of a server are shared by clones and old primaries, and a path is not a file: the mark
//! in the source decides, compared over a fresh connection.

use crate::{
    engine::Engine,
    error::EngineError,
    source::{Prover, Source},
};
use reseal_entities::{
    ledger::{
        LedgerError,
        sources::{self, Mark, Seen},
    },
    sources as rows,
};

/// Changes of other processes under our look.
const TRIES: usize = 8;

/// Through what a database is looked at.
enum Eye<'a> {
    Source(&'a dyn Source),
    InUse(&'a dyn Source),
    Session(&'a dyn Source, &'a mut dyn Prover),
}

impl Eye<'_> {
    async fn see(&mut self) -> Result<Seen, EngineError> {
        let (source, (identity, mark)) = match self {
            Self::Source(source) => (&**source, source.sight().await?),
            Self::InUse(source) => (&**source, source.sight_in_use().await?),
            Self::Session(source, prover) => (&**source, prover.sight().await?),
        };
        Ok(Seen { identity, address: source.address(), mark })
    }
}

async fn see(source: &dyn Source) -> Result<Seen, EngineError> {
    Eye::Source(source).see().await
}

/// Refuses a source that is not the registered one, and one that is not this ledger's.
pub(crate) async fn verify(engine: &Engine, name: &str) -> Result<(), EngineError> {
    verify_through(engine, name, &*engine.source(name)?, false).await
}

/// The same for chunks: over a connection that they have used, which may lead elsewhere than a fresh one and is then
/// used no more, and over a fresh one, since the pool may open the next at any time.
pub(crate) async fn verify_in_use(engine: &Engine, name: &str) -> Result<(), EngineError> {
    let source = engine.source(name)?;
    match verify_through(engine, name, &*source, true).await {
        Err(EngineError::Ledger(_) | EngineError::Refused { .. }) => source.leave_connections(),
        verified => verified?,
    }
    verify(engine, name).await
}

async fn verify_through(engine: &Engine, name: &str, source: &dyn Source, in_use: bool) -> Result<(), EngineError> {
    let eye = if in_use { Eye::InUse(source) } else { Eye::Source(source) };
    let Some((known, seen)) = settled(engine, name, eye).await? else {
        // Before its first sight only another ledger's mark is in the way.
        return Ok(refuse_first(engine, name, &see(source).await?)?);
    };
    let addresses = sources::addresses(engine.ledger.db(), name).await?;
    let Err(elsewhere) = sources::refuse_elsewhere(&known, &addresses, &seen) else { return Ok(()) };
    for address in &addresses {
        if source.is_at(address).await? {
            let txn = engine.ledger.begin().await?;
            sources::add_address(&txn, &engine.worker, name, &seen).await?;
            txn.commit().await?;
            return Ok(());
        }
    }
    Err(elsewhere.into())
}

/// Refuses to go on with a session that counts in another database than the registered one.
pub(crate) async fn confirm(engine: &Engine, name: &str, prover: &mut dyn Prover) -> Result<(), EngineError> {
    let source = engine.source(name)?;
    match settled(engine, name, Eye::Session(&*source, prover)).await? {
        Some((_, Seen { mark: Some(_), .. })) => Ok(()),
        _ => Err(EngineError::refused("source_is_older", format!("source `{name}` is not marked as this ledger's"))),
    }
}

/// What the ledger knows and what is seen, once they fit together; an error where they do not and neither moves any
/// more: another process may change the mark between the two looks. None: the source is not registered.
async fn settled(engine: &Engine, name: &str, mut eye: Eye<'_>) -> Result<Option<(rows::Model, Seen)>, EngineError> {
    let db = engine.ledger.db();
    let mut known = sources::find(db, name).await?;
    for _ in 0..TRIES {
        let Some(before) = known else { return Ok(None) };
        let seen = eye.see().await?;
        let Err(refused) = sources::refuse_another(&before, &seen, &engine.me) else { return Ok(Some((before, seen))) };
        known = sources::find(db, name).await?;
        if known.as_ref() == Some(&before) {
            return Err(refused.into());
        }
    }
    Err(busy(name))
}

fn busy(name: &str) -> EngineError {
    EngineError::refused("source_conflict", format!("other processes change the mark of source `{name}` all the time"))
}

fn refuse_first(engine: &Engine, name: &str, seen: &Seen) -> Result<(), LedgerError> {
    let unknown = rows::Model {
        name: name.to_owned(),
        identity: seen.identity.clone(),
        registered_at: 0,
        nonce: None,
        next_nonce: None,
    };
    sources::refuse_another(&unknown, seen, &engine.me)
}

/// Registers a source at its first sight and marks it as this ledger's; later, verifies it. `schema`: where the mark
/// goes, if there is a better place than any.
pub(crate) async fn register(engine: &Engine, name: &str, schema: Option<&str>) -> Result<(), EngineError> {
    let (db, source) = (engine.ledger.db(), engine.source(name)?);
    let known = sources::find(db, name).await?;
    if known.as_ref().is_some_and(|known| known.nonce.is_some()) {
        return verify(engine, name).await;
    }
    let seen = see(&*source).await?;
    if known.is_none() {
        refuse_first(engine, name, &seen)?;
        let txn = engine.ledger.begin().await?;
        sources::register_if_unknown(&txn, &engine.worker, name, &seen).await?;
        txn.commit().await?;
    }
    let Some(nonce) = sources::begin_change(db, name).await? else { return verify(engine, name).await };
    let to = Mark { nonce, ..engine.me.clone() };
    if source.mark(schema, &to, &|before| before.is_none_or(|before| *before == to)).await? {
        sources::end_change(db, name, &to.nonce).await?;
    }
    // Through url what was written through ddl_url, and by another process that was first.
    verify(engine, name).await
}

/// Changes the mark of a source: whatever was copied from it before is told from it afterwards.
pub(crate) async fn change(engine: &Engine, name: &str) -> Result<(), EngineError> {
    let (db, source) = (engine.ledger.db(), engine.source(name)?);
    for _ in 0..TRIES {
        verify(engine, name).await?;
        let before = sources::find(db, name).await?.and_then(|known| known.nonce);
        let Some(nonce) = sources::begin_change(db, name).await? else { continue };
        let to = Mark { nonce, ..engine.me.clone() };
        let ours = |mark: &Mark| (&mark.ledger, &mark.place) == (&to.ledger, &to.place);
        let fits = |mark: &Mark| ours(mark) && (mark.nonce == to.nonce || Some(&mark.nonce) == before.as_ref());
        if source.mark(None, &to, &|mark| mark.is_some_and(fits)).await? {
            sources::end_change(db, name, &to.nonce).await?;
            return Ok(());
        }
    }
    Err(busy(name))
}

/// The same of every source that a proof must cover.
pub(crate) async fn change_all<'a>(
    engine: &Engine,
    names: impl IntoIterator<Item = &'a String>,
) -> Result<(), EngineError> {
    for name in names {
        change(engine, name).await?;
    }
    Ok(())
}

/// Takes what a source's name leads to now for the source, on the word of a person.
pub(crate) async fn accept(engine: &Engine, actor: &str, name: &str) -> Result<(), EngineError> {
    let source = engine.source(name)?;
    if let Some(key) = engine.keyring.lost().await?.first() {
        return Err(EngineError::refused(
            "keys_to_recover",
            format!("the key backup has keys that the ledger does not know ({key} …): run `reseal keys recover` first"),
        ));
    }
    let seen = see(&*source).await?;
    let txn = engine.ledger.begin().await?;
    let nonce = sources::accept(&txn, actor, name, &seen).await?;
    txn.commit().await?;
    let to = Mark { nonce, ..engine.me.clone() };
    source.mark(None, &to, &|_| true).await?;
    sources::end_change(engine.ledger.db(), name, &to.nonce).await?;
    verify(engine, name).await
}
