//! Sessions: recognised by their secret alone, no longer than they are used, than half a day, and than their token.

use reseal_entities::{
    audit,
    ledger::{
        self, Ledger,
        sessions::{self, ABSOLUTE_MS, IDLE_MS, Refusal},
        tokens::{self, New},
    },
    sessions as rows,
    tokens::{Model as Token, Role},
};
use sea_orm::{EntityTrait, PaginatorTrait};

use crate::ground::{alone, for_each_ledger, run};

async fn token(ledger: &Ledger) -> Token {
    let new = New { name: Some("ada".into()), role: Role::Operator, expires_in_ms: None, requests_per_second: None };
    alone(ledger, async |txn| tokens::create(txn, "root", &new).await).await.unwrap().0
}

async fn open(ledger: &Ledger, token: &Token) -> (rows::Model, String) {
    alone(ledger, async |txn| sessions::open(txn, token).await).await.unwrap()
}

async fn close(ledger: &Ledger, id: i64) -> bool {
    alone(ledger, async |txn| sessions::close_if_open(txn, id).await).await.unwrap()
}

/// Its session and its token's name.
async fn said_of(ledger: &Ledger, presented: &str) -> Result<(i64, String), Refusal> {
    let known = sessions::authenticate(ledger.db(), presented).await.unwrap();
    known.map(|(session, token)| (session.id, token.name))
}

async fn set(ledger: &Ledger, id: i64, what: String) {
    assert_eq!(run(ledger.db(), format!("UPDATE reseal_sessions SET {what} WHERE id = {id}")).await, 1);
}

async fn row(ledger: &Ledger, id: i64) -> Option<rows::Model> {
    rows::Entity::find_by_id(id).one(ledger.db()).await.unwrap()
}

async fn now(ledger: &Ledger) -> i64 {
    ledger::now_ms(ledger.db()).await.unwrap()
}

#[test]
fn a_session_is_recognised_by_its_secret_and_by_nothing_else() {
    for_each_ledger(async |ledger| {
        let token = token(&ledger).await;
        let (session, presented) = open(&ledger, &token).await;
        let (other, others) = open(&ledger, &token).await;
        let (id, secret) = (session.id, presented.rsplit('_').next().unwrap());
        assert_eq!(presented, format!("{id}_{secret}"));
        assert_eq!((secret.len(), hex::decode(secret).unwrap().len()), (64, 32));
        assert_eq!(said_of(&ledger, &presented).await, Ok((id, "ada".into())));
        assert_eq!(said_of(&ledger, &others).await, Ok((other.id, "ada".into())));
        let last = if secret.ends_with('0') { '1' } else { '0' };
        let wrong = [
            String::new(),
            "_".into(),
            secret.into(),
            format!("{id}"),
            format!("{id}_"),
            format!("{id}_{}", &secret[1..]),
            format!("{id}_{}{last}", &secret[..63]),
            format!("{id}_{}", secret.to_uppercase()),
            format!("{id}_{secret} "),
            format!("{id}_{secret}{}", "0".repeat(64)),
            format!("{}_{secret}", other.id),
            format!("{}_{secret}", 99),
            format!("0{id}_{secret}"),
            format!("+{id}_{secret}"),
            format!("{id}_{}", session.secret_hash),
            format!("reseal_{id}_{secret}"),
        ];
        for wrong in wrong {
            assert_eq!(said_of(&ledger, &wrong).await, Err(Refusal::Unknown), "{wrong}");
        }
        let as_token = tokens::authenticate(ledger.db(), &format!("reseal_{presented}")).await.unwrap();
        assert_eq!(as_token.unwrap_err(), tokens::Refusal::Unknown, "a session is no token");
    });
}

#[test]
fn a_session_that_is_not_used_ends_after_half_an_hour() {
    for_each_ledger(async |ledger| {
        let (session, presented) = open(&ledger, &token(&ledger).await).await;
        let (now, id) = (now(&ledger).await, session.id);
        set(&ledger, id, format!("seen_at = {}", now - IDLE_MS + 20_000)).await;
        assert!(said_of(&ledger, &presented).await.is_ok());
        assert!(sessions::is_usable(ledger.db(), id).await.unwrap());
        set(&ledger, id, format!("seen_at = {}", now - IDLE_MS)).await;
        assert_eq!(said_of(&ledger, &presented).await, Err(Refusal::Idle));
        assert!(!sessions::is_usable(ledger.db(), id).await.unwrap());
    });
}

#[test]
fn a_session_ends_after_half_a_day_however_busy() {
    for_each_ledger(async |ledger| {
        let (session, presented) = open(&ledger, &token(&ledger).await).await;
        assert_eq!(session.expires_at, session.opened_at + ABSOLUTE_MS);
        set(&ledger, session.id, format!("expires_at = {}", now(&ledger).await + 20_000)).await;
        assert!(said_of(&ledger, &presented).await.is_ok());
        set(&ledger, session.id, format!("expires_at = {}", now(&ledger).await)).await;
        assert_eq!(said_of(&ledger, &presented).await, Err(Refusal::Old));
        assert!(!sessions::is_usable(ledger.db(), session.id).await.unwrap());
    });
}

