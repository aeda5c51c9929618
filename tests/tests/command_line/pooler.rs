//! PostgreSQL through PgBouncer: by session it works, by transaction it is refused.

use crate::failed;
use reseal_tests::{PgBouncer, Reseal, shared_postgres};
use std::time::Duration;

fn site(ledger: &str, source: &str, ddl: &str) -> Reseal {
    Reseal::new(format!(
        "[ledger]\nurl = \"{ledger}\"\nkey_backup = \"{{data}}/keys\"\n[queue]\nurl = \"memory:\"\n\
         [kek]\nuri = \"file:{{data}}/kek\"\n\
         [[source]]\nname = \"app\"\nurl = \"{source}\"\nddl_url = \"{ddl}\"\n\
         [[table]]\nsource = \"app\"\nname = \"messages\"\nprimary_key = [\"id\"]\n\
         columns = [{{ name = \"encrypted_content\" }}]\n\
         [rotation]\nclear_after = \"0s\"\nwriter_ttl = \"0s\"\n"
    ))
}

#[test]
fn a_pooler_by_transaction_is_refused_by_name_wherever_it_stands() {
    let server = shared_postgres();
    let pooler = PgBouncer::start(server, "transaction");
    let (ledger, app) = (server.create_database("pooled_ledger"), server.create_database("pooled_app"));
    let (pooled_ledger, pooled_app) = (pooler.url("pooled_ledger"), pooler.url("pooled_app"));
    let set_up = site(&ledger, &app, &app);
    set_up.run(&["keys", "init"]).ok();
    set_up.run(&["migrate", "--reference-tables", "app"]).ok();
    set_up.run(&["keys", "create", "default"]).ok();
    set_up.run(&["check"]).ok();
    let kek = std::fs::read(set_up.dir().join("kek")).unwrap();
    for (url, ddl, words) in [(&pooled_app, &pooled_app, " url leads"), (&app, &pooled_app, "ddl_url leads")] {
        let pooled = site(&ledger, url, ddl);
        pooled.run(&["keys", "init"]);
        std::fs::copy(set_up.dir().join("kek"), pooled.dir().join("kek")).unwrap();
        assert_eq!(std::fs::read(pooled.dir().join("kek")).unwrap(), kek);
        failed(&pooled.run(&["check"]), 1, &["source `app`", words, "session mode"]);
        failed(&pooled.run(&["rotate"]), 1, &[words]);
        assert_eq!(pooled.run(&["rotate", "--json"]).stderr.matches("source_is_pooled").count(), 1);
    }
    let pooled = site(&pooled_ledger, &app, &app);
    assert!(pooled.run(&["status", "--json"]).stderr.contains("ledger_is_pooled"));
}

#[test]
fn a_pooler_by_transaction_is_found_out_by_everybody_who_comes_at_once() {
    let server = shared_postgres();
    server.create_database("busy_ledger");
    for mode in ["transaction", "transaction\nserver_round_robin = 1", "transaction\ndefault_pool_size = 1"] {
        let pooler = PgBouncer::start(server, mode);
        let reseal = site(&pooler.url("busy_ledger"), "sqlite:x", "sqlite:x");
        let many: Vec<_> = (0..8).map(|_| reseal.spawn(&["migrate"])).collect();
        for one in many {
            failed(&one.wait(Duration::from_secs(60)), 1, &["ledger.url leads through a pooler", "session mode"]);
        }
    }
}

#[test]
fn a_rotation_goes_through_a_pooler_by_session() {
    let server = shared_postgres();
    let pooler = PgBouncer::start(server, "session");
    server.create_database("by_session_ledger");
    server.create_database("by_session_app");
    let (ledger, app) = (pooler.url("by_session_ledger"), pooler.url("by_session_app"));
    let reseal = site(&ledger, &app, &app);
    reseal.run(&["keys", "init"]).ok();
    reseal.run(&["migrate", "--reference-tables", "app"]).ok();
    reseal.run(&["keys", "create", "default"]).ok();
    reseal.run(&["check"]).ok();
    let up = reseal.spawn(&["up"]);
    assert_eq!(reseal.json(&["rotate", "--wait"])["old_key_state"], "destroyed");
    up.terminate();
    assert_eq!(up.wait(Duration::from_secs(30)).code, 0, "{}", up.stderr());
}
