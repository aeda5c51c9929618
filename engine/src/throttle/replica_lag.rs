//! Replicas that fall behind: applications that read from them would see old rows.

use super::Signal;
use crate::{
    engine::Engine,
    source::{Replica, Replicas},
};
use reseal_config::ReplicaLagMax;
use std::{collections::BTreeSet, time::Duration};

/// A replica that reports no time lags when it is so many bytes behind: one segment of the log.
const BYTES_BEHIND_MAX: i64 = 16 * 1024 * 1024;
/// A source that does not answer for so long cannot be seen.
const PATIENCE: Duration = Duration::from_secs(2);

/// What is the matter with a source's replicas. What cannot be seen is said once, and stops a rotation only where
/// a limit was written down: then somebody relies on it.
pub(super) async fn signal(engine: &Engine, name: &str, unseen: &mut BTreeSet<String>) -> Option<Signal> {
    let config = engine.config.sources.iter().find(|s| s.name == name)?;
    let (max, relied_on) = match config.replica_lag_max {
        ReplicaLagMax::Off => return None,
        ReplicaLagMax::Default => (ReplicaLagMax::DEFAULT, false),
        ReplicaLagMax::At(max) => (max, true),
    };
    let source = engine.source(name).ok()?;
    let seen = match tokio::time::timeout(PATIENCE, source.replicas()).await {
        Ok(Ok(seen)) => seen,
        Ok(Err(_)) | Err(_) => return None, // a source that is away stops its batches by itself
    };
    match seen {
        Replicas::Seen(replicas) => {
            unseen.remove(name);
            worst(&replicas, max)
        }
        Replicas::Unseen(how_many) => {
            let reason = format!(
                "source `{name}` has {how_many} whose lag the role may not see: GRANT pg_monitor to it, or set \
                 replica_lag_max = \"off\"",
                how_many = if how_many == 1 { "a replica".to_owned() } else { format!("{how_many} replicas") }
            );
            if unseen.insert(name.to_owned()) {
                tracing::warn!("{reason}");
            }
            relied_on.then_some(Signal { code: "replica_lag_unseen", reason })
        }
    }
}

/// The replica that is furthest behind, if it is too far.
fn worst(replicas: &[Replica], max: Duration) -> Option<Signal> {
    let max_ms = i64::try_from(max.as_millis()).unwrap_or(i64::MAX);
    let late = replicas.iter().filter_map(|r| Some((r.lag_ms.filter(|ms| *ms > max_ms)?, r)));
    if let Some((ms, replica)) = late.max_by_key(|(ms, _)| *ms) {
        let reason = format!("replica lag {:.1} s ({})", ms as f64 / 1_000.0, replica.name);
        return Some(Signal { code: "replica_lag", reason });
    }
    let behind = replicas.iter().filter(|r| r.lag_ms.is_none() && r.bytes_behind > BYTES_BEHIND_MAX);
    behind.max_by_key(|r| r.bytes_behind).map(|replica| Signal {
        code: "replica_lag",
        reason: format!("replica {} MiB behind ({})", replica.bytes_behind / 1_048_576, replica.name),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn replica(name: &str, lag_ms: Option<i64>, bytes_behind: i64) -> Replica {
        Replica { name: name.to_owned(), lag_ms, bytes_behind }
    }

    #[test]
    fn the_replica_that_is_furthest_behind_is_named() {
        let max = Duration::from_millis(1_500);
        let all = [replica("a", Some(1_600), 1), replica("b", Some(2_340), 1), replica("c", None, 0)];
        assert_eq!(worst(&all, max).unwrap().reason, "replica lag 2.3 s (b)");
        assert_eq!(worst(&all, Duration::from_secs(3)), None);
        assert_eq!(worst(&[replica("a", Some(1_500), 1)], max), None, "as much as allowed");
    }

    #[test]
    fn a_replica_that_reports_no_time_is_judged_by_bytes() {
        let max = Duration::from_millis(1_500);
        let far = [replica("a", None, BYTES_BEHIND_MAX + 1), replica("b", Some(10), 1 << 40)];
        assert_eq!(worst(&far, max).unwrap().reason, "replica 16 MiB behind (a)");
        assert_eq!(worst(&[replica("a", None, BYTES_BEHIND_MAX)], max), None);
    }
}
