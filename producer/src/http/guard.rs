//! How often somebody may ask: each token, and who guesses.

use super::guesses::Guesses;
use governor::{DefaultKeyedRateLimiter, Quota, RateLimiter, clock::Clock};
use reseal_http::Problem;
use std::{collections::HashMap, num::NonZeroU32, sync::Mutex};

/// The limiters. In this process's memory: several servers each have their own.
pub(super) struct Guard {
    default: u32,
    /// One per quota, keyed by token.
    by_quota: Mutex<HashMap<u32, std::sync::Arc<DefaultKeyedRateLimiter<i64>>>>,
    pub(super) guesses: Guesses,
}

impl Guard {
    pub(super) fn new(requests_per_second: u32) -> Self {
        Self { default: requests_per_second, by_quota: Mutex::default(), guesses: Guesses::new() }
    }

    /// One more request of a token, or the problem that says when to come back.
    pub(super) fn admit(&self, token: i64, own_limit: Option<i32>) -> Result<(), Problem> {
        let per_second = own_limit.and_then(|n| u32::try_from(n).ok()).unwrap_or(self.default).max(1);
        let limiter = {
            let mut limiters = self.by_quota.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
            let new = || {
                let rate = NonZeroU32::new(per_second).unwrap_or(NonZeroU32::MIN);
                let burst = rate.saturating_mul(NonZeroU32::MIN.saturating_add(1));
                std::sync::Arc::new(RateLimiter::keyed(Quota::per_second(rate).allow_burst(burst)))
            };
            limiters.entry(per_second).or_insert_with(new).clone()
        };
        limiter.check_key(&token).map_err(|until| {
            let wait = until.wait_time_from(governor::clock::DefaultClock::default().now());
            let detail = format!("this token may ask {per_second} times a second: slow down");
            too_many("rate_limited", detail, wait.as_secs() + 1)
        })
    }
}

/// `429`; `retry_after` is in seconds, also in the header.
pub(super) fn too_many(code: &str, detail: String, retry_after: u64) -> Problem {
    Problem::new(429, code, detail).with("retry_after", retry_after)
}
