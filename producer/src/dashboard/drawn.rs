//! What the ledger knows, drawn.

use super::charts::{self, Bar, Bin, Sample, Series, Strip};
use reseal_entities::{
    ledger::{read::TableStatus, strip::TableStrip},
    samples,
};
use std::ops::RangeInclusive;

fn points(samples: &[samples::Model]) -> Vec<Sample> {
    samples.iter().map(|s| Sample { at: s.at, rows_done: s.rows_done }).collect()
}

/// Rows per second over time.
pub(super) fn speed(samples: &[samples::Model], now: i64, time: RangeInclusive<i64>) -> String {
    charts::speed(&Series { samples: &points(samples), now, time })
}

/// The same, small.
pub(super) fn sparkline(samples: &[samples::Model], now: i64, time: RangeInclusive<i64>) -> String {
    charts::sparkline(&Series { samples: &points(samples), now, time })
}

/// How far each table is.
pub(super) fn bars(tables: &[TableStatus]) -> String {
    let bars = tables.iter().map(|t| {
        let TableStatus { table, rows, rows_done, quarantined, .. } = t;
        Bar { name: table, done: *rows_done, total: *rows, quarantined: *quarantined }
    });
    charts::bars(&bars.collect::<Vec<_>>())
}

/// Batches over the key space of each table.
pub(super) fn strip(tables: &[TableStrip]) -> String {
    let bins = |t: &TableStrip| -> Vec<Bin> {
        let bin = |b: &reseal_entities::ledger::strip::Bin| Bin {
            pending: b.pending,
            leased: b.leased,
            failed: b.failed,
            done: b.done,
        };
        t.bins.iter().map(bin).collect()
    };
    let all: Vec<Vec<Bin>> = tables.iter().map(bins).collect();
    let strips: Vec<Strip<'_>> = tables.iter().zip(&all).map(|(t, bins)| Strip { table: &t.table, bins }).collect();
    charts::strip(&strips)
}
