//! Who did what: more than one page of it, beside what making the rest has left there.

use super::Stock;
use crate::words::Words;
use reseal_entities::ledger::{
    Ledger,
    audit::{self, Entry},
};
use serde_json::json;

const ENTRIES: usize = 120;

pub(super) async fn tell(ledger: &Ledger, words: &'static Words, stock: &Stock) {
    let txn = ledger.begin().await.expect("a transaction");
    let actions = ["rotation.paused", "rotation.resumed", words.action];
    let actors = [words.person, words.other_person, words.workers[0]];
    for n in 0..ENTRIES {
        let entry = Entry {
            actor: actors[n % 3],
            action: actions[n % 3],
            subject: format!("rotation {}", if n % 2 == 0 { stock.going } else { stock.waiting }),
            before: json!({"state": "reencrypting", "paused": n % 3 == 1}),
            after: json!({"state": "reencrypting", "paused": n % 3 == 0, "reason": words.reason}),
        };
        let told = audit::record(&txn, entry);
        audit::under_request(format!("{n:032x}"), told).await.expect("told");
    }
    txn.commit().await.expect("committed");
}
