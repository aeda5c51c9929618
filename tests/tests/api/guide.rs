//! What the guide shows for people who do not write Rust is run as it stands there.

use crate::world::World;
use reseal_tests::{example_bin, node_modules, python};
use serde_json::Value;
use std::{os::unix::fs::symlink, path::Path};

const GUIDE: &str = include_str!("../../../docs/http-api.md");

/// The guide's blocks of a language, in their order: one program.
fn program(language: &str) -> String {
    let opening = format!("```{language}\n");
    let blocks: Vec<_> = GUIDE.split(&opening).skip(1).filter_map(|rest| rest.split("```\n").next()).collect();
    assert!(blocks.len() > 5, "the guide has {} blocks of {language}", blocks.len());
    blocks.join("\n")
}

/// One rotation came of it, a census and a retry; the refusal of the clearing was shown, and the keyset is free again.
fn was_done(world: &World, said: &str) {
    assert!(said.contains("key_in_use") && said.contains("the waiting time is over"), "{said}");
    let of = |list: &Value, what: &str, wanted: &str| -> Vec<Value> {
        list[what].as_array().expect("a list").iter().map(|each| each[wanted].clone()).collect()
    };
    let rotations = world.reseal.json(&["status"]);
    assert_eq!(of(&rotations, "rotations", "state"), ["cancelled"], "{said}");
    let operations = world.reseal.json(&["operations", "list"]);
    assert_eq!(of(&operations, "operations", "kind"), ["census", "retry"], "newest first, each once");
    assert_eq!(of(&operations, "operations", "state"), ["succeeded", "succeeded"]);
}

#[test]
fn the_guides_curl_runs() {
    let world = World::new();
    let script = world.write("guide.sh", &program("sh"));
    let said = world.run("bash", &["-eu", &script]);
    was_done(&world, &said);
}

#[test]
fn the_guides_python_runs() {
    let world = World::new();
    let script = world.write("guide.py", &program("python"));
    let said = world.run(python(), &["-uB", &script]);
    was_done(&world, &said);
}

#[test]
fn the_guides_typescript_runs_with_a_client_generated_from_the_committed_description() {
    let world = World::new();
    let (modules, dir) = (node_modules("typescript"), world.reseal.dir());
    let module = |name: &str| modules.join(name).to_str().expect("UTF-8").to_owned();
    symlink(&modules, dir.join("node_modules")).expect("linked");
    world.write("package.json", r#"{"type": "module"}"#);
    let script = world.write("guide.ts", &program("typescript"));
    let description = concat!(env!("CARGO_MANIFEST_DIR"), "/../docs/openapi.json");
    let client = dir.join("reseal.d.ts");
    let client = client.to_str().expect("UTF-8");
    world.run("node", &[&module("openapi-typescript/bin/cli.js"), description, "--output", client]);
    let strict = ["--strict", "--module", "nodenext", "--target", "es2022", "--types", "node"];
    world.run("node", &[&[&*module("typescript/bin/tsc"), &script][..], &strict].concat());
    let compiled = Path::new(&script).with_extension("js");
    let said = world.run("node", &[compiled.to_str().expect("UTF-8")]);
    was_done(&world, &said);
}

#[test]
fn the_clients_example_runs() {
    let world = World::new();
    let said = world.run(example_bin("client"), &[]);
    assert!(said.contains("rotation.requested by token guide"), "{said}");
    assert_eq!(world.reseal.json(&["status"])["rotations"][0]["state"], "waiting");
}
