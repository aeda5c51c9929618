//! The dispatch leader writes down how far a rotation is.

use crate::{on_every_database, site::Site};
use reseal_entities::samples;
use reseal_tests::eventually;
use sea_orm::{DbBackend, EntityTrait, QueryOrder};
use std::time::Duration;

const SOON: Duration = Duration::from_secs(60);

/// Dispatch, until a sample says so many rows.
async fn sampled(site: &Site, rows_done: i64) -> Vec<samples::Model> {
    eventually(SOON, "the next ten seconds have begun", async || {
        site.dispatch().await;
        let found = samples::Entity::find().order_by_asc(samples::Column::At);
        let found = found.all(site.engine.ledger.db()).await.unwrap();
        found.last().is_some_and(|s| s.rows_done == rows_done).then_some(found)
    })
    .await
}

async fn the_leader_samples_every_ten_seconds_and_clears_away_what_is_old(backend: DbBackend) {
    let site = Site::new(backend).await;
    site.seed(200).await;
    let id = site.request().await;
    site.ledger_sql(&format!("INSERT INTO reseal_samples VALUES ({id}, 10000, 1)")).await;
    let first = site.drive(id, |s| s.rows_done > 0).await.rows_done;
    sampled(&site, first).await;
    let more = site.drive(id, |s| s.rows_done > first).await.rows_done;
    let all = sampled(&site, more).await;
    assert!(all[0].at > 10_000, "the old one is gone: {all:?}");
    assert!(all.iter().any(|s| s.rows_done == first), "{all:?}");
    assert!(all[0].at < all[all.len() - 1].at && all.iter().all(|s| s.at % 10_000 == 0), "{all:?}");
}

on_every_database!(the_leader_samples_every_ten_seconds_and_clears_away_what_is_old);
