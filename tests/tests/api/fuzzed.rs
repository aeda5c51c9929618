//! Schemathesis against the served description, with every check.

use crate::site::{Site, keyset};
use reseal_entities::tokens::Role;
use reseal_tests::{Leash, for_each_ledger, python};
use std::time::Duration;

/// What a stream that never ends is to a client that waits for its end.
const ENDLESS: &str = "/v1/events";

fn schemathesis(site: &Site, more: &[&str]) -> Result<(), String> {
    let leash = Leash::new();
    let tool = python().with_file_name("schemathesis");
    let description = format!("{}/openapi.json", site.url);
    let fixed = ["run", &description, "--checks", "all", "--no-color", "--seed", "7", "--request-timeout", "20"];
    let limits = ["--max-examples", "12", "--phases", "examples,coverage,fuzzing,stateful", "--workers", "2"];
    let job = leash.start(tool, &[&fixed[..], &limits[..], more].concat(), &[]);
    let output = job.wait(Duration::from_secs(600));
    if output.code == 0 { Ok(()) } else { Err(format!("{}{}", output.stdout, output.stderr)) }
}

#[test]
fn schemathesis_finds_no_fault_with_a_token_and_without() {
    for_each_ledger(async |ledger| {
        let site = Site::over(&ledger).await;
        for name in ["default", "other"] {
            keyset(&ledger, name).await;
        }
        site.rotate("default").await;
        let token = format!("Authorization: Bearer {}", site.token(Role::Admin));
        let runs = [vec!["-H", &token, "--exclude-path", ENDLESS], vec![]];
        for more in runs {
            let run = tokio::task::block_in_place(|| schemathesis(&site, &more));
            run.unwrap_or_else(|found| panic!("{}", found.replace(site.token(Role::Admin), "TOKEN")));
        }
    });
}
