//! How near an active key is to its two limits: how long it may encrypt, and how often.

use crate::{keys, state::KeyState};
use std::time::Duration;

/// Encryptions after which a key takes no further rotation, by its algorithm's word; none: random nonces never meet. What is
/// not known here is limited.
///
/// Half of NIST SP 800-38D's 2^32 for random 96-bit nonces, since applications' own encryptions are not all counted.
pub fn encryptions_max(algorithm: &str) -> Option<i64> {
    (algorithm != "XCHACHA20_POLY1305").then_some(1 << 31)
}

/// How urgent the next rotation is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Due {
    /// Less than 80 % of the limit is used.
    Calm,
    /// 80 % and more.
    Soon,
    /// All of it and more.
    Now,
}

impl Due {
    /// As people read it; calm is silent.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Calm => "",
            Self::Soon => "soon due",
            Self::Now => "due: rotate",
        }
    }
}

/// How much of a limit is used, in its own unit.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Used {
    /// So much, 0 and more.
    pub used: i64,
    /// The limit, 1 and more.
    pub most: i64,
}

impl Used {
    fn new(used: i64, most: i64) -> Self {
        Self { used: used.max(0), most: most.max(1) }
    }

    /// Rounded down, over 100 when it is over the limit.
    pub fn percent(self) -> i128 {
        i128::from(self.used) * 100 / i128::from(self.most)
    }

    /// What that means.
    pub fn due(self) -> Due {
        match self.percent() {
            ..80 => Due::Calm,
            80..100 => Due::Soon,
            _ => Due::Now,
        }
    }
}

/// A length of time as the ledger counts it.
pub fn milliseconds(time: Duration) -> i64 {
    i64::try_from(time.as_millis()).unwrap_or(i64::MAX)
}

impl keys::Model {
    /// When an active key has been active for its cryptoperiod.
    pub fn cryptoperiod_ends_at(&self, cryptoperiod: Option<Duration>) -> Option<i64> {
        let since = self.activated_at.filter(|_| self.state == KeyState::Active)?;
        cryptoperiod.map(|period| since.saturating_add(milliseconds(period)))
    }

    /// Milliseconds since an active key's activation, of its cryptoperiod. A clock that went back makes it new, not older.
    pub fn age_used(&self, cryptoperiod: Option<Duration>, now: i64) -> Option<Used> {
        let since = self.activated_at.filter(|_| self.state == KeyState::Active)?;
        cryptoperiod.map(|period| Used::new(now.saturating_sub(since), milliseconds(period)))
    }

    /// Encryptions under an active key, of those that its algorithm allows.
    pub fn encryptions_used(&self) -> Option<Used> {
        let most = encryptions_max(&self.algorithm).filter(|_| self.state == KeyState::Active);
        most.map(|most| Used::new(self.encryptions, most))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const PERIOD: Option<Duration> = Some(Duration::from_secs(1));

    fn key(state: KeyState, algorithm: &str, encryptions: i64) -> keys::Model {
        keys::Model {
            key_id: 1,
            keyset: "default".to_owned(),
            version: 1,
            state,
            generation: 1,
            algorithm: algorithm.to_owned(),
            prefix: "tink".to_owned(),
            kek_id: String::new(),
            wrapped_dek: None,
            encryptions,
            created_at: 0,
            activated_at: Some(5_000),
            deactivated_at: None,
            destroyed_at: None,
            exported_at: None,
            compromised_at: None,
            compromised_reason: None,
        }
    }

    #[test]
    fn a_key_is_soon_due_from_80_percent_and_due_from_100() {
        let key = key(KeyState::Active, "AES256_GCM", 0);
        let due = |age: i64| key.age_used(PERIOD, 5_000 + age).unwrap().due();
        assert_eq!([0, 799, 800, 999, 1_000, i64::MAX - 5_000].map(due), {
            [Due::Calm, Due::Calm, Due::Soon, Due::Soon, Due::Now, Due::Now]
        });
    }

    #[test]
    fn a_clock_that_went_back_makes_a_key_new() {
        let key = key(KeyState::Active, "AES256_GCM", 0);
        assert_eq!(key.age_used(PERIOD, 4_000), Some(Used { used: 0, most: 1_000 }));
        assert_eq!(key.age_used(PERIOD, i64::MIN).unwrap().due(), Due::Calm);
    }

    #[test]
    fn what_has_no_limit_is_never_due() {
        let key = key(KeyState::Active, "XCHACHA20_POLY1305", i64::MAX);
        assert_eq!((key.encryptions_used(), key.age_used(None, i64::MAX), key.cryptoperiod_ends_at(None)), {
            (None, None, None)
        });
    }

    #[test]
    fn only_a_key_that_encrypts_wears_out() {
        for state in [KeyState::PreActive, KeyState::Deactivated, KeyState::Suspended, KeyState::Destroyed] {
            let key = key(state, "AES256_GCM", 1 << 31);
            assert_eq!((key.encryptions_used(), key.age_used(PERIOD, 9_000), key.cryptoperiod_ends_at(PERIOD)), {
                (None, None, None)
            });
        }
        let active = key(KeyState::Active, "AES256_GCM", 1 << 31);
        assert_eq!(active.encryptions_used().unwrap().due(), Due::Now);
        assert_eq!(active.cryptoperiod_ends_at(PERIOD), Some(6_000));
    }
}
