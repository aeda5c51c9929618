//! What is said of a PostgreSQL that cannot be reached: the same words for ledger and source, at once.

use crate::site::{Postgres, Site};
use reseal_config::SecretUrl;
use reseal_engine::source;
use reseal_entities::ledger::Ledger;
use reseal_tests::{Postgres as Server, Proxy};
use std::net::{TcpListener, TcpStream};

/// A server that asks for TLS or a password, whose certificate nobody knows.
fn guarded() -> Server {
    let server = Server::start();
    server.create_database("app");
    let data = server.sql("app", "SHOW data_directory");
    server.sql(
        "app",
        &format!(
            "COPY (SELECT 1) TO PROGRAM 'cd {data} && openssl req -x509 -newkey rsa:2048 -nodes -days 2 -subj /CN=other -keyout server.key -out server.crt 2>/dev/null && chmod 600 server.key'"
        ),
    );
    server.sql("app", "CREATE ROLE guarded LOGIN PASSWORD 'hunter2'");
    server.sql("app", "CREATE ROLE nologin NOLOGIN");
    server.sql("app", "ALTER SYSTEM SET ssl = on");
    server.sql(
        "app",
        &format!(
            "COPY (SELECT unnest(ARRAY['hostssl all guarded all scram-sha-256', 'hostnossl all guarded all reject', 'host all all all trust', 'local all all trust'])) TO '{data}/pg_hba.conf'"
        ),
    );
    server.sql("app", "SELECT pg_reload_conf()");
    server
}

async fn reached(url: &str) -> (Result<(), source::SourceError>, Result<(), String>) {
    let source = reseal_config::Source {
        name: "app".into(),
        url: SecretUrl::new(url),
        ddl_url: None,
        ignore_columns: Vec::new(),
        replica_lag_max: Default::default(),
        silence_max: std::time::Duration::from_secs(60),
    };
    let opened = source::open(&source, "sqlite://nowhere").await.map(|_| ());
    (opened, Ledger::connect(url).await.map(|_| ()).map_err(|e| e.to_string()))
}

#[tokio::test(flavor = "multi_thread")]
async fn each_reason_why_a_server_is_not_reached_has_its_own_words_with_the_host_and_no_secret() {
    let server = guarded();
    let port = server.port();
    let closed = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
    let at = |rest: &str| format!("postgres://{}", rest.replace("{port}", &port.to_string()));
    let cases = [
        (at(&format!("postgres@127.0.0.1:{closed}/app")), "source_unreachable", "refused"),
        (at("postgres@no-such-host.invalid:{port}/app"), "source_unreachable", "not known"),
        (at("postgres@/app?host=/nowhere"), "source_unreachable", "no such file"),
        (at("guarded:hunter3@127.0.0.1:{port}/app"), "source_login", "the password is wrong"),
        (at("guarded:hunter2@127.0.0.1:{port}/app?sslmode=disable"), "source_login", "pg_hba.conf"),
        (at("nobody:hunter2@127.0.0.1:{port}/app"), "source_login", "no role `nobody`"),
        (at("nologin:hunter2@127.0.0.1:{port}/app"), "source_login", "may not log in"),
        (at("postgres:hunter2@127.0.0.1:{port}/nowhere"), "source_login", "no database `nowhere`"),
        (at("postgres:hunter2@127.0.0.1:{port}/app?sslmode=verify-full"), "source_tls", "certificate"),
        (
            at("postgres:hunter2@127.0.0.1:{port}/app?sslmode=verify-full&sslrootcert=/nowhere/root.crt"),
            "source_url",
            "/nowhere/root.crt",
        ),
        (at("postgres@127.0.0.1:{port}/app?sslpassword=hunter2"), "source_url", "`sslpassword`"),
        (at("postgres@127.0.0.1:{port}/app?service=hunter2"), "source_url", "`service`"),
        (at("guarded:hunter2/x@127.0.0.1:{port}/app"), "source_url", "percent codes"),
        (at("guarded:hunter2#x@127.0.0.1:{port}/app"), "source_url", "percent codes"),
        (at("postgres@127.0.0.1:{port},127.0.0.1:1/app"), "source_url", "one host"),
    ];
    for (url, code, words) in cases {
        let (source, ledger) = reached(&url).await;
        let (source, ledger) = (source.unwrap_err(), ledger.unwrap_err());
        assert_eq!(source.code, code, "{url}: {source}");
        for said in [source.message, ledger] {
            assert!(said.contains(words) && !said.contains("hunter"), "{url}: {said}");
        }
    }
    for works in ["guarded:hunter2@127.0.0.1:{port}/app", "guarded:hunter2@127.0.0.1:{port}/app?sslmode=require"] {
        let (source, ledger) = reached(&at(works)).await;
        source.unwrap();
        ledger.unwrap();
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_address_of_ipv6_is_reached() {
    if TcpListener::bind("[::1]:0").is_err() {
        return; // this machine has none
    }
    let server = Server::start();
    server.create_database("app");
    let proxy = Proxy::before_at("[::1]:0", server.port());
    let (source, ledger) = reached(&format!("postgres://postgres@[::1]:{}/app", proxy.port())).await;
    source.unwrap();
    ledger.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_source_that_goes_down_in_the_middle_is_called_unreachable_and_not_busy() {
    let server = Server::start();
    let url = server.create_database("app");
    let site = Site::over(Postgres, &url, |_| ()).await;
    site.seed(10).await;
    let source = site.engine.source("app").unwrap();
    source.sight().await.unwrap();
    server.kill_immediate();
    while TcpStream::connect(("127.0.0.1", server.port())).is_ok() {}
    for _ in 0..3 {
        let said = source.sight().await.unwrap_err();
        assert_eq!(said.code, "source_unreachable", "{said}");
    }
}
