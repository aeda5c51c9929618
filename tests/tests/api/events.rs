//! Events: as they happen, each once, also across connections.

use crate::site::{Site, keyset};
use reseal_entities::{
    ledger::{audit, pages, steps},
    tokens::Role,
};
use reseal_producer::{
    Events,
    api::{Event, Limits, Reason},
};
use reseal_tests::{eventually, for_each_ledger};
use std::time::Duration;

const PATIENCE: Duration = Duration::from_secs(60);

/// The next change that is seen.
async fn change(events: &mut Events) -> (i64, String) {
    loop {
        let next = tokio::time::timeout(PATIENCE, events.next()).await.expect("in time").expect("an event");
        if let Event::Change(change) = next {
            return (change.seq, change.action);
        }
    }
}

#[test]
fn a_client_that_comes_back_misses_no_change() {
    for_each_ledger(async |ledger| {
        let site = Site::over(&ledger).await;
        keyset(&ledger, "default").await;
        let id = site.rotate("default").await;
        let seq = pages::audit(ledger.db(), &pages::Audit::default(), None, 1).await.expect("the audit")[0].seq;
        let mut events = site.client(Role::Viewer).events(None, Some(seq));
        let client = site.client(Role::Operator);
        client.pause(id, &Reason::default()).await.expect("paused");
        assert_eq!(change(&mut events).await, (seq + 1, "rotation.paused".to_owned()));
        let last = events.last_event_id();
        drop(events);
        // Nobody listens: more than what is kept in memory, and a restart on top.
        for n in 0..1_200 {
            let txn = ledger.begin().await.expect("a transaction");
            match n % 2 {
                0 => drop(steps::resume(&txn, id, "ada").await.expect("resumed")),
                _ => drop(steps::pause(&txn, id, "ada", None).await.expect("paused")),
            }
            txn.commit().await.expect("committed");
        }
        let site = site.restart().await;
        let mut events = site.client(Role::Viewer).events(None, last);
        for n in 0..1_200 {
            assert_eq!(change(&mut events).await.0, seq + 2 + n);
        }
        // And while it listens, the server is restarted under it.
        let _site = site.restart().await;
        let txn = ledger.begin().await.expect("a transaction");
        steps::resume(&txn, id, "ada").await.expect("resumed");
        txn.commit().await.expect("committed");
        assert_eq!(change(&mut events).await, (seq + 1_202, "rotation.resumed".to_owned()));
        assert!(audit::verify(ledger.db()).await.expect("read").broken.is_none());
    });
}

#[test]
fn two_hundred_clients_see_the_same() {
    for_each_ledger(async |ledger| {
        let site = Site::over(&ledger).await;
        keyset(&ledger, "default").await;
        let id = site.rotate("default").await;
        let seq = pages::audit(ledger.db(), &pages::Audit::default(), None, 1).await.expect("the audit")[0].seq;
        let clients: Vec<_> = (0..200).map(|_| site.client(Role::Viewer).events(Some(id), Some(seq))).collect();
        let watching = clients.into_iter().map(|mut events| tokio::spawn(async move { change(&mut events).await }));
        let watching: Vec<_> = watching.collect();
        let metrics = async || {
            let text = site.anonymous(reqwest::Method::GET, "/metrics").send().await.ok()?.text().await.ok()?;
            text.contains("reseal_event_streams 200").then_some(())
        };
        eventually(PATIENCE, "two hundred streams", metrics).await;
        site.client(Role::Operator).pause(id, &Reason::default()).await.expect("paused");
        for watched in watching {
            assert_eq!(watched.await.expect("it saw it"), (seq + 1, "rotation.paused".to_owned()));
        }
    });
}

#[test]
fn a_stream_of_one_rotation_tells_how_it_stands_and_nothing_of_others() {
    for_each_ledger(async |ledger| {
        let site = Site::over(&ledger).await;
        for name in ["one", "two"] {
            keyset(&ledger, name).await;
        }
        let (one, two) = (site.rotate("one").await, site.rotate("two").await);
        let seq = pages::audit(ledger.db(), &pages::Audit::default(), None, 1).await.expect("the audit")[0].seq;
        // Pages of changes of the other one, then one of this.
        for n in 0..1_200 {
            let txn = ledger.begin().await.expect("a transaction");
            match n % 2 {
                0 => drop(steps::pause(&txn, two, "ada", None).await.expect("paused")),
                _ => drop(steps::resume(&txn, two, "ada").await.expect("resumed")),
            }
            txn.commit().await.expect("committed");
        }
        site.client(Role::Operator).limit(one, &Limits::default()).await.expect("limited");
        let mut late = site.client(Role::Viewer).events(Some(one), Some(seq));
        assert_eq!(change(&mut late).await, (seq + 1_201, "rotation.limited".to_owned()));
        drop(late);
        let mut events = site.client(Role::Viewer).events(Some(one), None);
        let client = site.client(Role::Operator);
        let mut paused = false;
        loop {
            match tokio::time::timeout(PATIENCE, events.next()).await.expect("in time").expect("an event") {
                Event::Rotation(rotation) => {
                    assert_eq!(rotation.rotation.id, one);
                    if rotation.rotation.paused_by.is_some() {
                        break;
                    }
                    if !paused {
                        client.pause(two, &Reason::default()).await.expect("paused");
                        client.pause(one, &Reason::default()).await.expect("paused");
                        paused = true;
                    }
                }
                Event::Change(change) => assert_eq!(change.subject, format!("rotation {one}")),
            }
        }
    });
}
