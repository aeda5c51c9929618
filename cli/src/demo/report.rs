//! What the demo found.

use super::{
    application::{Tally, Written},
    read_back::Found,
    tables::TABLES,
    world::World,
};
use crate::{
    failure::Failure,
    follow::Followed,
    output::{Output, count, grouped, seconds, time},
};
use reseal_entities::{
    ledger::{audit, prove, read::RotationStatus},
    state::{KeyState, RotationState},
};
use serde::Serialize;
use std::time::Duration;

/// The proof, summed over its columns.
#[derive(Debug, Serialize)]
pub(super) struct Proof {
    pub columns: usize,
    pub cells: i64,
    pub under_retired: i64,
    pub unaccounted: i64,
}

#[derive(Serialize)]
pub(super) struct Report {
    id: i64,
    keyset: String,
    state: RotationState,
    old_key_state: Option<KeyState>,
    rows: i64,
    reencrypted: i64,
    quarantined: i64,
    changed_underneath: i64,
    seconds: f64,
    rotation_seconds: f64,
    tables: Vec<reseal_entities::ledger::read::TableStatus>,
    application: Tally,
    proof: Proof,
    audit_entries: i64,
    audit_broken: Option<String>,
    rows_written: u64,
    rows_equal: u64,
    equal: bool,
    wrong: Vec<String>,
    folder: Option<String>,
    #[serde(skip)]
    completed_at: i64,
    #[serde(skip)]
    old_key: String,
}

impl Report {
    pub(super) async fn new(
        world: &World,
        followed: Followed,
        written: Written,
        found: Found,
        took: Duration,
        keep: bool,
    ) -> Result<Self, Failure> {
        let status: RotationStatus = followed.status;
        let proofs = prove::current(world.ledger.db(), status.id).await?;
        let chain = audit::verify(world.ledger.db()).await?;
        let rows_written = written.book.rows() as u64;
        let destroyed = status.old_key_state == Some(KeyState::Destroyed);
        let proof = Proof {
            columns: proofs.len(),
            cells: proofs.iter().map(|p| p.cells).sum(),
            under_retired: proofs.iter().map(|p| p.under_retired).sum(),
            unaccounted: proofs.iter().map(|p| p.unaccounted).sum(),
        };
        let proved = proof.columns == TABLES.len() && proof.under_retired + proof.unaccounted == 0;
        let all = found.wrong_rows == 0 && found.equal == rows_written;
        Ok(Self {
            id: status.id,
            keyset: status.keyset,
            state: status.state,
            old_key_state: status.old_key_state,
            rows: status.rows,
            reencrypted: status.reencrypted,
            quarantined: status.quarantined,
            changed_underneath: status.tables.iter().map(|t| t.changed_underneath).sum(),
            seconds: took.as_secs_f64(),
            rotation_seconds: followed.took.as_secs_f64(),
            completed_at: status.completed_at.unwrap_or_default(),
            old_key: status.old_keys.iter().map(|k| k.key_id.to_string()).collect::<Vec<_>>().join(", "),
            tables: status.tables,
            application: written.tally,
            equal: all && destroyed && proved && chain.broken.is_none(),
            proof,
            audit_entries: chain.entries,
            audit_broken: chain.broken,
            rows_written,
            rows_equal: found.equal,
            wrong: found.wrong,
            folder: keep.then(|| world.folder.display().to_string()),
        })
    }

    /// Everything is as it was promised.
    pub(super) fn equal(&self) -> bool {
        self.equal
    }

    pub(super) fn text(&self, output: &Output) -> String {
        let a = &self.application;
        let pace = if self.rotation_seconds > 0.0 { self.reencrypted as f64 / self.rotation_seconds } else { 0.0 };
        let read_back = if self.rows_equal == self.rows_written && self.wrong.is_empty() {
            format!("all {} equal to what was written", count(self.rows_written, "row"))
        } else {
            format!("only {} of {}", grouped(self.rows_equal), count(self.rows_written, "row"))
        };
        let lines = [
            (
                "rotation",
                format!(
                    "{} of keyset {}: {} in {} ({} rows/s)",
                    self.id,
                    self.keyset,
                    self.state,
                    seconds(Duration::from_secs_f64(self.rotation_seconds)),
                    grouped(pace as i64)
                ),
            ),
            (
                "rows",
                format!(
                    "{} planned, {} re-encrypted, {} quarantined",
                    grouped(self.rows),
                    grouped(self.reencrypted),
                    grouped(self.quarantined)
                ),
            ),
            (
                "meanwhile",
                format!(
                    "the application did {}, {}, {} and {}",
                    count(a.reads, "read"),
                    count(a.updates, "update"),
                    count(a.inserts, "insert"),
                    count(a.deletes, "delete")
                ),
            ),
            (
                "",
                format!(
                    "{} changed underneath the re-encryption and looked at again",
                    count(self.changed_underneath, "row")
                ),
            ),
            (
                "",
                format!(
                    "{} with the old key refused by the fence and done again",
                    count(a.refused_by_the_fence, "write")
                ),
            ),
            (
                "proof",
                format!(
                    "{}, {} counted under the fence: {} under the old key, {} unexplained",
                    count(self.proof.columns as u64, "column"),
                    count(self.proof.cells, "encrypted value"),
                    self.proof.under_retired,
                    self.proof.unaccounted
                ),
            ),
            (
                "old key",
                format!(
                    "{} {} at {}",
                    self.old_key,
                    self.old_key_state.map_or_else(String::new, |s| s.to_string()),
                    time(self.completed_at)
                ),
            ),
            (
                "audit",
                self.audit_broken.clone().unwrap_or_else(|| format!("{} entries, the chain holds", self.audit_entries)),
            ),
            ("read back", output.verdict(self.equal, &read_back)),
        ];
        let mut text = String::from("\n");
        for (name, line) in lines {
            text += &format!("  {}{}\n", output.strong(&format!("{name:<11}")), line);
        }
        for wrong in &self.wrong {
            text += &format!("  {:<11}{}\n", "", output.verdict(false, wrong));
        }
        text += &format!("\nin all {}. What to try next:\n", seconds(Duration::from_secs_f64(self.seconds)));
        text + &self.next()
    }

    fn next(&self) -> String {
        match &self.folder {
            Some(folder) => format!(
                "  export RESEAL_CONFIG={folder}/reseal.toml\n  reseal status {}      its steps, tables, keys and the gate before clearing\n  \
                 reseal census        every encrypted value by key\n  reseal audit list    who did what when\n  \
                 reseal up & reseal rotate --wait      once more\n",
                self.id
            ),
            None => "  reseal demo --rows 1000000   more of it\n  reseal demo --keep           keeps the databases, to look at them with status, census and audit\n  \
                     reseal up                    for real, on this machine: see config/production.example.toml\n".to_owned(),
        }
    }
}
