//! Tokens: recognised by their secret alone, revoked for good, and each role's rights.

use reseal_entities::{
    audit,
    ledger::{
        Ledger, LedgerError,
        tokens::{self, New, Refusal},
    },
    tokens::{Model, Right, Role},
};
use sea_orm::{EntityTrait, Iterable};

use crate::ground::{alone, for_each_ledger, run};

fn new(name: &str) -> New {
    New { name: Some(name.into()), role: Role::Operator, expires_in_ms: None, requests_per_second: None }
}

async fn create(ledger: &Ledger, new: &New) -> Result<(Model, String), LedgerError> {
    alone(ledger, async |txn| tokens::create(txn, "ada", new).await).await
}

async fn made(ledger: &Ledger, name: &str) -> (Model, String) {
    create(ledger, &new(name)).await.unwrap()
}

async fn revoke(ledger: &Ledger, actor: &str, id: i64) -> Result<bool, LedgerError> {
    alone(ledger, async |txn| tokens::revoke(txn, actor, id).await).await
}

async fn said_of(ledger: &Ledger, presented: &str) -> Result<i64, Refusal> {
    tokens::authenticate(ledger.db(), presented).await.unwrap().map(|token| token.id)
}

async fn set(ledger: &Ledger, id: i64, what: String) {
    assert_eq!(run(ledger.db(), format!("UPDATE reseal_tokens SET {what} WHERE id = {id}")).await, 1);
}

async fn actions(ledger: &Ledger) -> Vec<(String, String)> {
    let entries = audit::Entity::find().all(ledger.db()).await.unwrap();
    entries.into_iter().map(|e| (e.action, format!("{} {} {}", e.subject, e.before, e.after))).collect()
}

#[test]
fn a_token_is_recognised_by_its_secret_and_by_nothing_else() {
    for_each_ledger(async |ledger| {
        let (token, presented) = made(&ledger, "billing").await;
        let (other, others) = made(&ledger, "search").await;
        let (id, secret) = (token.id, presented.rsplit('_').next().unwrap());
        assert_eq!(presented, format!("reseal_{id}_{secret}"));
        assert_eq!((secret.len(), hex::decode(secret).unwrap().len()), (64, 32));
        assert_eq!(said_of(&ledger, &presented).await, Ok(id));
        assert_eq!(said_of(&ledger, &others).await, Ok(other.id));
        let last = if secret.ends_with('0') { '1' } else { '0' };
        let wrong = [
            String::new(),
            "reseal_".into(),
            secret.into(),
            format!("reseal_{id}"),
            format!("reseal_{id}_"),
            format!("reseal_{id}_{}", &secret[1..]),
            format!("reseal_{id}_{}{last}", &secret[..63]),
            format!("reseal_{id}_{}", secret.to_uppercase()),
            format!("reseal_{id}_{secret} "),
            format!("reseal_{id}_{secret}{}", "0".repeat(64)),
            format!("reseal_{}_{secret}", other.id),
            format!("reseal_{}_{secret}", 99),
            format!("reseal_0{id}_{secret}"),
            format!("reseal_+{id}_{secret}"),
            format!("reseal_{id}_{}", token.secret_hash),
            format!("Reseal_{id}_{secret}"),
        ];
        for wrong in wrong {
            assert_eq!(said_of(&ledger, &wrong).await, Err(Refusal::Unknown), "{wrong}");
        }
    });
}

#[test]
fn that_a_token_is_revoked_or_expired_is_told_only_to_who_has_its_secret() {
    for_each_ledger(async |ledger| {
        let (token, presented) = made(&ledger, "billing").await;
        let guessed = format!("reseal_{}_{}", token.id, "0".repeat(64));
        let lasting = New { expires_in_ms: Some(3_600_000), ..new("search") };
        let (lasting, lasts) = create(&ledger, &lasting).await.unwrap();
        assert_eq!(lasting.expires_at, Some(lasting.created_at + 3_600_000));
        assert_eq!(said_of(&ledger, &lasts).await, Ok(lasting.id));

        set(&ledger, token.id, format!("expires_at = {}", token.created_at)).await;
        assert_eq!(said_of(&ledger, &presented).await, Err(Refusal::Expired));
        assert_eq!(said_of(&ledger, &guessed).await, Err(Refusal::Unknown));
        assert!(revoke(&ledger, "bob", token.id).await.unwrap());
        assert_eq!(said_of(&ledger, &presented).await, Err(Refusal::Revoked));
        assert_eq!(said_of(&ledger, &guessed).await, Err(Refusal::Unknown));
    });
}

