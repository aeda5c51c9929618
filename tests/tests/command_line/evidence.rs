//! What an auditor is handed, and counting on demand.

use crate::{embedded, failed, ready};
use reseal_tests::Reseal;
use serde_json::{Value, json};
use sqlx::Connection;

async fn tamper(reseal: &Reseal, statements: &str) {
    let file = reseal.dir().join("ledger.sqlite");
    let mut ledger = sqlx::SqliteConnection::connect(&format!("sqlite://{}", file.display())).await.unwrap();
    for guard in ["update", "delete", "replace"] {
        let drop = sqlx::AssertSqlSafe(format!("DROP TRIGGER IF EXISTS reseal_guard_audit_{guard}"));
        sqlx::raw_sql(drop).execute(&mut ledger).await.unwrap();
    }
    sqlx::raw_sql(sqlx::AssertSqlSafe(statements.to_owned())).execute(&mut ledger).await.unwrap();
}

fn lines(text: &str) -> Vec<Value> {
    text.lines().map(|line| serde_json::from_str(line).unwrap_or_else(|e| panic!("{line}: {e}"))).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn an_export_ends_with_a_checkpoint_by_which_a_cut_off_tail_is_noticed() {
    let reseal = ready(embedded());
    let exported = lines(&reseal.run(&["audit", "export"]).ok().stdout);
    let (end, entries) = exported.split_last().unwrap();
    assert!(entries.len() >= 2, "{exported:?}");
    assert_eq!(
        entries.iter().map(|e| e["seq"].as_u64().unwrap()).collect::<Vec<_>>(),
        (1..=entries.len() as u64).collect::<Vec<_>>()
    );
    let last = entries.last().unwrap();
    assert_eq!(*end, json!({"seq": last["seq"], "hash": last["hash"], "entries": entries.len()}));

    let file = reseal.dir().join("audit.jsonl").display().to_string();
    reseal.run(&["audit", "export", &file]).ok();
    failed(&reseal.run(&["audit", "export", &file]), 1, &["is not overwritten"]);
    reseal.run(&["keys", "create", "default"]).ok();
    let kept = reseal.run(&["audit", "verify", "--checkpoint", &file]).ok().stdout;
    assert!(kept.contains(&format!("entry {} as it was", last["seq"])), "{kept}");

    // given a tail cut off together with its head, so that the chain by itself holds
    tamper(
        &reseal,
        "DELETE FROM reseal_audit WHERE seq > 1; UPDATE reseal_audit_head SET seq = 1, hash = (SELECT hash FROM reseal_audit)",
    )
    .await;
    reseal.run(&["audit", "verify"]).ok();
    failed(&reseal.run(&["audit", "verify", "--checkpoint", &file]), 1, &["entries 2 to", "cut off"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_export_of_a_part_says_which_and_one_of_a_broken_chain_has_no_checkpoint() {
    let reseal = ready(embedded());
    let all = lines(&reseal.run(&["audit", "export"]).ok().stdout);
    let part = lines(&reseal.run(&["audit", "export", "--from", "2"]).ok().stdout);
    assert_eq!(part[..part.len() - 1], all[1..all.len() - 1]);
    assert_eq!(part.last().unwrap()["entries"], part.len() - 1);
    failed(&reseal.run(&["audit", "export", "--from", "99"]), 1, &["no entry 99"]);
    failed(&reseal.run(&["audit", "export", "--from", "0"]), 2, &["--from"]);
    tamper(&reseal, "UPDATE reseal_audit SET actor = 'eve' WHERE seq = 2").await;
    let output = reseal.run(&["audit", "export"]);
    failed(&output, 1, &["entry 2 is not what was written"]);
    assert!(!output.stdout.contains("entries"), "{}", output.stdout);
}

#[test]
fn what_is_no_export_is_no_checkpoint() {
    let reseal = ready(embedded());
    let file = reseal.dir().join("kek").display().to_string();
    failed(&reseal.run(&["audit", "verify", "--checkpoint", &file]), 2, &["does not end with a checkpoint"]);
}

#[test]
fn a_census_counts_one_column_or_one_key_when_asked_to() {
    let reseal = ready(embedded());
    reseal.run(&["check"]).ok();
    let key = reseal.json(&["keys", "list"])["keys"][0]["key_id"].to_string();
    let none = reseal.json(&["census", "messages.encrypted_content", "--key", &key]);
    let column = &none["columns"][0];
    assert_eq!(
        (&column["column"], &column["keys"][0]["cells"]),
        (&"app:main.messages.encrypted_content".into(), &0.into())
    );
    assert_eq!(column["keys"][0]["key_id"].to_string(), key);
    assert_eq!(reseal.json(&["census"])["columns"], json!([]), "an empty table has no values to count");
    failed(&reseal.run(&["census", "messages.other"]), 1, &["messages.other"]);
    failed(&reseal.run(&["census", "--key", "7"]), 1, &["no key 7"]);
}

#[test]
fn every_command_has_its_page_and_every_shell_its_completions() {
    let reseal = embedded();
    let folder = reseal.dir().join("man").display().to_string();
    let pages = reseal.json(&["man", &folder])["files"].as_array().unwrap().len();
    assert!(pages > 40, "{pages}");
    let page = std::fs::read_to_string(format!("{folder}/reseal-keys-export.1")).unwrap();
    assert!(page.contains(".TH reseal-keys-export 1") && page.contains("insecure"), "{page}");
    assert!(reseal.run(&["man"]).ok().stdout.contains(".TH reseal 1"));
    for shell in ["bash", "elvish", "fish", "powershell", "zsh"] {
        let script = reseal.run(&["completions", shell]).ok().stdout;
        assert!(script.contains("quarantine") && script.contains("insecure-cleartext"), "{shell}");
    }
}
