//! A rotation's state in one sentence, for screens and `needs_attention`.

use super::read::RotationStatus;
use crate::state::{RotationState, in_words};

/// Where it stands. While it is planned, more batches come.
pub(super) fn summary(s: &RotationStatus, planning_done: bool) -> String {
    let done = if s.rows > 0 { format!(", {} % done", s.rows_done * 100 / s.rows) } else { String::new() };
    if let (Some(who), None) = (&s.paused_by, s.completed_at) {
        return format!("paused by {who} while {}{done}; waits to be resumed", in_words(s.state));
    }
    if s.needs_attention {
        return attention(s);
    }
    let idle = if s.workers == 0 { "; no worker is alive" } else { "" };
    let waits = step_waits(s);
    match s.state {
        RotationState::Requested if s.workers == 0 => "requested; waits for a worker, and none is alive".to_owned(),
        RotationState::Requested if !waits.is_empty() => format!("requested{waits}"),
        RotationState::Requested => "requested; waits for a worker to plan it".to_owned(),
        RotationState::Planning => format!("planning: a new key, then batches of every table{waits}{idle}"),
        RotationState::Reencrypting => {
            let left = s.time_left.map(|left| format!(", {left}")).unwrap_or_default();
            let waits = if planning_done {
                at_its_end(s)
            } else if s.tables.iter().any(|t| t.fault.is_some()) {
                String::new()
            } else {
                waits
            };
            format!(
                "re-encrypting {}{done}{left}{waits}{}{}{idle}",
                counted(s.rows, "row", "rows"),
                throttled(s),
                faulty(s)
            )
        }
        RotationState::Proving => {
            let what = s.detail.as_deref().unwrap_or("fence, sweep and census");
            format!("proving: {what}{}{}{idle}", since(s), throttled(s))
        }
        RotationState::Waiting => match s.waiting_left_ms.unwrap_or(0) {
            0 => format!("proved, and the waiting time is over; the old key is cleared next{waits}{idle}"),
            left => {
                format!("proved; the old key is suspended and is cleared in {}{}{idle}", length(left), once_approved(s))
            }
        },
        RotationState::Clearing => format!("clearing the old key under held fences{waits}{idle}"),
        RotationState::Completed => "completed; the old key is destroyed".to_owned(),
        RotationState::Cancelled => {
            format!("cancelled{done}; values under both keys are readable, and the next rotation retires what is left")
        }
        RotationState::RolledBack => {
            let by = s.rolled_back_by.map_or_else(|| "a rotation".to_owned(), |id| format!("rotation {id}"));
            format!("rolled back; {by} took over, the other way")
        }
    }
}

/// What its step waits for.
fn step_waits(s: &RotationStatus) -> String {
    let told_by_the_state = matches!(s.code.as_deref(), None | Some("clear_after" | "approval"));
    let detail = s.detail.as_ref().filter(|_| !told_by_the_state);
    detail.map(|detail| format!("; waits: {detail}{}", since(s))).unwrap_or_default()
}

/// For how long it has waited for the same, once that is a minute. A time that runs out says so itself.
fn since(s: &RotationStatus) -> String {
    let timed = matches!(s.code.as_deref(), Some("writer_ttl" | "clear_after"));
    match s.code_for_ms {
        Some(ms) if ms >= 60_000 && !timed => format!(" (for {} by now)", length(ms)),
        _ => String::new(),
    }
}

/// What needs a person.
fn attention(s: &RotationStatus) -> String {
    if s.code.as_deref() == Some("key_used") {
        let detail = s.detail.as_deref().unwrap_or("a suspended key was used");
        return format!("held while {}: {detail}; waits for `reseal keys dismiss {}`", in_words(s.state), s.id);
    }
    if s.waits_for_approval() {
        return format!(
            "proved, and the waiting time is over; waits for somebody other than {} to approve: `reseal approve {}`",
            s.requested_by, s.id
        );
    }
    let failed = s.batches.get("failed").copied().unwrap_or(0);
    let mut why = Vec::new();
    if s.quarantined > 0 {
        why.push(counted(s.quarantined, "row is quarantined", "rows are quarantined"));
    }
    if failed > 0 {
        why.push(counted(failed, "batch has failed", "batches have failed"));
    }
    if let (Some(detail), true) = (&s.detail, why.is_empty()) {
        why.push(format!("{detail}{}", since(s)));
    } else if let Some(fault) = s.tables.iter().find_map(|t| t.fault.as_ref()) {
        why.push(format!("a table pauses: {}", fault.detail));
    }
    let looked_at = s.state == RotationState::Reencrypting && s.rows > 0 && s.rows_done >= s.rows;
    let waits = if looked_at { "; every row was looked at, and the proof waits for them" } else { "" };
    format!("needs attention while {}: {}{waits}", in_words(s.state), why.join(", "))
}

/// What it waits for whose rows were all looked at.
fn at_its_end(s: &RotationStatus) -> String {
    if s.rows == 0 || s.rows_done < s.rows {
        return String::new();
    }
    let open = ["pending", "leased"].iter().filter_map(|state| s.batches.get(*state)).sum::<i64>();
    match open {
        0 => "; the proof comes next: fence, sweep and census".to_owned(),
        open => format!("; waits for {} to end, then for the proof", counted(open, "batch", "batches")),
    }
}

fn once_approved(s: &RotationStatus) -> String {
    if !s.needs_approval || s.approved_at.is_some() {
        return String::new();
    }
    format!(", once somebody other than {} has approved: `reseal approve {}`", s.requested_by, s.id)
}

/// A length of time in its two largest units, rounded up to whole seconds: `7 d 1 h`, `2 min 10 s`, `0 s`.
pub fn length(ms: i64) -> String {
    let seconds = ms.max(0).saturating_add(999) / 1000;
    let units = [(seconds / 86_400, "d"), (seconds / 3600 % 24, "h"), (seconds / 60 % 60, "min"), (seconds % 60, "s")];
    let largest = units.iter().position(|(n, _)| *n > 0).unwrap_or(3);
    match units[largest..] {
        [(n, unit), (m, smaller), ..] if m > 0 => format!("{n} {unit} {m} {smaller}"),
        _ => format!("{} {}", units[largest].0, units[largest].1),
    }
}

/// What pauses a table's batches.
fn faulty(s: &RotationStatus) -> String {
    let fault = s.tables.iter().find_map(|t| Some((&t.table, t.fault.as_ref()?)));
    let Some((table, fault)) = fault else { return String::new() };
    format!("; {table} pauses for {} by now and is tried again by itself: {}", length(fault.for_ms), fault.detail)
}

/// Why it does not go at full speed; since when, once it has stood still for a minute.
fn throttled(s: &RotationStatus) -> String {
    match &s.throttle {
        None => String::new(),
        Some(t) if !t.stopped => format!(", {}", t.reason),
        Some(t) if t.for_ms < 60_000 => format!(", throttled: {}", t.reason),
        Some(t) => format!(", throttled: {} for {} min by now", t.reason, t.for_ms / 60_000),
    }
}

fn counted(n: i64, one: &str, many: &str) -> String {
    format!("{n} {}", if n == 1 { one } else { many })
}

#[cfg(test)]
mod tests {
    use super::length;

    #[test]
    fn a_length_has_its_two_largest_units_and_is_never_told_too_short() {
        let told = [i64::MIN, 0, 1, 60_000, 129_001, 3_600_001, 90_061_000].map(length);
        assert_eq!(told, ["0 s", "0 s", "1 s", "1 min", "2 min 10 s", "1 h", "1 d 1 h"]);
        assert_eq!(length(i64::MAX), "106751991167 d 7 h");
    }
}
