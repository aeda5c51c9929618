//! What a step remembers between two tries, in the rotation's row. All of it may be lost: the step then begins again.

use crate::{engine::Engine, error::EngineError};
use reseal_entities::{ledger::steps, rotations};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// See the module. A state change forgets it, and so does a person who resumes or retries the rotation.
#[derive(Debug, Default, Serialize, Deserialize)]
#[serde(default)]
pub(crate) struct Memo {
    /// Every column was empty of retired keys under its fence: what is waited for before a proof comes after that.
    pub empty: bool,
    /// Transactions that must end first.
    pub older: Option<Older>,
    /// Where each source's log stood after a complete count.
    pub counted: BTreeMap<String, String>,
    /// What blocked the last proof.
    pub blocked: Option<Blocked>,
    /// The sources could not be held in time so often in a row.
    pub let_go: u32,
}

/// Transactions that were open at one moment.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct Older {
    /// Those that were open when the first ones had all ended.
    pub second: bool,
    /// Their ids by source.
    pub open: BTreeMap<String, Vec<String>>,
}

/// A proof that was blocked.
#[derive(Debug, Default, Serialize, Deserialize)]
#[serde(default)]
pub(crate) struct Blocked {
    /// What was found, for people.
    pub detail: String,
    /// The sources as they were then, see [`crate::blocked`].
    pub sign: String,
    /// When it ended: Unix milliseconds, database time.
    pub at: i64,
    /// So long it took.
    pub took_ms: i64,
    /// So often in a row.
    pub times: u32,
}

impl Memo {
    /// What an earlier try left. What cannot be read was written by another version.
    pub(crate) fn of(rotation: &rotations::Model) -> Self {
        rotation.step_memo.as_deref().and_then(|text| serde_json::from_str(text).ok()).unwrap_or_default()
    }

    /// Keeps it for the next try.
    pub(crate) async fn keep(&self, engine: &Engine, rotation: &rotations::Model) -> Result<(), EngineError> {
        let text = serde_json::json!(self).to_string();
        Ok(steps::remember_if_held(engine.ledger.db(), rotation, Some(text)).await?)
    }
}
