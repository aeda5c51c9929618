//! Guessing tokens: an address that fails too often is heard no more for a while.

use super::guard::too_many;
use governor::{DefaultKeyedRateLimiter, Quota, RateLimiter};
use reseal_http::Problem;
use sha2::{Digest, Sha256};
use std::{
    collections::{HashMap, HashSet},
    net::IpAddr,
    num::NonZeroU32,
    sync::{Mutex, PoisonError},
    time::{Duration, Instant},
};

/// Failed attempts that an address has at once; one comes back every six seconds.
const BURST: NonZeroU32 = NonZeroU32::new(20).unwrap();
const ONE_EVERY: Duration = Duration::from_secs(6);
const LOCKED: Duration = Duration::from_secs(60);
/// What is remembered is bounded; forgetting it costs a guesser nothing but the lock's rest.
const REMEMBERED_MAX: usize = 10_000;

/// Who has failed. A token that an address has used rightly is heard from there also while it is locked, so that a guesser
/// behind the same proxy does not lock the others out.
pub(super) struct Guesses {
    failures: DefaultKeyedRateLimiter<IpAddr>,
    known: Mutex<Known>,
}

#[derive(Default)]
struct Known {
    locked: HashMap<IpAddr, Instant>,
    good: HashSet<(IpAddr, [u8; 32])>,
}

impl Guesses {
    pub(super) fn new() -> Self {
        let quota = Quota::with_period(ONE_EVERY).map_or(Quota::per_minute(BURST), |quota| quota.allow_burst(BURST));
        Self { failures: RateLimiter::keyed(quota), known: Mutex::default() }
    }

    /// Before a token is looked at.
    pub(super) fn admit(&self, from: IpAddr, token: &str) -> Result<(), Problem> {
        let mut known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
        let Some(since) = known.locked.get(&from) else { return Ok(()) };
        let Some(left) = LOCKED.checked_sub(since.elapsed()).filter(|left| !left.is_zero()) else {
            known.locked.remove(&from);
            return Ok(());
        };
        if known.good.contains(&(from, hash(token))) {
            return Ok(());
        }
        Err(too_many(
            "too_many_failures",
            "too many tokens from this address were wrong".to_owned(),
            left.as_secs() + 1,
        ))
    }

    /// The token was wrong.
    pub(super) fn failed(&self, from: IpAddr) {
        if self.failures.check_key(&from).is_err() {
            let mut known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
            if known.locked.len() >= REMEMBERED_MAX {
                known.locked.clear();
            }
            known.locked.insert(from, Instant::now());
        }
        if self.failures.len() > REMEMBERED_MAX {
            self.failures.retain_recent();
        }
    }

    /// The token was right.
    pub(super) fn succeeded(&self, from: IpAddr, token: &str) {
        let mut known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
        if known.good.len() >= REMEMBERED_MAX {
            known.good.clear();
        }
        known.good.insert((from, hash(token)));
    }
}

fn hash(token: &str) -> [u8; 32] {
    Sha256::digest(token.as_bytes()).into()
}

#[cfg(test)]
mod tests {
    use super::*;

    const HERE: IpAddr = IpAddr::V4(std::net::Ipv4Addr::LOCALHOST);
    const THERE: IpAddr = IpAddr::V6(std::net::Ipv6Addr::LOCALHOST);

    #[test]
    fn who_guesses_is_heard_no_more_and_nobody_else_is_locked_out() {
        let guesses = Guesses::new();
        guesses.succeeded(HERE, "right");
        for _ in 0..BURST.get() {
            assert_eq!(guesses.admit(HERE, "wrong"), Ok(()));
            guesses.failed(HERE);
        }
        guesses.failed(HERE);
        let problem = guesses.admit(HERE, "wrong").expect_err("locked");
        assert_eq!((problem.status, problem.code.as_str()), (429, "too_many_failures"));
        assert_eq!(guesses.admit(HERE, "right"), Ok(()), "a token that was right from here");
        assert_eq!(guesses.admit(THERE, "wrong"), Ok(()), "another address");
    }
}
