//! A ledger that comes back from before the rotation.

use crate::world::World;

#[test]
fn a_ledger_restored_from_before_the_rotation_recovers_the_key_that_rows_need() {
    let world = World::new([60, 600, 60], "");
    // A template copy is PostgreSQL's own dump and restore in one.
    world.postgres.sql("postgres", &format!("CREATE DATABASE {0}_before TEMPLATE {0}", world.ledger));
    let worker = world.worker();
    world.rotate(&["--wait"]).ok();
    worker.terminate();
    worker.wait(std::time::Duration::from_secs(20));
    world.postgres.sql("postgres", &format!("ALTER DATABASE {0} RENAME TO {0}_lost", world.ledger));
    world.postgres.sql("postgres", &format!("ALTER DATABASE {0}_before RENAME TO {0}", world.ledger));
    let broken = world.run(&["check"]);
    assert_eq!(broken.code, 1, "the restored ledger has lost the key: {}", broken.stdout);
    let recovered = world.run(&["keys", "recover"]).ok();
    assert!(recovered.stdout.contains("put back"), "{}", recovered.stdout);
    // The source was changed since that ledger: a person says that it is the ledger all the same.
    let refused = world.run(&["check"]);
    assert!(refused.code == 1 && refused.stdout.contains("--accept-source app"), "{}", refused.stdout);
    assert_eq!(world.run(&["check", "--accept-source", "app"]).code, 0);
    let compared = world.compare();
    assert_eq!(compared["rows"], 720);
}
