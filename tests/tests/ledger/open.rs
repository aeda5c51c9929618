//! Opening: one rotation of a keyset at a time, and the same request again finds the same one.

use std::{collections::BTreeSet, sync::Arc};

use reseal_entities::{
    key_limits::encryptions_max,
    ledger::{
        Ledger, LedgerError,
        keys::{ROTATED_TO, promote_if_held},
        open::{Opened, Request, find, lost_the_race, open_if_none_is},
    },
    rotations,
    state::{KeyState, RotationState},
};
use reseal_keyring::{Algorithm, Prefix};
use sea_orm::{EntityTrait, Iterable, PaginatorTrait};
use tokio::{sync::Barrier, task::JoinSet};

use crate::{
    ground::{alone, for_each_ledger, run, warm},
    rows::{World, key, key_for, keyset},
};

fn request(keyset: &str) -> Request {
    Request {
        keyset: keyset.to_owned(),
        to_key_id: None,
        actor: "ada".into(),
        reason: None,
        idempotency_key: None,
        clear_after_ms: 1_000,
        writer_ttl_ms: 0,
        batch_rows: 100,
        needs_approval: false,
        limits: Default::default(),
    }
}

/// As a producer opens: its own transaction, and who lost the race asks who won.
async fn open(ledger: &Ledger, request: &Request) -> Result<Opened, LedgerError> {
    match alone(ledger, async |txn| open_if_none_is(txn, request).await).await {
        Err(e) if lost_the_race(&e) => Ok(find(ledger.db(), request).await?.expect("somebody won")),
        opened => opened,
    }
}

fn id(opened: &Opened) -> i64 {
    match opened {
        Opened::Created(id) | Opened::Replayed(id) | Opened::AlreadyOpen(id) => *id,
    }
}

async fn refusal(ledger: &Ledger, request: &Request) -> &'static str {
    let before = rotations::Entity::find().count(ledger.db()).await.unwrap();
    let code = open(ledger, request).await.expect_err("refused").code();
    assert_eq!(rotations::Entity::find().count(ledger.db()).await.unwrap(), before);
    code
}

async fn rotatable(ledger: &Ledger) -> (String, i64) {
    let name = keyset(ledger.db()).await;
    let active = key(ledger.db(), &name, 1, KeyState::Active).await;
    (name, active)
}

async fn export(ledger: &Ledger, key_id: i64) {
    run(ledger.db(), format!("UPDATE reseal_keys SET exported_at = 1 WHERE key_id = {key_id}")).await;
}

#[test]
fn fifty_identical_requests_at_once_make_one_rotation() {
    for_each_ledger(async |ledger| {
        for idempotency_key in [None, Some("the same".to_owned())] {
            let (name, _) = rotatable(&ledger).await;
            let request = Request { idempotency_key, ..request(&name) };
            warm(&ledger).await;
            let (mut all, start) = (JoinSet::new(), Arc::new(Barrier::new(50)));
            for _ in 0..50 {
                let (ledger, request, start) = (ledger.clone(), request.clone(), Arc::clone(&start));
                all.spawn(async move {
                    start.wait().await;
                    open(&ledger, &request).await.unwrap()
                });
            }
            let answers = all.join_all().await;
            let ids: BTreeSet<i64> = answers.iter().map(id).collect();
            assert_eq!((answers.len(), ids.len()), (50, 1), "{answers:?}");
            assert_eq!(answers.iter().filter(|a| matches!(a, Opened::Created(_))).count(), 1, "{answers:?}");
        }
        assert_eq!(rotations::Entity::find().count(ledger.db()).await.unwrap(), 2);
    });
}

#[test]
fn an_idempotency_key_finds_its_rotation_also_after_it_ended() {
    for_each_ledger(async |ledger| {
        let (name, _) = rotatable(&ledger).await;
        let request = Request { idempotency_key: Some("k1".into()), ..request(&name) };
        let first = id(&open(&ledger, &request).await.unwrap());
        let end = format!("UPDATE reseal_rotations SET state = 'completed', open_keyset = NULL WHERE id = {first}");
        run(ledger.db(), end).await;

        assert_eq!(open(&ledger, &request).await.unwrap(), Opened::Replayed(first));
        let without = Request { idempotency_key: None, ..request.clone() };
        let second = open(&ledger, &without).await.unwrap();
        assert!(matches!(second, Opened::Created(second) if second != first), "{second:?}");
        // also while another one is open
        assert_eq!(open(&ledger, &request).await.unwrap(), Opened::Replayed(first));
    });
}

#[test]
fn an_idempotency_key_of_another_request_is_refused() {
    for_each_ledger(async |ledger| {
        let ((one, _), (two, _)) = (rotatable(&ledger).await, rotatable(&ledger).await);
        let other = key(ledger.db(), &one, 2, KeyState::PreActive).await;
        let request = |keyset, to_key_id| Request { to_key_id, idempotency_key: Some("k".into()), ..request(keyset) };
        open(&ledger, &request(&one, None)).await.unwrap();
        assert_eq!(refusal(&ledger, &request(&two, None)).await, "idempotency_key_reused");
        assert_eq!(refusal(&ledger, &request(&one, Some(other))).await, "idempotency_key_reused");
    });
}

#[test]
fn another_keyset_may_rotate_at_the_same_time_and_the_same_one_may_not() {
    for_each_ledger(async |ledger| {
        let ((one, _), (two, _)) = (rotatable(&ledger).await, rotatable(&ledger).await);
        let first = open(&ledger, &request(&one)).await.unwrap();
        let second = open(&ledger, &request(&two)).await.unwrap();
        assert!(matches!((&first, &second), (Opened::Created(_), Opened::Created(_))), "{first:?} {second:?}");
        let key = Request { idempotency_key: Some("new".into()), ..request(&one) };
        assert_eq!(open(&ledger, &key).await.unwrap(), Opened::AlreadyOpen(id(&first)));
    });
}

