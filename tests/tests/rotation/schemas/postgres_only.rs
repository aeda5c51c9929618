//! Tables as only PostgreSQL has them.

use super::*;
use crate::site::Postgres;

async fn partitioned() -> (Site, Vec<(i64, &'static str)>) {
    let site = Site::with(Postgres, false, |config| {
        let columns = vec![column("c", "events:{id}/{region}")];
        let events = Table { schema: Some("App Data".into()), ..keyed("Events", &["id", "region"], columns) };
        config.tables = vec![events];
    })
    .await;
    for sql in [
        "CREATE SCHEMA \"App Data\"",
        "CREATE TABLE \"App Data\".\"Events\" (id bigint, region text, c bytea, PRIMARY KEY (id, region)) PARTITION BY LIST (region)",
        "CREATE TABLE \"App Data\".eu PARTITION OF \"App Data\".\"Events\" FOR VALUES IN ('eu') PARTITION BY RANGE (id)",
        "CREATE TABLE eu_1 PARTITION OF \"App Data\".eu FOR VALUES FROM (0) TO (40)",
        "CREATE TABLE eu_2 PARTITION OF \"App Data\".eu FOR VALUES FROM (40) TO (1000)",
        "CREATE TABLE rest PARTITION OF \"App Data\".\"Events\" DEFAULT",
    ] {
        site.sql(sql).await;
    }
    let old = site.keyset("default").await;
    let mut rows = Vec::new();
    for id in 0..90_i64 {
        let region = ["eu", "us"][id as usize % 2];
        let cell = old.encrypt(b"event", format!("events:{id}/{region}").as_bytes());
        site.run(
            "INSERT INTO \"App Data\".\"Events\" VALUES ($1, $2, $3)",
            vec![id.into(), region.into(), cell.into()],
        )
        .await;
        rows.push((id, region));
    }
    (site, rows)
}

async fn all_current(site: &Site, rows: &[(i64, &str)]) {
    let new = site.keyset("default").await;
    for (id, region) in rows {
        let sql = "SELECT c FROM \"App Data\".\"Events\" WHERE id = $1 AND region = $2";
        let cell = site.stored(sql, vec![(*id).into(), (*region).into()]).await;
        assert!(cell.starts_with(&reseal_keyring::cell::header(new.active())), "{id}");
        assert_eq!(new.decrypt(&cell, format!("events:{id}/{region}").as_bytes()).unwrap()[..], *b"event");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_partitioned_table_is_rotated_and_fenced_with_partitions_that_come_later() {
    let (site, rows) = partitioned().await;
    let old = site.keyset("default").await;
    site.rotate().await;
    all_current(&site, &rows).await;
    site.sql("CREATE TABLE asia PARTITION OF \"App Data\".\"Events\" FOR VALUES IN ('asia')").await;
    for region in ["eu", "us", "asia"] {
        let late = vec![region.into(), Value::from(old.encrypt(b"late", b""))];
        let insert = "INSERT INTO \"App Data\".\"Events\" VALUES (777, $1, $2)";
        let refused = site.app.execute_raw(Statement::from_sql_and_values(Postgres, insert, late)).await.unwrap_err();
        assert!(refused.to_string().contains("reload the keyset"), "{region}: {refused}");
    }
    let status = site.rotate().await;
    assert_eq!(status.state, RotationState::Completed, "and rotated again");
    all_current(&site, &rows).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_fence_switched_off_on_one_partition_does_not_stand() {
    let (site, _) = partitioned().await;
    site.rotate().await;
    let stands = async || reseal_engine::operate::fences(&site.engine).await.unwrap().remove(0).state;
    assert!(stands().await.complete, "{:?}", stands().await);
    let trigger = site.app.query_one_raw(Statement::from_string(
        Postgres,
        "SELECT tgname::text FROM pg_trigger WHERE tgrelid = 'eu_2'::regclass AND tgname LIKE 'zz%'",
    ));
    let trigger: String = trigger.await.unwrap().unwrap().try_get_by_index(0).unwrap();
    site.sql(&format!("ALTER TABLE eu_2 DISABLE TRIGGER {trigger}")).await;
    let state = stands().await;
    assert!(!state.complete && state.detail.contains("partition"), "{state:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_partition_detached_in_the_middle_blocks_the_proof_by_name() {
    let (site, _) = partitioned().await;
    site.sql("ALTER TABLE \"App Data\".eu DETACH PARTITION eu_1").await;
    let id = site.request().await;
    let status = site.drive(id, |s| s.code.as_deref() == Some("proof_blocked")).await;
    assert!(status.detail.unwrap().contains("public.eu_1.c is not registered"));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_varchar_that_new_cells_would_not_fit_is_refused_before_a_key_is_made() {
    let site = Site::with(Postgres, false, |config| {
        let plain = Column { format: reseal_config::Format::Plaintext, ..encoded("a", Encoding::Base64, "") };
        config.tables = vec![table("words", vec![plain])];
    })
    .await;
    site.sql("CREATE TABLE words (id bigint PRIMARY KEY, a varchar(60))").await;
    site.sql("INSERT INTO words VALUES (1, '123456789012'), (2, 'ä')").await;
    let findings = check::check(&site.engine).await.unwrap();
    assert!(findings.can_rotate(), "12 bytes are 45 in a cell and 60 characters: {findings:#?}");
    site.sql("UPDATE words SET a = '1234567890123' WHERE id = 1").await;
    let findings = check::check(&site.engine).await.unwrap();
    assert!(findings.columns[0].problems[0].contains("make the column longer"), "{findings:#?}");
    let id = site.request().await;
    let status = site.drive(id, |s| s.code.is_some()).await;
    assert_eq!((status.code.as_deref(), status.new_key.is_none()), (Some("column_too_short"), true));
}
