//! Settings of the server, of a database, of a role or of a URL that change what a statement means.

use crate::{
    adoption::plain,
    schemas::keyed,
    site::{Postgres, Site, column, table},
};
use reseal_config::{Encoding, SecretUrl, Table};
use reseal_entities::state::RotationState;
use reseal_tests::shared_postgres;
use sea_orm::{ConnectionTrait, Statement, Value};

/// A schema in front of everything, with operators, functions and types that lie, and every setting turned to what a
/// database of old may still have.
pub(crate) const HOSTILE: &str = "
    CREATE SCHEMA legacy;
    CREATE FUNCTION legacy.never(bytea, bytea) RETURNS bool LANGUAGE sql IMMUTABLE AS 'SELECT false';
    CREATE FUNCTION legacy.never(text, text) RETURNS bool LANGUAGE sql IMMUTABLE AS 'SELECT false';
    CREATE FUNCTION legacy.never(varchar, varchar) RETURNS bool LANGUAGE sql IMMUTABLE AS 'SELECT false';
    CREATE FUNCTION legacy.never(bigint, bigint) RETURNS bool LANGUAGE sql IMMUTABLE AS 'SELECT false';
    CREATE FUNCTION legacy.never(uuid, uuid) RETURNS bool LANGUAGE sql IMMUTABLE AS 'SELECT false';
    CREATE OPERATOR legacy.= (FUNCTION = legacy.never, LEFTARG = bytea, RIGHTARG = bytea);
    CREATE OPERATOR legacy.= (FUNCTION = legacy.never, LEFTARG = text, RIGHTARG = text);
    CREATE OPERATOR legacy.= (FUNCTION = legacy.never, LEFTARG = varchar, RIGHTARG = varchar);
    CREATE OPERATOR legacy.= (FUNCTION = legacy.never, LEFTARG = bigint, RIGHTARG = bigint);
    CREATE OPERATOR legacy.= (FUNCTION = legacy.never, LEFTARG = uuid, RIGHTARG = uuid);
    CREATE OPERATOR legacy.<> (FUNCTION = legacy.never, LEFTARG = bytea, RIGHTARG = bytea);
    CREATE OPERATOR legacy.> (FUNCTION = legacy.never, LEFTARG = bigint, RIGHTARG = bigint);
    CREATE OPERATOR legacy.<= (FUNCTION = legacy.never, LEFTARG = bigint, RIGHTARG = bigint);
    CREATE OPERATOR legacy.~ (FUNCTION = legacy.never, LEFTARG = text, RIGHTARG = text);
    CREATE OPERATOR legacy.~* (FUNCTION = legacy.never, LEFTARG = text, RIGHTARG = text);
    CREATE FUNCTION legacy.sha256(bytea) RETURNS text LANGUAGE sql IMMUTABLE AS $$ SELECT 'no digest'::pg_catalog.text $$;
    CREATE FUNCTION legacy.octet_length(bytea) RETURNS int LANGUAGE sql IMMUTABLE AS 'SELECT 1';
    CREATE FUNCTION legacy.encode(bytea, text) RETURNS text LANGUAGE sql IMMUTABLE AS $$ SELECT 'no hex'::pg_catalog.text $$;
    CREATE FUNCTION legacy.decode(text, text) RETURNS bytea LANGUAGE sql IMMUTABLE AS $$ SELECT ''::pg_catalog.bytea $$;
    CREATE FUNCTION legacy.convert_from(bytea, name) RETURNS text LANGUAGE sql IMMUTABLE AS $$ SELECT ''::pg_catalog.text $$;
    CREATE FUNCTION legacy.convert_to(text, name) RETURNS bytea LANGUAGE sql IMMUTABLE AS $$ SELECT ''::pg_catalog.bytea $$;
    CREATE FUNCTION legacy.unnest(bytea[]) RETURNS SETOF bytea LANGUAGE sql IMMUTABLE AS $$ SELECT ''::pg_catalog.bytea $$;
    CREATE FUNCTION legacy.pg_is_in_recovery() RETURNS bool LANGUAGE sql IMMUTABLE AS 'SELECT true';
    CREATE DOMAIN legacy.text AS pg_catalog.text CHECK (false);
    CREATE DOMAIN legacy.uuid AS pg_catalog.uuid CHECK (false);";

