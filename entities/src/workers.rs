//! Who is alive, and which keys they have loaded.

use crate::ledger::presence::ALIVE_MS;
use sea_orm::entity::prelude::*;
use serde::Serialize;

/// One worker process, from its start on.
#[derive(Clone, Debug, PartialEq, Eq, DeriveEntityModel, Serialize)]
#[sea_orm(table_name = "reseal_workers")]
pub struct Model {
    /// Host, process id and a random part: new at each start.
    #[sea_orm(primary_key, auto_increment = false, column_type = "String(StringLen::N(128))")]
    pub name: String,
    /// `reseal`'s version.
    #[sea_orm(column_type = "String(StringLen::N(32))")]
    pub version: String,
    /// `running`, `draining` or `stopped`.
    #[sea_orm(column_type = "String(StringLen::N(16))")]
    pub state: String,
    /// Batches at once.
    pub lanes: i32,
    /// Batches in hand.
    pub jobs_running: i32,
    /// Rows that the database said this worker changed.
    pub reencrypted: i64,
    /// The ids of the keys in its memory, a JSON array.
    #[sea_orm(column_type = "Text")]
    pub keys_loaded: String,
    /// Unix milliseconds, database time, here and below.
    pub started_at: i64,
    /// When it last said so.
    pub seen_at: i64,
    /// When a person asked it to drain.
    pub drain_requested_at: Option<i64>,
    /// Rows that it changed a second, lately.
    pub rows_per_second: Option<i64>,
}

/// None.
#[derive(Copy, Clone, Debug, EnumIter, DeriveRelation)]
pub enum Relation {}

impl ActiveModelBehavior for ActiveModel {}

impl Model {
    /// The machine: the name is host, process and a random part; a host's own name may have dots.
    pub fn host(&self) -> &str {
        self.name.rsplitn(3, '.').nth(2).unwrap_or(&self.name)
    }

    /// What it says of itself, unless it is silent for `unseen_ms`, or was asked for something that it has not heard yet.
    pub fn standing(&self, unseen_ms: i64) -> &str {
        match self.state.as_str() {
            "stopped" => "stopped",
            _ if unseen_ms >= ALIVE_MS => "lost",
            "running" if self.drain_requested_at.is_some() => "asked to drain",
            said => said,
        }
    }

    /// The key ids that it says are in its memory.
    pub fn loaded(&self) -> Vec<i64> {
        serde_json::from_str(&self.keys_loaded).unwrap_or_default()
    }
}

#[cfg(test)]
mod tests {
    use super::Model;

    #[test]
    fn a_host_may_have_dots_in_its_name() {
        let host = |name: &str| {
            let worker = Model {
                name: name.to_owned(),
                version: String::new(),
                state: "running".to_owned(),
                lanes: 1,
                jobs_running: 0,
                reencrypted: 0,
                keys_loaded: "[7]".to_owned(),
                started_at: 0,
                seen_at: 0,
                drain_requested_at: None,
                rows_per_second: None,
            };
            assert_eq!((worker.loaded(), worker.standing(0)), (vec![7], "running"));
            worker.host().to_owned()
        };
        assert_eq!(host("db1.example.org.4711.0a1b2c3d"), "db1.example.org");
        assert_eq!(host("db1.4711.0a1b2c3d"), "db1");
    }
}
