//! Keysets that Python's Tink made, and rows that it wrote before Reseal was there.

use crate::world::World;
use serde_json::Value;

const TABLES: &str = r#"
[[table]]
source = 'app'
schema = 'Sales "EU"'
name = 'Customer "Files" 1'
primary_key = ['Tenant Id', 'Ref "x"']
columns = [
  { name = 'Secret Body', keyset = 'alpha', associated_data = 'files/{Tenant Id}/{Ref "x"}' },
  { name = 'Token', keyset = 'beta', encoding = 'base64', associated_data = 'Token {Ref "x"} of {Tenant Id}' },
]
[[table]]
source = 'app'
name = 'Blob Store'
primary_key = ['K']
columns = [
  { name = 'v', keyset = 'beta', encoding = 'base64url-unpadded', associated_data = 'blob {K}' },
  { name = 'free', keyset = 'alpha' },
]
[[table]]
source = 'app'
schema = 'Sales "EU"'
name = 'events'
primary_key = ['id', 'region']
columns = [{ name = 'detail', keyset = 'alpha', associated_data = 'events:{region}:{id}' }]
"#;

/// What fires and what leaves at each row of `Customer "Files" 1` that is changed.
const TRIGGER_AND_PUBLICATION: &str = r#"
CREATE TABLE touched (n bigint);
CREATE FUNCTION "count It"() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN INSERT INTO public.touched VALUES (1); RETURN NULL; END $$;
CREATE TRIGGER "touch It" AFTER UPDATE ON "Sales ""EU"""."Customer ""Files"" 1" FOR EACH ROW EXECUTE FUNCTION "count It"();
CREATE PUBLICATION "to Warehouse" FOR TABLE "Sales ""EU"""."Customer ""Files"" 1";
"#;

/// Batches end and chunks are cut at every kind of key.
const SMALL: &str = "batch_rows = 20\nchunk_rows = 10";

fn read(world: &World, [alpha, beta]: &[String; 2]) -> Value {
    world.python("awkward.py", &["read", &world.app_url(), &world.path("truth.json"), alpha, beta])
}

fn ids(read: &Value, keyset: &str) -> Vec<String> {
    read["key_ids"][keyset].as_object().unwrap().keys().cloned().collect()
}

#[test]
fn keysets_of_pythons_tink_with_awkward_names_and_keys_are_adopted_rotated_and_read_back_by_python() {
    let world = World::of_tables(TABLES, SMALL);
    let keysets = ["alpha", "beta"];
    let made = keysets.map(|name| world.path(&format!("{name}.json")));
    for file in &made {
        world.python("keyset.py", &["new", file]);
    }
    let truth = world.path("truth.json");
    let written = world.python("awkward.py", &["write", &world.app_url(), &truth, &made[0], &made[1]]);
    world.app_sql(TRIGGER_AND_PUBLICATION);
    for name in keysets {
        world.import(name, &format!("{name}.json"), "tink-json");
    }
    let before = read(&world, &made);
    assert_eq!(before["cells"], written["cells"]);
    let checked = world.run(&["check"]).ok().stdout;
    for note in [
        "trigger touch It (count It) fires at every row that is re-encrypted",
        "publication to Warehouse replicates every row that is re-encrypted",
    ] {
        assert!(checked.contains(note), "{checked}");
    }
    let columns = world.reseal.json(&["check"])["columns"].clone();
    let noted = columns.as_array().unwrap().iter().filter(|c| !c["notes"].as_array().unwrap().is_empty());
    let noted: Vec<_> = noted.map(|c| c["column"].as_str().unwrap()).collect();
    let file = r#"app:Sales "EU".Customer "Files" 1"#;
    assert_eq!(noted, [format!("{file}.Secret Body"), format!("{file}.Token")]);

    let _workers = [world.worker(), world.worker()];
    let mut held = made.clone();
    for (name, id) in keysets.iter().zip(1..) {
        let refused = world.run(&["rotate", name]);
        assert!(refused.code == 1 && refused.stderr.contains("keys create"), "{}", refused.stderr);
        let waited = world.rotate_published(name);
        assert_eq!(waited.code, 0, "{}{}", waited.stdout, waited.stderr);
        let rotation = world.rotation(id as i64);
        assert_eq!((&rotation["state"], &rotation["quarantined"]), (&"completed".into(), &0.into()), "{rotation}");
        // What was deployed before the promotion reads everything after it.
        held[id - 1] = world.path(&format!("{name}-published.json"));
        read(&world, &held);
    }

    let exported = keysets.map(|name| world.export_of(name, &format!("{name}-now.json")));
    let after = read(&world, &exported);
    assert_eq!(after["cells"], written["cells"]);
    for name in keysets {
        let new = world.only_the_active_key_is_left(name);
        assert_eq!(ids(&after, name), [new], "{after}");
        assert_ne!(ids(&after, name), ids(&before, name));
    }
    let rows: i64 = world.app_sql(r#"SELECT count(*) FROM "Sales ""EU"""."Customer ""Files"" 1""#).parse().unwrap();
    let touched: i64 = world.app_sql("SELECT count(*) FROM touched").parse().unwrap();
    assert!(rows > 200 && touched >= rows, "{touched} of {rows} rows fired the trigger");
    assert_eq!(world.run(&["audit", "verify"]).code, 0);
}
