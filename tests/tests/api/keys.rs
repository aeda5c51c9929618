//! A key's age against its cryptoperiod and its encryptions against their limit: what the API and the pages say.

use crate::{
    site::{RULES, Site},
    visitor::Visitor,
};
use reqwest::Method;
use reseal_entities::{
    keys,
    ledger::{Ledger, keys as ledger_keys, now_ms},
    state::KeyState,
    tokens::Role,
};
use reseal_producer::http::Settings;
use reseal_tests::for_each_ledger;
use sea_orm::{ActiveModelTrait, ActiveValue::Set};
use serde_json::{Value, json};
use std::time::Duration;

const DAY_MS: i64 = 86_400_000;
const TEN_DAYS: Duration = Duration::from_secs(864_000);

/// A keyset of one key that is active since then.
async fn keyset(ledger: &Ledger, name: &str, key_id: i64, algorithm: &str, since: i64, encryptions: i64) {
    let db = ledger.db();
    ledger_keys::create_keyset(db, "ada", name).await.expect("a keyset");
    let row = keys::ActiveModel {
        key_id: Set(key_id),
        keyset: Set(name.to_owned()),
        version: Set(1),
        state: Set(KeyState::Active),
        generation: Set(1),
        algorithm: Set(algorithm.to_owned()),
        prefix: Set("tink".to_owned()),
        kek_id: Set("k".repeat(64)),
        wrapped_dek: Set(Some(vec![7; 60])),
        encryptions: Set(encryptions),
        created_at: Set(since),
        activated_at: Set(Some(since)),
        ..Default::default()
    };
    row.insert(db).await.expect("a key");
}

async fn site(ledger: &Ledger, cryptoperiod: Option<Duration>) -> Site {
    let settings = Settings { rules: RULES, on_loopback: true, tls: false, requests_per_second: 10_000, cryptoperiod };
    Site::with(ledger, settings, "127.0.0.1:0").await
}

async fn told(site: &Site, keyset: &str) -> Value {
    let path = format!("/v1/keys?keyset={keyset}");
    let answer = site.ask(Role::Viewer, Method::GET, &path).send().await.expect("an answer");
    answer.json::<Value>().await.expect("JSON")[0].clone()
}

async fn page(visitor: &Visitor, path: &str) -> String {
    visitor.ask(Method::GET, path).send().await.expect("an answer").text().await.expect("a page")
}

#[test]
fn a_key_tells_its_limits_and_null_where_there_is_none() {
    for_each_ledger(async |ledger| {
        keyset(&ledger, "aged", 71_001, "AES256_GCM", 1_700_000_000_000, 5).await;
        keyset(&ledger, "endless", 71_002, "XCHACHA20_POLY1305", 1_700_000_000_000, 5).await;
        let limited = site(&ledger, Some(TEN_DAYS)).await;
        let aged = told(&limited, "aged").await;
        assert_eq!((&aged["encryptions_max"], &aged["cryptoperiod_ms"]), (&json!(1_i64 << 31), &json!(10 * DAY_MS)));
        let times = [&aged["activated_at"], &aged["cryptoperiod_ends_at"]].map(|time| time.as_str().expect("a time"));
        assert_eq!(times, ["2023-11-14T22:13:20.000Z", "2023-11-24T22:13:20.000Z"]);
        assert_eq!(told(&limited, "endless").await["encryptions_max"], Value::Null);
    });
}

#[test]
fn pages_say_which_key_is_due_and_the_overview_says_it_to_a_person() {
    for_each_ledger(async |ledger| {
        let now = now_ms(ledger.db()).await.expect("the time");
        let days_ago = |days: i64| now - days * DAY_MS - DAY_MS / 2;
        keyset(&ledger, "old", 72_001, "AES256_GCM", days_ago(9), 12_345).await;
        keyset(&ledger, "worn", 72_002, "AES256_GCM", days_ago(1), 1 << 31).await;
        keyset(&ledger, "calm", 72_003, "AES256_GCM", days_ago(1), 5).await;
        let limited = site(&ledger, Some(TEN_DAYS)).await;
        let visitor = Visitor::signed_in(&limited, Role::Operator).await;
        let listed = page(&visitor, "/keys").await;
        for text in ["9 d of 10 d", "12,345 of 2,147,483,648, under 1 %", "soon due", "due: rotate"] {
            assert!(listed.contains(text), "{text} is not in {listed}");
        }
        let shown = page(&visitor, "/keys/72001").await;
        assert!(
            shown.contains("9 d of 10 d") && shown.contains("soon due") && !shown.contains("due: rotate"),
            "{shown}"
        );

        let overview = page(&visitor, "/").await;
        assert!(overview.contains("Age 9 d of 10 d."), "{overview}");
        assert!(overview.contains("Encryptions 2,147,483,648 of 2,147,483,648, 100 %"), "{overview}");
        assert!(overview.contains("/rotations/new?keyset=old") && overview.contains("/rotations/new?keyset=worn"));
        assert!(!overview.contains("/keys/72003"), "a calm key is nobody's concern: {overview}");
    });
}

#[test]
fn without_a_cryptoperiod_no_age_is_too_high() {
    for_each_ledger(async |ledger| {
        keyset(&ledger, "ancient", 73_001, "AES256_GCM", 1_000_000_000_000, 5).await;
        let unlimited = site(&ledger, None).await;
        let ancient = told(&unlimited, "ancient").await;
        let none = (&Value::Null, &Value::Null);
        assert_eq!((&ancient["cryptoperiod_ms"], &ancient["cryptoperiod_ends_at"]), none, "{ancient}");
        let visitor = Visitor::signed_in(&unlimited, Role::Operator).await;
        let overview = page(&visitor, "/").await;
        assert!(!overview.contains("/keys/73001"), "{overview}");
    });
}
