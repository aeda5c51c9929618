//! One rotation after another, stopped and turned round at moments that a seed picks, under live writes.

use crate::{
    world::{PATIENCE, World, full_scale, rows},
    writers::{changes, stop, writer},
};
use reseal_tests::{Leash, wait_until};
use serde_json::Value;

/// Where a rotation is disturbed.
#[derive(Clone, Copy, Debug)]
enum Moment {
    Promoted,
    /// So many hundredths of its rows are looked at.
    Rows(u64),
    Proving,
    Waiting,
}

struct Dice(u64);

impl Dice {
    /// SplitMix64: its numbers follow from the seed alone.
    fn next(&mut self, below: u64) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        (z ^ (z >> 31)) % below
    }

    fn moment(&mut self) -> Moment {
        match self.next(6) {
            0 => Moment::Promoted,
            1 => Moment::Proving,
            2 => Moment::Waiting,
            _ => Moment::Rows(1 + self.next(99)),
        }
    }
}

struct Schedule {
    world: World,
    /// The keyset file that the application reads again when it changes.
    deployed: String,
}

impl Schedule {
    fn status(&self, id: i64) -> Value {
        self.world.reseal.json(&["status", &id.to_string()])
    }

    fn deploy(&self) {
        let export = self.world.export("next.json");
        std::fs::rename(export, &self.deployed).unwrap();
    }

    /// Publishes a new key, deploys it and begins to rotate to it.
    fn begin(&self) -> i64 {
        let key = self.world.reseal.json(&["keys", "create", "default"])["key_id"].to_string();
        self.deploy();
        let id = self.world.reseal.json(&["rotate", "--to", &key])["id"].as_i64().unwrap();
        wait_until(PATIENCE, "the key is promoted", || (self.status(id)["new_key"]["state"] == "active").then_some(()));
        self.deploy();
        id
    }

    fn until(&self, id: i64, moment: Moment) {
        wait_until(PATIENCE, &format!("rotation {id} is at {moment:?}"), || {
            let status = self.status(id);
            let rows = |name: &str| status[name].as_u64().unwrap();
            let there = match moment {
                Moment::Promoted => true,
                Moment::Rows(part) => rows("rows") > 0 && rows("rows_done") * 100 >= rows("rows") * part,
                Moment::Proving => ["proving", "waiting"].contains(&status["state"].as_str().unwrap()),
                Moment::Waiting => status["state"] == "waiting",
            };
            there.then_some(())
        });
    }

    fn until_state(&self, id: i64, state: &str) -> Value {
        wait_until(PATIENCE, &format!("rotation {id} is {state}"), || {
            Some(self.status(id)).filter(|status| status["state"] == state)
        })
    }

    fn no_proof_stands(&self, id: i64) {
        let standing = format!("SELECT count(*) FROM reseal_proofs WHERE rotation_id = {id} AND voided_at IS NULL");
        assert_eq!(self.world.ledger_count(&standing), 0);
        let suspended = "SELECT count(*) FROM reseal_keys WHERE state = 'suspended'";
        assert_eq!(self.world.ledger_count(suspended), 0, "every key decrypts again");
    }
}

#[expect(clippy::print_stdout, reason = "a failed run is repeated by its seed")]
fn run(seed: u64) {
    println!("seed {seed}");
    let mut dice = Dice(seed);
    let world = World::new(rows(), "clear_after = \"2s\"");
    let leash = Leash::new();
    let deployed = world.path("tink.json");
    let schedule = Schedule { world, deployed };
    let app = writer(&schedule.world, &leash, &schedule.deployed, false);
    let _workers = [schedule.world.worker(), schedule.world.worker()];

    let (first, stopped_at) = (schedule.begin(), dice.moment());
    schedule.until(first, stopped_at);
    schedule.world.run(&["cancel", &first.to_string(), "--reason", "seeded"]).ok();
    schedule.no_proof_stands(first);

    let (second, turned_at) = (schedule.begin(), dice.moment());
    schedule.until(second, turned_at);
    let turned = schedule.world.reseal.json(&["rollback", &second.to_string()]);
    let reverse = turned["reverse"].as_i64().unwrap_or_else(|| panic!("seed {seed}, {turned_at:?}: {turned}"));
    assert_eq!(schedule.status(second)["state"], "rolled_back");
    wait_until(PATIENCE, "the key before is active again", || {
        (schedule.status(reverse)["new_key"]["state"] == "active").then_some(())
    });
    schedule.deploy();
    schedule.until_state(reverse, "completed");

    let third = schedule.begin();
    let done = schedule.until_state(third, "completed");

    let summary = stop(&app);
    println!("seed {seed}: cancelled at {stopped_at:?}, turned round at {turned_at:?}; {summary}");
    assert!(changes(&summary) > 100, "{summary}");
    assert_eq!(summary["unreadable"], 0, "{summary}");
    let compared = schedule.world.compare();
    let ids: Vec<_> = compared["key_ids"].as_object().unwrap().keys().cloned().collect();
    assert_eq!(ids, [done["new_key"]["key_id"].to_string()], "rows under another key");
    assert_eq!(done["old_key_state"], "destroyed");
    let fences = schedule.world.reseal.json(&["fence", "list"]);
    for fence in fences["fences"].as_array().unwrap() {
        assert_eq!(fence["state"]["complete"], true, "{fence}");
    }
    assert_eq!(schedule.world.run(&["audit", "verify"]).code, 0);
}

#[test]
fn rotations_cancelled_continued_turned_round_and_done_again_lose_nothing() {
    let seeds = std::env::var("RESEAL_TEST_SEEDS").ok().and_then(|n| n.parse().ok());
    for seed in 1..=seeds.unwrap_or(if full_scale() { 20 } else { 2 }) {
        run(seed);
    }
}
