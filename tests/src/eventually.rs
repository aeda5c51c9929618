use std::time::{Duration, Instant};

const PAUSE: Duration = Duration::from_millis(20);

/// Asks until there is an answer, and returns it; panics with `what` after `deadline`.
///
/// For what sends no signal: another process, another machine's clock.
pub async fn eventually<T>(deadline: Duration, what: &str, mut check: impl AsyncFnMut() -> Option<T>) -> T {
    let started = Instant::now();
    loop {
        if let Some(answer) = check().await {
            return answer;
        }
        assert!(started.elapsed() < deadline, "not within {deadline:?}: {what}");
        tokio::time::sleep(PAUSE).await;
    }
}

/// [`eventually`] for a test without a runtime; blocks its thread.
pub fn wait_until<T>(deadline: Duration, what: &str, check: impl FnMut() -> Option<T>) -> T {
    poll(deadline, check).unwrap_or_else(|| panic!("not within {deadline:?}: {what}"))
}

#[expect(clippy::disallowed_methods, reason = "the one place that polls another process")]
pub(crate) fn poll<T>(deadline: Duration, mut check: impl FnMut() -> Option<T>) -> Option<T> {
    let started = Instant::now();
    loop {
        let answer = check();
        if answer.is_some() || started.elapsed() >= deadline {
            return answer;
        }
        std::thread::sleep(PAUSE);
    }
}