#[test]
fn a_session_ends_with_its_token() {
    for_each_ledger(async |ledger| {
        let token = token(&ledger).await;
        let (session, presented) = open(&ledger, &token).await;
        run(ledger.db(), format!("UPDATE reseal_tokens SET expires_at = {}", now(&ledger).await)).await;
        assert_eq!(said_of(&ledger, &presented).await, Err(Refusal::Token(tokens::Refusal::Expired)));
        assert!(!sessions::is_usable(ledger.db(), session.id).await.unwrap());
        run(ledger.db(), "UPDATE reseal_tokens SET expires_at = NULL").await;
        assert!(said_of(&ledger, &presented).await.is_ok());
        alone(&ledger, async |txn| tokens::revoke(txn, "root", token.id).await).await.unwrap();
        assert_eq!(said_of(&ledger, &presented).await, Err(Refusal::Token(tokens::Refusal::Revoked)));
        assert!(!sessions::is_usable(ledger.db(), session.id).await.unwrap());
    });
}

#[test]
fn a_session_that_is_closed_stays_closed_and_closing_again_changes_nothing() {
    for_each_ledger(async |ledger| {
        let token = token(&ledger).await;
        let ((session, presented), (_, others)) = (open(&ledger, &token).await, open(&ledger, &token).await);
        assert!(close(&ledger, session.id).await);
        assert_eq!(said_of(&ledger, &presented).await, Err(Refusal::Closed));
        assert!(!sessions::is_usable(ledger.db(), session.id).await.unwrap());
        assert!(said_of(&ledger, &others).await.is_ok(), "another browser's");
        let entries = async || audit::Entity::find().count(ledger.db()).await.unwrap();
        let before = (row(&ledger, session.id).await, entries().await);
        assert!(!close(&ledger, session.id).await && !close(&ledger, 99).await);
        assert_eq!((row(&ledger, session.id).await, entries().await), before);
    });
}

#[test]
fn why_a_session_is_refused_is_told_only_to_who_has_its_secret() {
    for_each_ledger(async |ledger| {
        let (session, presented) = open(&ledger, &token(&ledger).await).await;
        close(&ledger, session.id).await;
        let guessed = format!("{}_{}", session.id, "0".repeat(64));
        assert_eq!(said_of(&ledger, &guessed).await, Err(Refusal::Unknown));
        assert_eq!(said_of(&ledger, &presented).await, Err(Refusal::Closed));
    });
}

#[test]
fn opening_one_forgets_those_that_are_over_and_no_others() {
    for_each_ledger(async |ledger| {
        let token = token(&ledger).await;
        let ((over, _), (open_still, presented)) = (open(&ledger, &token).await, open(&ledger, &token).await);
        set(&ledger, over.id, format!("expires_at = {}", now(&ledger).await)).await;
        assert!(row(&ledger, over.id).await.is_some());
        open(&ledger, &token).await;
        assert_eq!(row(&ledger, over.id).await, None);
        assert_eq!(said_of(&ledger, &presented).await, Ok((open_still.id, "ada".into())));
    });
}

#[test]
fn opening_and_closing_are_in_the_audit_and_neither_secret_nor_hash_is_there_or_in_a_log() {
    for_each_ledger(async |ledger| {
        let token = token(&ledger).await;
        let (session, presented) = open(&ledger, &token).await;
        close(&ledger, session.id).await;
        let entries = audit::Entity::find().all(ledger.db()).await.unwrap();
        let told: Vec<_> = entries.iter().map(|e| (e.actor.as_str(), e.action.as_str(), e.subject.clone())).collect();
        let subject = format!("token {}", token.id);
        let expected = [
            ("root", "token.created", subject.clone()),
            ("token ada", "session.opened", subject.clone()),
            ("token ada", "session.closed", subject),
        ];
        assert_eq!(told, expected);
        let said = format!("{entries:?} {session:?}");
        let secret = presented.rsplit('_').next().unwrap();
        assert!(!said.contains(secret) && !said.contains(&session.secret_hash), "{said}");
        assert_ne!(session.secret_hash, secret);
    });
}

#[test]
fn a_sessions_use_is_noted_once_a_minute() {
    for_each_ledger(async |ledger| {
        let (session, _) = open(&ledger, &token(&ledger).await).await;
        let seen = async || {
            sessions::note_use_if_stale(ledger.db(), session.id).await.unwrap();
            row(&ledger, session.id).await.unwrap().seen_at
        };
        assert_eq!(seen().await, session.opened_at);
        let now = now(&ledger).await;
        set(&ledger, session.id, format!("seen_at = {}", now - 30_000)).await;
        assert_eq!(seen().await, now - 30_000);
        set(&ledger, session.id, format!("seen_at = {}", now - 60_001)).await;
        assert!(seen().await >= now);
    });
}
