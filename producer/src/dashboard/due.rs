//! How near a key is to its limits, in words and as a meter.

use super::{
    charts::{Meter, meter},
    numbers,
};
use reseal_entities::{
    key_limits::{Due, Used},
    keys,
    ledger::length,
};
use std::{borrow::Borrow, time::Duration};

const DAY_MS: i64 = 86_400_000;

/// A key that wants a rotation, soon or now.
pub(super) struct DueKey {
    pub(super) key_id: i64,
    pub(super) keyset: String,
    pub(super) due: Due,
    /// Which limit, and how much of it is used.
    pub(super) why: String,
}

/// The colour of it. Templates lend what they show.
pub(super) fn tone(due: impl Borrow<Due>) -> &'static str {
    match *due.borrow() {
        Due::Calm => "",
        Due::Soon => "warn",
        Due::Now => "bad",
    }
}

/// An active key's age against its cryptoperiod; none: there is no such limit.
pub(super) fn age(key: &keys::Model, cryptoperiod: Option<Duration>, now: &i64) -> Option<String> {
    key.age_used(cryptoperiod, *now).map(|used| drawn("Age", used, &age_of(used)))
}

/// An active key's encryptions against their limit; none: there is no limit.
pub(super) fn encryptions(key: &keys::Model) -> Option<String> {
    key.encryptions_used().map(|used| drawn("Encryptions", used, &encryptions_of(used)))
}

/// The key when it is at 80 % of a limit, or over it.
pub(super) fn due(key: &keys::Model, cryptoperiod: Option<Duration>, now: i64) -> Option<DueKey> {
    let (age, encryptions) = (key.age_used(cryptoperiod, now), key.encryptions_used());
    let told = [
        age.map(|used| (used.due(), format!("Age {}", age_of(used)))),
        encryptions.map(|used| (used.due(), format!("Encryptions {}", encryptions_of(used)))),
    ];
    let near: Vec<(Due, String)> = told.into_iter().flatten().filter(|(due, _)| *due != Due::Calm).collect();
    let due = near.iter().map(|(due, _)| *due).max()?;
    let why = near.into_iter().map(|(_, why)| why).collect::<Vec<_>>().join(". ");
    Some(DueKey { key_id: key.key_id, keyset: key.keyset.clone(), due, why })
}

fn drawn(name: &str, used: Used, text: &str) -> String {
    let due = used.due();
    meter(&Meter { name, used: used.used, most: used.most, text, tone: tone(due), word: due.as_str() })
}

/// `42 d of 90 d`: whole days, and smaller units only in a key's first day.
fn age_of(Used { used, most }: Used) -> String {
    let unit = if used < DAY_MS { 1_000 } else { DAY_MS };
    format!("{} of {}", length(used - used % unit), length(most))
}

/// `12,345 of 2,147,483,648, under 1 %`.
fn encryptions_of(used: Used) -> String {
    let share = match (used.used, used.percent()) {
        (0, _) => "0 %".to_owned(),
        (_, 0) => "under 1 %".to_owned(),
        (_, percent) => format!("{percent} %"),
    };
    format!("{} of {}, {share}", numbers::count(used.used), numbers::count(used.most))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_age_is_told_in_whole_days_of_its_cryptoperiod() {
        let told = |used: i64| age_of(Used { used, most: 90 * DAY_MS });
        assert_eq!(told(42 * DAY_MS + 7_000_000), "42 d of 90 d");
        assert_eq!(told(DAY_MS - 1), "23 h 59 min of 90 d");
        assert_eq!(told(0), "0 s of 90 d");
    }

    #[test]
    fn encryptions_are_told_with_their_share() {
        let told = |used: i64| encryptions_of(Used { used, most: 1 << 31 });
        assert_eq!(told(12_345), "12,345 of 2,147,483,648, under 1 %");
        assert_eq!((told(0), told(1 << 31)), {
            ("0 of 2,147,483,648, 0 %".to_owned(), "2,147,483,648 of 2,147,483,648, 100 %".to_owned())
        });
    }
}