const SETTINGS: [&str; 10] = [
    "search_path = legacy, public, pg_catalog",
    "standard_conforming_strings = off",
    "bytea_output = escape",
    "default_transaction_isolation = serializable",
    "quote_all_identifiers = on",
    "transform_null_equals = on",
    "intervalstyle = sql_standard",
    "synchronous_commit = off",
    "idle_session_timeout = '600ms'",
    "idle_in_transaction_session_timeout = '600ms'",
];

/// A site whose database has every setting turned around, for everybody.
async fn hostile(name: &str, tables: Vec<Table>) -> Site {
    let name = format!("hostile_{}_{name}", std::process::id());
    let url = shared_postgres().create_database(&name);
    let site = Site::over(Postgres, &url, |config| {
        config.tables.truncate(3);
        config.tables.extend(tables);
    })
    .await;
    site.sql(HOSTILE).await;
    for setting in SETTINGS {
        shared_postgres().sql("postgres", &format!("ALTER DATABASE \"{name}\" SET {setting}"));
    }
    site
}

impl Site {
    /// What a connection that is opened now says to a statement with one cell.
    async fn refuses(&self, before: &str, sql: &str, cell: Vec<u8>) -> String {
        let mut options = sea_orm::ConnectOptions::new(self.engine.config.sources[0].url.expose());
        options.max_connections(1).sqlx_logging(false);
        let app = sea_orm::Database::connect(options).await.unwrap();
        app.execute_unprepared(before).await.unwrap();
        let insert = Statement::from_sql_and_values(Postgres, sql, [Value::from(cell)]);
        app.execute_raw(insert).await.unwrap_err().to_string()
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn settings_that_change_what_sql_means_hide_nothing_and_stop_nothing() {
    let words = table("words", vec![plain("body", Encoding::Bytes, "words:{id}")]);
    let texts = keyed("texts", &["name"], vec![column("c", "texts:{name}")]);
    let mut site = hostile("whole", vec![words, texts]).await;
    let truth = site.seed(120).await;
    let old = site.keyset("default").await;
    site.sql("CREATE TABLE public.words (id bigint PRIMARY KEY, body bytea)").await;
    site.sql("CREATE TABLE public.texts (name varchar(40) PRIMARY KEY, c bytea)").await;
    site.sql("CREATE TABLE public.history (copy bytea)").await;
    site.sql("CREATE TABLE public.memo (copy pg_catalog.text)").await;
    for i in 0..40_i64 {
        let cell = old.encrypt(b"text", format!("texts:{i}").as_bytes());
        site.run("INSERT INTO public.words VALUES ($1, $2)", vec![i.into(), format!("word {i}").into_bytes().into()])
            .await;
        site.run("INSERT INTO public.texts VALUES ($1, $2)", vec![i.to_string().into(), cell.clone().into()]).await;
        site.run("INSERT INTO public.history VALUES ($1)", vec![cell.clone().into()]).await;
        site.run("INSERT INTO public.memo VALUES (pg_catalog.encode($1, 'base64'))", vec![cell.into()]).await;
    }
    site.restart("under-hostile-settings").await;
    let id = site.request().await;
    let blocked = site.drive(id, |s| s.code.as_deref() == Some("proof_blocked")).await;
    let detail = blocked.detail.unwrap();
    assert!(detail.contains("history.copy") && detail.contains("memo.copy"), "{detail}");
    let late = "INSERT INTO public.messages (id, encrypted_content, created_at) VALUES (-77, $1, 0)";
    for before in ["SET standard_conforming_strings = off", "SET search_path = legacy, public, pg_catalog"] {
        let refused = site.refuses(before, late, old.encrypt(b"late", b"")).await;
        assert!(refused.contains("reload the keyset"), "{before}: {refused}");
    }
    site.sql("DROP TABLE public.history").await;
    site.sql("DROP TABLE public.memo").await;
    site.ledger_sql("UPDATE reseal_rotations SET step_due_at = 0, next_ring_at = 0").await;
    site.drive_to(id, RotationState::Completed).await;
    assert_eq!(site.ledger_count("SELECT count(*) FROM reseal_quarantine").await, 0);
    assert_eq!(site.read_all().await, truth);
    let new = site.keyset("default").await;
    let word = site.stored("SELECT body FROM public.words WHERE id OPERATOR(pg_catalog.=) 7", vec![]).await;
    assert_eq!(new.decrypt(&word, b"words:7").unwrap()[..], *b"word 7");
}

#[tokio::test(flavor = "multi_thread")]
async fn the_trigger_alone_refuses_a_writer_whatever_its_session_says() {
    let mut site = hostile("trigger", vec![]).await;
    site.seed(30).await;
    let old = site.keyset("default").await;
    site.restart("under-hostile-settings").await;
    site.rotate().await;
    site.sql(
        "DO $$ BEGIN EXECUTE (SELECT pg_catalog.format('ALTER TABLE public.messages DROP CONSTRAINT %I', conname)
         FROM pg_catalog.pg_constraint WHERE contype = 'c' AND conrelid = 'public.messages'::regclass); END $$",
    )
    .await;
    let late = "INSERT INTO public.messages (id, encrypted_content, created_at) VALUES (-77, $1, 0)";
    for before in ["SET standard_conforming_strings = off", "SET search_path = legacy, public, pg_catalog"] {
        let refused = site.refuses(before, late, old.encrypt(b"late", b"")).await;
        assert!(refused.contains("reload the keyset"), "{before}: {refused}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_function_of_the_fence_that_lost_its_settings_does_not_stand() {
    let site = Site::new(Postgres).await;
    site.seed(10).await;
    site.rotate().await;
    let wrong = async || {
        let fences = reseal_engine::operate::fences(&site.engine).await.unwrap();
        fences.into_iter().map(|f| f.state.detail).filter(|d| !d.is_empty()).collect::<Vec<_>>()
    };
    assert!(wrong().await.is_empty(), "{:?}", wrong().await);
    site.sql(
        "DO $$ BEGIN EXECUTE (SELECT format('ALTER FUNCTION %s RESET search_path', tgfoid::regprocedure)
         FROM pg_trigger WHERE tgrelid = 'messages'::regclass AND tgname LIKE 'zz%'); END $$",
    )
    .await;
    assert_eq!(wrong().await, ["the trigger is another one"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_trigger_of_the_application_finds_its_tables_and_functions_as_ever() {
    let url = shared_postgres().create_database(&format!("hostile_{}_theirs", std::process::id()));
    let site = Site::over(Postgres, &url, |config| {
        config.tables =
            vec![Table { schema: Some("app".into()), ..table("notes", vec![column("body", "notes:{id}")]) }];
        config.sources[0].ignore_columns = vec!["app.log.said".into()];
        let url = format!("{url}?options[search_path]=app,public,pg_catalog&options[standard_conforming_strings]=off");
        config.sources[0].url = SecretUrl::new(url);
    })
    .await;
    for sql in [
        "CREATE SCHEMA app",
        "CREATE TABLE app.notes (id bigint PRIMARY KEY, body bytea)",
        "CREATE TABLE app.log (id bigint, said text)",
        "CREATE FUNCTION app.sha256(bytea) RETURNS text LANGUAGE sql IMMUTABLE AS $$ SELECT 'ours' $$",
        r"CREATE FUNCTION app.tell() RETURNS trigger LANGUAGE plpgsql AS $$
          BEGIN INSERT INTO log VALUES (NEW.id, sha256('x'::bytea) || 'a\tb'); RETURN NEW; END $$",
        "CREATE TRIGGER tell AFTER UPDATE ON app.notes FOR EACH ROW EXECUTE FUNCTION app.tell()",
    ] {
        site.sql(sql).await;
    }
    let old = site.keyset("default").await;
    for id in 0..20_i64 {
        let cell = old.encrypt(b"note", format!("notes:{id}").as_bytes());
        site.run("INSERT INTO app.notes VALUES ($1, $2)", vec![id.into(), cell.into()]).await;
    }
    site.rotate().await;
    assert_eq!(site.count("SELECT count(*) FROM app.log WHERE said = 'oursa' || chr(9) || 'b'").await, 20);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_table_without_a_schema_is_the_one_that_the_role_would_find() {
    let url = shared_postgres().create_database(&format!("hostile_{}_found", std::process::id()));
    let site = Site::over(Postgres, &url, |config| {
        config.tables = vec![table("notes", vec![column("body", "notes:{id}")])];
        config.sources[0].url = SecretUrl::new(format!("{url}?options[search_path]=app,public"));
    })
    .await;
    for schema in ["public", "app"] {
        site.sql(&format!("CREATE SCHEMA IF NOT EXISTS {schema}")).await;
        site.sql(&format!("CREATE TABLE {schema}.notes (id bigint PRIMARY KEY, body bytea)")).await;
    }
    site.rotate().await;
    let of_app = "SELECT count(*) FROM reseal_catalog WHERE schema_name = 'app' AND table_name = 'notes'";
    assert_eq!(site.ledger_count(of_app).await, 1);
    assert_eq!(site.ledger_count("SELECT count(*) FROM reseal_catalog").await, 1);
}
