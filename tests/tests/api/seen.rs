//! What a page was about when somebody pressed a button there: what has changed since is not decided with it.

use crate::{
    site::{Site, keyset},
    visitor::Visitor,
};
use reqwest::StatusCode;
use reseal_entities::{ledger::Ledger, rotations, tokens::Role};
use reseal_tests::for_each_ledger;
use sea_orm::{ConnectionTrait, EntityTrait};

async fn set(ledger: &Ledger, id: i64, what: &str) {
    let sql = format!("UPDATE reseal_rotations SET {what} WHERE id = {id}");
    ledger.db().execute_unprepared(&sql).await.expect("set");
}

async fn rotation(ledger: &Ledger, id: i64) -> rotations::Model {
    rotations::Entity::find_by_id(id).one(ledger.db()).await.expect("asked").expect("a rotation")
}

/// The value of a field that the rotation's page has.
async fn field(visitor: &Visitor, id: i64, name: &str) -> String {
    let page = visitor.get(&format!("/rotations/{id}")).await.text().await.expect("a page");
    let (_, rest) = page.split_once(&format!("name=\"{name}\" value=\"")).unwrap_or_else(|| panic!("{name}: {page}"));
    rest.split('"').next().expect("a value").to_owned()
}

/// The status, and whether the page says this code.
async fn sent(visitor: &Visitor, id: i64, what: &str, fields: &[(&str, &str)]) -> (StatusCode, String) {
    let answer = visitor.post(&format!("/rotations/{id}/{what}"), fields).await;
    (answer.status(), answer.text().await.expect("a page"))
}

#[test]
fn a_stale_page_approves_no_proof_that_it_did_not_show() {
    for_each_ledger(async |ledger| {
        let site = Site::over(&ledger).await;
        keyset(&ledger, "default").await;
        let id = site.rotate("default").await;
        let visitor = Visitor::signed_in(&site, Role::KeyAdmin).await;
        set(&ledger, id, "state = 'waiting', needs_approval = true, proved_at = 1000").await;
        let seen = field(&visitor, id, "proved_at").await;
        assert_eq!(seen, "1000");
        set(&ledger, id, "proved_at = 2000").await;
        for stale in [&[("proved_at", &*seen)][..], &[("proved_at", "")], &[]] {
            let (status, page) = sent(&visitor, id, "approve", stale).await;
            assert_eq!(status, StatusCode::CONFLICT, "{stale:?}");
            assert!(page.contains("was proved anew"), "{page}");
            assert_eq!(rotation(&ledger, id).await.approved_at, None);
        }
        let seen = field(&visitor, id, "proved_at").await;
        assert_eq!(sent(&visitor, id, "approve", &[("proved_at", &seen)]).await.0, StatusCode::SEE_OTHER);
        assert_eq!(rotation(&ledger, id).await.approved_by.as_deref(), Some("token key_admin"));
    });
}

#[test]
fn a_page_dismisses_no_hold_without_saying_which_one_it_showed() {
    for_each_ledger(async |ledger| {
        let site = Site::over(&ledger).await;
        keyset(&ledger, "default").await;
        let id = site.rotate("default").await;
        let visitor = Visitor::signed_in(&site, Role::KeyAdmin).await;
        set(&ledger, id, "state = 'waiting', proved_at = 1000, hold_at = 3000, hold_detail = 'used'").await;
        let reason = ("reason", "a forgotten cache");
        for (held_at, refused) in [(None, StatusCode::UNPROCESSABLE_ENTITY), (Some("2999"), StatusCode::CONFLICT)] {
            let fields: Vec<_> = [reason].into_iter().chain(held_at.map(|at| ("held_at", at))).collect();
            assert_eq!(sent(&visitor, id, "dismiss", &fields).await.0, refused, "{held_at:?}");
            assert_eq!(rotation(&ledger, id).await.hold_at, Some(3000));
        }
        let seen = field(&visitor, id, "held_at").await;
        assert_eq!(sent(&visitor, id, "dismiss", &[reason, ("held_at", &seen)]).await.0, StatusCode::SEE_OTHER);
        assert_eq!(rotation(&ledger, id).await.hold_at, None);
    });
}

#[test]
fn a_stale_page_lifts_no_limit_that_it_did_not_show() {
    for_each_ledger(async |ledger| {
        let site = Site::over(&ledger).await;
        keyset(&ledger, "default").await;
        let id = site.rotate("default").await;
        let visitor = Visitor::signed_in(&site, Role::Operator).await;
        let limits = async || {
            let r = rotation(&ledger, id).await;
            (r.limit_rows_per_second, r.limit_lanes, r.limit_batches)
        };
        let form = async |lanes: &str| {
            let mut fields =
                vec![("rows_per_second".to_owned(), String::new()), ("lanes".to_owned(), lanes.to_owned())];
            for name in ["seen_rows_per_second", "seen_lanes", "seen_batches"] {
                fields.push((name.to_owned(), field(&visitor, id, name).await));
            }
            fields
        };
        let send = async |fields: &[(String, String)]| {
            let fields: Vec<_> = fields.iter().map(|(name, value)| (&**name, &**value)).collect();
            sent(&visitor, id, "limits", &fields).await
        };
        let stale = form("3").await;
        set(&ledger, id, "limit_rows_per_second = 50").await;
        let (status, page) = send(&stale).await;
        assert_eq!(status, StatusCode::CONFLICT);
        assert!(page.contains("has limited rotation") && page.contains("name=\"rows_per_second\""), "{page}");
        assert!(page.contains("value=\"50\""), "it shows what is now: {page}");
        assert_eq!(limits().await, (Some(50), None, None));
        assert_eq!(send(&form("3").await).await.0, StatusCode::SEE_OTHER);
        assert_eq!(limits().await, (None, Some(3), None), "who has seen it may lift it");
    });
}

#[test]
fn a_stale_page_resumes_no_pause_that_it_did_not_show() {
    for_each_ledger(async |ledger| {
        let site = Site::over(&ledger).await;
        keyset(&ledger, "default").await;
        let id = site.rotate("default").await;
        let visitor = Visitor::signed_in(&site, Role::Operator).await;
        set(&ledger, id, "paused_at = 1000, paused_by = 'ada'").await;
        let seen = field(&visitor, id, "paused_at").await;
        set(&ledger, id, "paused_at = 2000, paused_by = 'bob'").await;
        for stale in [&[("paused_at", &*seen)][..], &[("paused_at", "")], &[]] {
            let (status, page) = sent(&visitor, id, "resume", stale).await;
            assert_eq!(status, StatusCode::CONFLICT, "{stale:?}");
            assert!(page.contains("was paused anew") && page.contains("Paused by bob"), "{page}");
            assert_eq!(rotation(&ledger, id).await.paused_at, Some(2000));
        }
        let seen = field(&visitor, id, "paused_at").await;
        assert_eq!(sent(&visitor, id, "resume", &[("paused_at", &seen)]).await.0, StatusCode::SEE_OTHER);
        assert_eq!(rotation(&ledger, id).await.paused_at, None);
    });
}