#[test]
fn revoking_again_changes_nothing() {
    for_each_ledger(async |ledger| {
        let (token, _) = made(&ledger, "billing").await;
        assert!(revoke(&ledger, "bob", token.id).await.unwrap());
        let before = (tokens::list(ledger.db()).await.unwrap(), actions(&ledger).await);
        assert_eq!(before.0[0].revoked_by.as_deref(), Some("bob"));
        assert!(!revoke(&ledger, "eve", token.id).await.unwrap());
        assert_eq!((tokens::list(ledger.db()).await.unwrap(), actions(&ledger).await), before);
        assert_eq!(revoke(&ledger, "eve", 99).await.unwrap_err().code(), "unknown_token");
    });
}

#[test]
fn a_name_is_one_tokens_until_that_is_revoked() {
    for_each_ledger(async |ledger| {
        let (first, _) = made(&ledger, "billing").await;
        let before = (tokens::list(ledger.db()).await.unwrap(), actions(&ledger).await);
        assert_eq!(create(&ledger, &new("billing")).await.unwrap_err().code(), "name_taken");
        assert_eq!((tokens::list(ledger.db()).await.unwrap(), actions(&ledger).await), before);
        revoke(&ledger, "bob", first.id).await.unwrap();
        let (second, _) = made(&ledger, "billing").await;
        assert_ne!(first.id, second.id);
        // and one that was not named has a name of its own
        let unnamed = New { name: None, role: Role::KeyAdmin, ..new("") };
        let (one, other) = (create(&ledger, &unnamed).await.unwrap().0, create(&ledger, &unnamed).await.unwrap().0);
        assert!(one.name.starts_with("key_admin-") && one.name != other.name, "{} {}", one.name, other.name);
    });
}

#[test]
fn a_token_that_says_nothing_of_use_is_not_made() {
    for_each_ledger(async |ledger| {
        let long = "a".repeat(65);
        for name in ["", " ", "a b", "a\n", "ä", "a/b", &long] {
            assert_eq!(create(&ledger, &new(name)).await.unwrap_err().code(), "invalid_name", "{name:?}");
        }
        for limits in [(Some(0), None), (Some(-1), None), (None, Some(0)), (None, Some(-1))] {
            let (expires_in_ms, requests_per_second) = limits;
            let new = New { expires_in_ms, requests_per_second, ..new("billing") };
            assert_eq!(create(&ledger, &new).await.unwrap_err().code(), "invalid_limit", "{limits:?}");
        }
        assert_eq!((tokens::list(ledger.db()).await.unwrap().len(), actions(&ledger).await.len()), (0, 0));
        made(&ledger, &"a".repeat(64)).await;
        made(&ledger, "Ada-1_b.c@host").await;
    });
}

#[test]
fn making_and_revoking_are_in_the_audit_and_neither_secret_nor_hash_is_there_or_in_a_log() {
    for_each_ledger(async |ledger| {
        let (token, presented) = made(&ledger, "billing").await;
        revoke(&ledger, "bob", token.id).await.unwrap();
        let secret = presented.rsplit('_').next().unwrap();
        let entries = actions(&ledger).await;
        let names: Vec<_> = entries.iter().map(|(action, _)| action.as_str()).collect();
        assert_eq!(names, ["token.created", "token.revoked"]);
        let said = format!("{entries:?} {token:?}");
        assert!(said.contains("billing") && said.contains("operator"), "{said}");
        assert!(!said.contains(secret) && !said.contains(&token.secret_hash), "{said}");
        assert!(!format!("{:?}", tokens::list(ledger.db()).await.unwrap()).contains(secret));
        assert_ne!(token.secret_hash, secret);
    });
}

#[test]
fn a_use_is_noted_once_a_minute() {
    for_each_ledger(async |ledger| {
        let (token, _) = made(&ledger, "billing").await;
        let used = async || {
            tokens::note_use_if_stale(ledger.db(), token.id).await.unwrap();
            tokens::one(ledger.db(), token.id).await.unwrap().last_used_at
        };
        assert!(token.last_used_at.is_none() && used().await.is_some());
        let now = reseal_entities::ledger::now_ms(ledger.db()).await.unwrap();
        set(&ledger, token.id, format!("last_used_at = {}", now - 30_000)).await;
        assert_eq!(used().await, Some(now - 30_000));
        set(&ledger, token.id, format!("last_used_at = {}", now - 60_001)).await;
        assert!(used().await >= Some(now));
    });
}

#[test]
fn each_role_may_do_what_is_written_here_and_no_more() {
    use Right::*;
    let all: Vec<Right> = Right::iter().collect();
    let rights = [
        (Role::Viewer, vec![View]),
        (Role::Operator, vec![View, Operate]),
        (Role::KeyAdmin, vec![View, Keys]),
        (Role::App, vec![Encrypt]),
        (Role::Auditor, vec![View, Audit]),
        (Role::Admin, all.clone()),
    ];
    assert!(Role::iter().eq(rights.iter().map(|(role, _)| *role)));
    for (role, may) in rights {
        for right in &all {
            assert_eq!(role.may(*right), may.contains(right), "{role} {right:?}");
        }
    }
}
