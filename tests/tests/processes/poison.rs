//! Rows that cannot be re-encrypted.

use crate::world::{World, rows};

#[test]
fn poison_rows_need_attention_and_no_command_clears_the_key_until_they_are_repaired() {
    let world = World::new(rows(), "");
    let saved = world.app_sql("SELECT id, encode(encrypted_content, 'hex') FROM messages ORDER BY id LIMIT 5");
    let saved: Vec<(String, String)> =
        saved.lines().map(|l| l.split_once('|').map(|(id, cell)| (id.into(), cell.into())).unwrap()).collect();
    let ids: Vec<String> = saved.iter().map(|(id, _)| id.clone()).collect();
    let [truncated, flipped, unknown, one, other] = &ids[..] else { panic!("{ids:?}") };
    world.app_sql(&format!(
        "UPDATE messages SET encrypted_content = substring(encrypted_content from 1 for 30) WHERE id = {truncated};
         UPDATE messages SET encrypted_content = set_byte(encrypted_content, 40, get_byte(encrypted_content, 40) # 1) WHERE id = {flipped};
         UPDATE messages SET encrypted_content = overlay(encrypted_content placing '\\x00000007' from 2) WHERE id = {unknown};
         UPDATE messages m SET encrypted_content = o.encrypted_content FROM messages o
          WHERE (m.id = {one} AND o.id = {other}) OR (m.id = {other} AND o.id = {one});"
    ));
    let _worker = world.worker();
    let waited = world.rotate(&["--wait", "--json"]);
    assert_eq!(waited.code, 3, "{}{}", waited.stdout, waited.stderr);
    let status = world.run(&["status", "1"]);
    assert_eq!(status.code, 3);
    assert!(status.stdout.contains("needs attention"), "{}", status.stdout);
    let listed = world.reseal.json(&["quarantine", "list"]);
    let rows = listed["quarantine"].as_array().expect("a list");
    let told = |r: &serde_json::Value, field: &str| r[field].as_str().unwrap().to_owned();
    let mut codes: Vec<_> = rows.iter().map(|r| (told(r, "row_key"), told(r, "code"))).collect();
    codes.sort();
    let expected = ["cell_truncated", "not_authentic", "unknown_key", "not_authentic", "not_authentic"];
    let mut expected: Vec<_> = ids.iter().cloned().zip(expected.map(str::to_owned)).collect();
    expected.sort();
    assert_eq!(codes, expected);

    let old = world.status()["old_keys"][0]["key_id"].to_string();
    let cleared = world.run(&["keys", "clear", &old]);
    assert_eq!(cleared.code, 1);
    assert!(cleared.stderr.contains("quarantined"), "{}", cleared.stderr);
    assert_eq!(world.ledger_count(&format!("SELECT count(wrapped_dek) FROM reseal_keys WHERE key_id = {old}")), 1);
    let row = rows[0]["id"].to_string();
    let by_note = world.run(&["quarantine", "resolve", &row, "--note", "fine"]);
    assert_eq!(by_note.code, 1, "no resolving by note alone");

    for (id, cell) in saved {
        world.app_sql(&format!("UPDATE messages SET encrypted_content = decode('{cell}', 'hex') WHERE id = {id}"));
    }
    world.run(&["retry", "1", "--all"]).ok();
    world.until_completed();
    world.nothing_is_lost_and_the_old_key_is_gone();
}
