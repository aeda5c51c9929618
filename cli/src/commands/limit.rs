//! `reseal limit`.

use crate::{
    actor::actor,
    context::Context,
    failure::{Exit, Failure},
    ground,
};
use reseal_entities::ledger::{
    read,
    throttle::{self, Limits},
};
use serde_json::json;
use std::str::FromStr;

#[derive(clap::Args)]
pub(crate) struct Args {
    /// The rotation; without options, its present limits are shown
    id: i64,
    /// Rows re-encrypted per second, over all workers
    #[arg(long, value_name = "N|none")]
    rows_per_second: Option<Most<i64>>,
    /// Batches in hand at once, over all workers
    #[arg(long, value_name = "N|none")]
    lanes: Option<Most<i32>>,
    /// Batches in the queue or in hand
    #[arg(long, value_name = "N|none")]
    batches: Option<Most<i32>>,
}

/// A limit of at least one, or `none`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Most<T>(pub(crate) Option<T>);

impl<T: FromStr + PartialOrd + From<u8>> FromStr for Most<T> {
    type Err = &'static str;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        if text == "none" {
            return Ok(Self(None));
        }
        let at_least_one = text.parse().ok().filter(|n| *n >= T::from(1));
        at_least_one.map(|n| Self(Some(n))).ok_or("not a number from 1 on, nor `none`; `reseal pause` stops a rotation")
    }
}

pub(crate) async fn run(args: Args, context: &Context) -> Result<Exit, Failure> {
    let ledger = ground::ledger_only(&context.config()?).await?;
    let changes = args.rows_per_second.is_some() || args.lanes.is_some() || args.batches.is_some();
    let limits = if changes {
        let txn = ledger.begin().await?;
        let change = |now: Limits| Limits {
            rows_per_second: args.rows_per_second.map_or(now.rows_per_second, |most| most.0),
            lanes: args.lanes.map_or(now.lanes, |most| most.0),
            batches: args.batches.map_or(now.batches, |most| most.0),
        };
        let limits = throttle::limit_if_open(&txn, args.id, &actor(), change).await?;
        txn.commit().await?;
        limits
    } else {
        read::rotation(ledger.db(), args.id).await?.limits()
    };
    let object = json!({"id": args.id, "limits": limits, "changed": changes});
    context.output.show(&object, || format!("rotation {}: {}", args.id, told(&limits)));
    Ok(Exit::Done)
}

/// Limits in words.
pub(crate) fn told(limits: &Limits) -> String {
    let some = [
        limits.rows_per_second.map(|n| format!("{n} rows per second")),
        limits.lanes.map(|n| if n == 1 { "1 batch in hand".to_owned() } else { format!("{n} batches in hand") }),
        limits.batches.map(|n| format!("{n} in the queue or in hand")),
    ];
    let some: Vec<_> = some.into_iter().flatten().collect();
    if some.is_empty() { "no limits".to_owned() } else { format!("at most {}", some.join(", ")) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_limit_is_a_number_from_one_on_or_none() {
        assert_eq!("none".parse(), Ok(Most::<i32>(None)));
        assert_eq!("7".parse(), Ok(Most(Some(7_i64))));
        for wrong in ["0", "-1", "", "a", "1.5", "99999999999999999999"] {
            assert!(wrong.parse::<Most<i32>>().is_err(), "{wrong}");
        }
    }

    #[test]
    fn limits_are_told_in_words() {
        assert_eq!(told(&Limits::default()), "no limits");
        let some = Limits { rows_per_second: Some(500), lanes: Some(1), batches: None };
        assert_eq!(told(&some), "at most 500 rows per second, 1 batch in hand");
    }
}
