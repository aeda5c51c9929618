//! What all streams of events share: one look into the ledger every half second, however many listen.

use super::tell;
use crate::api::{Change, Event};
use reseal_entities::{
    audit,
    ledger::{Ledger, LedgerError, pages, read},
};
use std::{
    collections::{BTreeMap, VecDeque},
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicUsize, Ordering::SeqCst},
    },
    time::Duration,
};
use tokio::sync::watch;

/// At most two updates a second.
const EVERY: Duration = Duration::from_millis(500);
const RECENT_MAX: usize = 1_000;

/// How everything stands, as the last look found it.
#[derive(Clone, Debug, Default)]
pub(super) struct Seen {
    /// The last change.
    pub(super) seq: i64,
    /// The last changes, in order, without a gap.
    pub(super) recent: VecDeque<Arc<Change>>,
    /// Rotations that are open, or ended since the last look; each rises with its changes.
    pub(super) rotations: BTreeMap<i64, (u64, Arc<Event>)>,
}

/// One look for all.
pub(super) struct Hub {
    ledger: Ledger,
    seen: watch::Sender<Arc<Seen>>,
    listeners: Arc<AtomicUsize>,
    looks: Arc<Mutex<bool>>,
}

/// One stream; nobody looks while there is none.
pub(super) struct Listener {
    pub(super) seen: watch::Receiver<Arc<Seen>>,
    listeners: Arc<AtomicUsize>,
}

impl Hub {
    pub(super) fn new(ledger: Ledger) -> Self {
        Self { ledger, seen: watch::Sender::default(), listeners: Arc::default(), looks: Arc::default() }
    }

    /// How many listen.
    pub(super) fn listeners(&self) -> usize {
        self.listeners.load(SeqCst)
    }

    /// Listens; the first one starts the looks.
    pub(super) fn listen(&self) -> Listener {
        self.listeners.fetch_add(1, SeqCst);
        let listener = Listener { seen: self.seen.subscribe(), listeners: self.listeners.clone() };
        let mut looks = self.looks.lock().unwrap_or_else(PoisonError::into_inner);
        if !*looks {
            *looks = true;
            // What was seen before nobody listened is not how it is now.
            let _ = self.seen.send_replace(Arc::default());
            tokio::spawn(look_on(self.ledger.clone(), self.seen.clone(), self.listeners.clone(), self.looks.clone()));
        }
        listener
    }
}

impl Drop for Listener {
    fn drop(&mut self) {
        self.listeners.fetch_sub(1, SeqCst);
    }
}

async fn look_on(ledger: Ledger, seen: watch::Sender<Arc<Seen>>, listeners: Arc<AtomicUsize>, looks: Arc<Mutex<bool>>) {
    loop {
        let before = seen.borrow().clone();
        match look(&ledger, &before).await {
            Ok(now) => {
                seen.send_if_modified(|before| {
                    let news = now.news_since(before);
                    if news {
                        *before = Arc::new(now);
                    }
                    news
                });
            }
            Err(e) => tracing::warn!("the ledger was not seen, streams of events stand still: {e}"),
        }
        {
            let mut looks = looks.lock().unwrap_or_else(PoisonError::into_inner);
            if listeners.load(SeqCst) == 0 {
                *looks = false;
                return;
            }
        }
        tokio::time::sleep(EVERY).await;
    }
}

/// Changes before rotations: a rotation that is newer than a change is right, one that is older is not.
async fn look(ledger: &Ledger, before: &Seen) -> Result<Seen, LedgerError> {
    let db = ledger.db();
    let mut now = before.clone();
    loop {
        // The first look only wants to know where the end is.
        let rows = match now.seq {
            0 => pages::audit(db, &pages::Audit::default(), None, 1).await?,
            seq => pages::audit_after(db, seq, 500).await?,
        };
        let full = rows.len() == 500;
        for row in rows {
            now.seq = row.seq;
            now.recent.push_back(Arc::new(change(row)));
        }
        while now.recent.len() > RECENT_MAX {
            now.recent.pop_front();
        }
        if !full {
            break;
        }
    }
    let open = pages::Rotations { open: Some(true), ..pages::Rotations::default() };
    let mut ids: Vec<i64> = pages::rotations(db, &open, None, 1_000).await?.iter().map(|r| r.id).collect();
    ids.extend(before.rotations.keys().filter(|id| !ids.contains(id)).copied().collect::<Vec<_>>());
    now.rotations.clear();
    for id in ids {
        let rotation = read::rotation(db, id).await?;
        let ended = rotation.completed_at.is_some();
        let event = Event::Rotation(Box::new(tell::rotation_detail(rotation, read::status(db, id).await?)));
        let (version, known) = before.rotations.get(&id).map_or((0, None), |(version, event)| (*version, Some(event)));
        match known {
            Some(known) if **known == event && ended => {}
            Some(known) if **known == event => drop(now.rotations.insert(id, (version, known.clone()))),
            _ => drop(now.rotations.insert(id, (version + 1, Arc::new(event)))),
        }
    }
    Ok(now)
}

impl Seen {
    fn news_since(&self, before: &Self) -> bool {
        let versions =
            |seen: &Self| seen.rotations.iter().map(|(id, (version, _))| (*id, *version)).collect::<Vec<_>>();
        self.seq != before.seq || versions(self) != versions(before)
    }
}

/// Without before and after: those ask for the right to read the audit.
pub(super) fn change(row: audit::Model) -> Change {
    Change { seq: row.seq, at: tell::time(row.at), actor: row.actor, action: row.action, subject: row.subject }
}
