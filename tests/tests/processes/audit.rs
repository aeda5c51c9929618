//! The audit after a real rotation.

use crate::world::World;

#[test]
fn an_edited_a_deleted_and_a_reordered_entry_each_break_the_chain() {
    let world = World::new([60, 60, 60], "");
    let _worker = world.worker();
    world.rotate(&["--wait"]).ok();
    assert_eq!(world.run(&["audit", "verify"]).code, 0);
    let refused = world.postgres.sql(&world.ledger, "DO $$ BEGIN UPDATE reseal_audit SET actor = 'nobody'; RAISE 'edited'; EXCEPTION WHEN SQLSTATE 'RS003' THEN NULL; END $$");
    assert!(!refused.contains("edited"));
    world.ledger_sql("ALTER TABLE reseal_audit DISABLE TRIGGER USER; CREATE TABLE kept AS SELECT * FROM reseal_audit");
    let tampers = [
        ("edited", "UPDATE reseal_audit SET actor = 'nobody' WHERE seq = 3"),
        ("deleted", "DELETE FROM reseal_audit WHERE seq = 4"),
        (
            "reordered",
            "UPDATE reseal_audit SET seq = -seq WHERE seq IN (4, 5); UPDATE reseal_audit SET seq = CASE seq WHEN -4 THEN 5 ELSE 4 END WHERE seq < 0",
        ),
        ("cut off", "DELETE FROM reseal_audit WHERE seq > (SELECT max(seq) - 2 FROM reseal_audit)"),
    ];
    for (what, sql) in tampers {
        world.ledger_sql(sql);
        let verified = world.run(&["audit", "verify"]);
        assert_eq!(verified.code, 1, "{what}: {}", verified.stdout);
        world.ledger_sql("DELETE FROM reseal_audit; INSERT INTO reseal_audit SELECT * FROM kept");
        assert_eq!(world.run(&["audit", "verify"]).code, 0, "{what} was put back");
    }
}
