//! Four keysets, and keys in every state; one has encrypted too much, and some are old.

use crate::words::Words;
use reseal_entities::{keys, keysets, state::KeyState};
use sea_orm::{ActiveModelTrait, ActiveValue::Set, ConnectionTrait};

const DAY: i64 = 86_400_000;

/// The keys by keyset, in the order of their versions.
pub(crate) struct Keys {
    pub(crate) going: [i64; 4],
    pub(crate) waiting: [i64; 2],
    pub(crate) ended: [i64; 2],
    pub(crate) stopped: [i64; 2],
}

const GOING: [KeyState; 4] = [KeyState::Destroyed, KeyState::Deactivated, KeyState::Active, KeyState::PreActive];

impl Keys {
    pub(crate) fn one_of_each(&self) -> Vec<(KeyState, i64)> {
        GOING.into_iter().zip(self.going).chain([(KeyState::Suspended, self.waiting[0])]).collect()
    }
}

pub(super) async fn make(db: &impl ConnectionTrait, words: &Words, now: i64) -> Keys {
    use KeyState::{Active, Deactivated, Destroyed, Suspended};
    let [going, waiting, ended, stopped] = words.keysets;
    let keys = Keys {
        going: keyset(db, going, 1_804_289_383, GOING, now).await,
        waiting: keyset(db, waiting, 846_930_886, [Suspended, Active], now).await,
        ended: keyset(db, ended, 1_681_692_777, [Destroyed, Active], now).await,
        stopped: keyset(db, stopped, 1_714_636_915, [Deactivated, Active], now).await,
    };
    let known_to_others = keys::ActiveModel {
        key_id: Set(keys.going[1]),
        compromised_at: Set(Some(now - DAY)),
        compromised_reason: Set(Some(words.reason.to_owned())),
        ..Default::default()
    };
    known_to_others.update(db).await.expect("marked");
    let worn_out = keys::ActiveModel { key_id: Set(keys.stopped[1]), encryptions: Set(1 << 31), ..Default::default() };
    worn_out.update(db).await.expect("worn out");
    keys
}

async fn keyset<const N: usize>(
    db: &impl ConnectionTrait,
    name: &str,
    first_id: i64,
    states: [KeyState; N],
    now: i64,
) -> [i64; N] {
    let row = keysets::ActiveModel { name: Set(name.to_owned()), created_at: Set(now - 400 * DAY) };
    row.insert(db).await.expect("a keyset");
    let mut ids = [0; N];
    for ((version, state), id) in (1..).zip(states).zip(&mut ids) {
        *id = first_id + i64::from(version) * 7_919;
        let born = now - 400 * DAY + i64::from(version) * 90 * DAY;
        let when = |came: bool, at: i64| came.then_some(at);
        let row = keys::ActiveModel {
            key_id: Set(*id),
            keyset: Set(name.to_owned()),
            version: Set(version),
            state: Set(state),
            generation: Set(i64::from(state != KeyState::PreActive)),
            algorithm: Set("AES256_GCM".to_owned()),
            prefix: Set("tink".to_owned()),
            kek_id: Set("c2356069e9d1e79ca924378153cfbbfb4d4416b1f99d41a2940bfdb66c5319db".to_owned()),
            wrapped_dek: Set((state != KeyState::Destroyed).then(|| vec![7; 60])),
            encryptions: Set(i64::from(version) * 1_204_113),
            created_at: Set(born),
            activated_at: Set(when(state != KeyState::PreActive, born + DAY)),
            deactivated_at: Set(when(!matches!(state, KeyState::PreActive | KeyState::Active), born + 80 * DAY)),
            destroyed_at: Set(when(state == KeyState::Destroyed, born + 88 * DAY)),
            exported_at: Set(when(version == 1, born)),
            ..Default::default()
        };
        row.insert(db).await.expect("a key");
    }
    ids
}
