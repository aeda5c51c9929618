//! Writes messages, profiles and drafts; each with its shadow

use std::{
    collections::BTreeMap,
    sync::{Arc, atomic::Ordering::Relaxed},
    time::Duration,
};

use reseal_storage::{StorageError, Text};
use sea_orm::{ActiveValue::Set, DatabaseTransaction};
use uuid::Uuid;

use crate::{
    App,
    tables::{DRAFT, Message, Messages, drafts, forget, hash, hash_of, keep},
};

const MESSAGES_MAX: usize = 400;
const PAUSE: Duration = Duration::from_millis(3);

/// What this instance has written and not deleted: hashes by table and id.
type Mine = BTreeMap<(&'static str, String), String>;

pub(crate) async fn run(app: Arc<App>, stale: bool) {
    let (mut mine, mut ids) = (Mine::new(), Vec::new());
    let profile = Uuid::new_v4();
    for n in 0u32.. {
        if !app.goes_on() {
            break;
        }
        let written = match n % 8 {
            // A straggler does not read, or it would learn of the new key by that.
            0 | 1 if ids.len() < MESSAGES_MAX => send(&app, &mut mine, &mut ids, n).await,
            2 if !stale && ids.len() > 50 => delete(&app, &mut mine, &mut ids).await,
            3 => save_profile(&app, &mut mine, profile, n).await,
            4 => draft(&app, &mut mine, n).await,
            5 if !stale => renumber(&app, &mut mine, n).await,
            _ => edit(&app, &mut mine, &ids, n).await,
        };
        match written {
            Ok(()) => drop(app.tally.writes.fetch_add(1, Relaxed)),
            Err(error) => app.failed(&app.tally.failed_writes, "a write failed", &error),
        }
        tokio::time::sleep(PAUSE).await;
    }
    compare(&app, &mine).await;
}

fn message(app: &App, n: u32) -> Message {
    Message { from: app.name.clone(), text: format!("message {n} {}", "x".repeat((n * 37 % 200) as usize)) }
}

async fn send(app: &App, mine: &mut Mine, ids: &mut Vec<i64>, n: u32) -> Result<(), StorageError> {
    let message = message(app, n);
    let sha = hash_of(&message);
    let id = app.storage.transaction(&app.db, async |txn| {
        let id = app.storage.messages::<Messages>().send(txn, &message).await?;
        keep(txn, "messages", &id.to_string(), &sha).await?;
        Ok::<_, StorageError>(id)
    });
    let id = id.await?;
    ids.push(id);
    mine.insert(("messages", id.to_string()), sha);
    Ok(())
}

async fn edit(app: &App, mine: &mut Mine, ids: &[i64], n: u32) -> Result<(), StorageError> {
    let Some(id) = ids.get(n as usize % ids.len().max(1)).copied() else { return Ok(()) };
    let message = message(app, n);
    let sha = hash_of(&message);
    let edited = app.storage.transaction(&app.db, async |txn| {
        keep(txn, "messages", &id.to_string(), &sha).await?;
        app.storage.messages::<Messages>().edit(txn, id, &message).await
    });
    if edited.await? {
        mine.insert(("messages", id.to_string()), sha);
    } else {
        app.failed(&app.tally.lost, "a message that was sent is gone", &id);
    }
    Ok(())
}

async fn delete(app: &App, mine: &mut Mine, ids: &mut Vec<i64>) -> Result<(), StorageError> {
    let id = ids[0];
    let deleted = app.storage.transaction(&app.db, async |txn| {
        forget(txn, "messages", &id.to_string()).await?;
        app.storage.messages::<Messages>().delete(txn, id).await
    });
    if !deleted.await? {
        app.failed(&app.tally.lost, "a message that was sent is gone", &id);
    }
    ids.remove(0);
    mine.remove(&("messages", id.to_string()));
    Ok(())
}

async fn save_profile(app: &App, mine: &mut Mine, id: Uuid, n: u32) -> Result<(), StorageError> {
    let text = format!("{} is on line {n}", app.name);
    let sha = hash(&text);
    let saved = app.storage.transaction(&app.db, async |txn| {
        keep(txn, "user_profiles", &id.to_string(), &sha).await?;
        app.storage.user_profiles::<Text>().save(txn, id, &text).await
    });
    saved.await?;
    mine.insert(("user_profiles", id.to_string()), sha);
    Ok(())
}

async fn draft(app: &App, mine: &mut Mine, n: u32) -> Result<(), StorageError> {
    let (author, number) = (app.name.clone(), i32::try_from(n % 64).unwrap_or(0));
    let (text, id) = (format!("draft {n}"), format!("{author}:{number}"));
    let sha = hash(&text);
    let saved = app.storage.transaction(&app.db, async |txn: &DatabaseTransaction| {
        keep(txn, "drafts", &id, &sha).await?;
        let row = drafts::ActiveModel { author: Set(author.clone()), number: Set(number), ..Default::default() };
        app.storage.save(txn, DRAFT, row, &text).await
    });
    saved.await?;
    mine.insert(("drafts", id), sha);
    Ok(())
}

/// Gives a draft another number: its value is bound to it.
async fn renumber(app: &App, mine: &mut Mine, n: u32) -> Result<(), StorageError> {
    let old = i32::try_from((n - 1) % 64).unwrap_or(0);
    let new = 1_000 + i32::try_from(n).unwrap_or(0);
    let [was, is] = [old, new].map(|number| format!("{}:{number}", app.name));
    let Some(sha) = mine.get(&("drafts", was.clone())).cloned() else { return Ok(()) };
    let moved = app.storage.transaction(&app.db, async |txn| {
        forget(txn, "drafts", &was).await?;
        keep(txn, "drafts", &is, &sha).await?;
        app.storage.rekey(txn, DRAFT, (app.name.clone(), old), (app.name.clone(), new)).await
    });
    if !moved.await? {
        app.failed(&app.tally.lost, "a draft is gone", &was);
    }
    mine.remove(&("drafts", was));
    mine.insert(("drafts", is), sha);
    Ok(())
}

/// What this instance has written is there, as it was written last.
async fn compare(app: &App, mine: &Mine) {
    for ((tbl, id), sha) in mine {
        let found = match *tbl {
            "messages" => {
                let read = app.storage.messages::<Messages>().read(&app.db, id.parse().unwrap_or(0)).await;
                read.map(|m| m.map(|m| hash_of(&m)))
            }
            "user_profiles" => {
                let read = app.storage.user_profiles::<Text>().load(&app.db, id.parse().unwrap_or_default()).await;
                read.map(|p| p.map(|p| hash(&p)))
            }
            _ => {
                let number = id.rsplit(':').next().and_then(|n| n.parse().ok()).unwrap_or(0);
                let read = app.storage.load(&app.db, DRAFT, (app.name.clone(), number)).await;
                read.map(|d| d.map(|d| hash(&d)))
            }
        };
        match found {
            Ok(Some(found)) if found == *sha => {}
            Ok(_) => app.failed(&app.tally.lost, "not as it was written", &format!("{tbl}:{id}")),
            Err(error) => app.failed(&app.tally.failed_reads, "a read failed", &error),
        }
    }
}