#[test]
fn a_rotation_keeps_its_keyset_until_it_has_ended() {
    for_each_ledger(async |ledger| {
        for state in RotationState::iter() {
            let w = World::at(ledger.db(), state).await;
            let opened = open(&ledger, &request(&w.keyset)).await.unwrap();
            if state.has_ended() {
                assert!(matches!(opened, Opened::Created(_)), "{opened:?}");
            } else {
                assert_eq!(opened, Opened::AlreadyOpen(w.id), "{state}");
            }
        }
    });
}

#[test]
fn an_unknown_keyset_is_refused() {
    for_each_ledger(async |ledger| {
        assert_eq!(refusal(&ledger, &request("nobody")).await, "unknown_keyset");
    });
}

#[test]
fn only_a_pre_active_key_of_the_keyset_can_be_rotated_to() {
    for_each_ledger(async |ledger| {
        let ((other, _), (name, active)) = (rotatable(&ledger).await, rotatable(&ledger).await);
        let to = |to_key_id| Request { to_key_id: Some(to_key_id), ..request(&name) };
        assert_eq!(refusal(&ledger, &to(active)).await, "key_not_pre_active");
        for (version, state) in [(2, KeyState::Deactivated), (3, KeyState::Suspended), (4, KeyState::Destroyed)] {
            let key_id = key(ledger.db(), &name, version, state).await;
            assert_eq!(refusal(&ledger, &to(key_id)).await, "key_not_pre_active", "{state}");
        }
        let elsewhere = key(ledger.db(), &other, 2, KeyState::PreActive).await;
        assert_eq!(refusal(&ledger, &to(elsewhere)).await, "unknown_key");
        assert_eq!(refusal(&ledger, &to(5)).await, "unknown_key");

        let pre_active = key(ledger.db(), &name, 5, KeyState::PreActive).await;
        let opened = open(&ledger, &to(pre_active)).await.unwrap();
        let row = rotations::Entity::find_by_id(id(&opened)).one(ledger.db()).await.unwrap().unwrap();
        assert_eq!(row.to_key_id, Some(pre_active));
    });
}

#[test]
fn only_a_native_key_of_a_target_algorithm_is_rotated_to_and_promoted() {
    for_each_ledger(async |ledger| {
        let mut targets = Vec::new();
        for (algorithm, prefix) in Algorithm::ALL.iter().flat_map(|a| Prefix::ALL.iter().map(move |p| (a, p))) {
            let (name, _) = rotatable(&ledger).await;
            let kind = (algorithm.as_str(), prefix.as_str());
            let to = key_for(ledger.db(), &name, 2, KeyState::PreActive, kind).await;
            let request = Request { to_key_id: Some(to), ..request(&name) };
            let w = World::at(ledger.db(), RotationState::Planning).await;
            let new = key_for(ledger.db(), &w.keyset, 3, KeyState::PreActive, kind).await;
            let r = rotations::Entity::find_by_id(w.id).one(ledger.db()).await.unwrap().unwrap();
            let promoted = alone(&ledger, async |txn| promote_if_held(txn, "w", &r, new).await).await;

            if *prefix == Prefix::Tink && algorithm.may_be_rotated_to() {
                assert!(matches!(open(&ledger, &request).await.unwrap(), Opened::Created(_)), "{kind:?}");
                promoted.unwrap();
                targets.push(algorithm.as_str());
                continue;
            }
            let code = if *prefix == Prefix::Raw { "key_is_raw" } else { "key_algorithm_not_target" };
            assert_eq!(refusal(&ledger, &request).await, code, "{kind:?}");
            assert_eq!(promoted.unwrap_err().code(), code, "{kind:?}");
        }
        assert_eq!(targets, ROTATED_TO);
    });
}

#[test]
fn encryptions_are_limited_under_every_algorithm_but_the_one_with_long_nonces() {
    for algorithm in Algorithm::ALL {
        let most = (*algorithm != Algorithm::XChaCha20Poly1305).then_some(1 << 31);
        assert_eq!(encryptions_max(algorithm.as_str()), most, "{algorithm}");
    }
    assert_eq!(encryptions_max("OF_A_NEWER_VERSION"), Some(1 << 31));
}

#[test]
fn an_exported_keyset_is_published_before_it_is_promoted() {
    for_each_ledger(async |ledger| {
        let (name, active) = rotatable(&ledger).await;
        let next = key(ledger.db(), &name, 2, KeyState::PreActive).await;
        let to = Request { to_key_id: Some(next), ..request(&name) };
        export(&ledger, active).await;
        assert_eq!(refusal(&ledger, &request(&name)).await, "publish_before_promoting");
        assert_eq!(refusal(&ledger, &to).await, "publish_before_promoting");

        export(&ledger, next).await;
        assert_eq!(refusal(&ledger, &request(&name)).await, "publish_before_promoting");
        assert!(matches!(open(&ledger, &to).await.unwrap(), Opened::Created(_)));
    });
}

#[test]
fn an_export_that_holds_only_destroyed_keys_binds_nobody() {
    for_each_ledger(async |ledger| {
        let (name, _) = rotatable(&ledger).await;
        let gone = key(ledger.db(), &name, 2, KeyState::Destroyed).await;
        export(&ledger, gone).await;
        assert!(matches!(open(&ledger, &request(&name)).await.unwrap(), Opened::Created(_)));
    });
}
