use std::{
    fs,
    path::PathBuf,
    process::Command,
    sync::{Mutex, OnceLock},
    time::Duration,
};

use rustix::process::Signal;

use crate::{
    eventually::poll,
    leash::{Job, Leash, unprivileged},
    port,
};

const READY_WITHIN: Duration = Duration::from_secs(60);
/// `synchronous_commit` stays on, because Reseal refuses ledgers without; what `fsync` guards
/// against, a machine that loses power, is no fault that a test can make.
const SETTINGS: [&str; 7] = [
    "listen_addresses=127.0.0.1",
    "fsync=off",
    "max_connections=200",
    "max_prepared_transactions=20",
    "wal_receiver_status_interval=1s",
    "shared_buffers=128MB",
    "log_line_prefix=%m [%p] ",
];

/// A PostgreSQL server of its own, gone with the test process. Superuser `postgres`, no password.
#[derive(Debug)]
pub struct Postgres {
    // before `leash`: the server ends first
    server: Mutex<Job>,
    leash: Leash,
    bin: PathBuf,
    port: u16,
}

/// One server per test binary; each test makes its own database in it.
pub fn shared_postgres() -> &'static Postgres {
    static SHARED: OnceLock<Postgres> = OnceLock::new();
    SHARED.get_or_init(Postgres::start)
}

impl Postgres {
    /// Starts the newest installed PostgreSQL.
    pub fn start() -> Self {
        let bin = bin();
        let leash = Leash::with(Signal::QUIT, unprivileged());
        let initdb = ["-D", "data", "-U", "postgres", "-A", "trust", "-E", "UTF8", "--no-locale", "-N"];
        leash.start(bin.join("initdb"), &initdb, &[]).wait(READY_WITHIN).ok();
        for _ in 0..5 {
            let port = port::free();
            if let Some(job) = launch(&leash, &bin, port) {
                return Self { server: Mutex::new(job), leash, bin, port };
            }
        }
        panic!("five ports were taken by others before PostgreSQL had them");
    }

    /// A streaming replica of this server, as a server of its own. It calls itself `name`.
    pub fn replica(&self, name: &str) -> Self {
        let leash = Leash::with(Signal::QUIT, unprivileged());
        let primary = format!("postgres://postgres@127.0.0.1:{}/?application_name={name}", self.port);
        let copy = ["-D", "data", "-d", &primary, "-X", "stream", "-c", "fast", "-R"];
        leash.start(self.bin.join("pg_basebackup"), &copy, &[]).wait(READY_WITHIN).ok();
        for _ in 0..5 {
            let port = port::free();
            if let Some(job) = launch(&leash, &self.bin, port) {
                return Self { server: Mutex::new(job), leash, bin: self.bin.clone(), port };
            }
        }
        panic!("five ports were taken by others before the replica had them");
    }

    /// The address of a database, which need not exist yet.
    pub fn url(&self, database: &str) -> String {
        format!("postgres://postgres@127.0.0.1:{}/{database}", self.port)
    }

    /// Its port on 127.0.0.1.
    pub fn port(&self) -> u16 {
        self.port
    }

    /// Makes an empty database and returns its address.
    pub fn create_database(&self, name: &str) -> String {
        // not template1: two tests that copy it at once disturb each other
        self.sql("postgres", &format!("create database \"{name}\" template template0"));
        self.url(name)
    }

    /// Runs statements with psql; rows come back as lines, values separated by `|`.
    pub fn sql(&self, database: &str, statements: &str) -> String {
        let out = Command::new(self.bin.join("psql"))
            .args(["-XAtq", "-v", "ON_ERROR_STOP=1", "-c", statements, &self.url(database)])
            .output()
            .expect("psql");
        let stderr = String::from_utf8_lossy(&out.stderr);
        assert!(out.status.success(), "{statements}: {stderr}");
        String::from_utf8_lossy(&out.stdout).trim_end().to_owned()
    }

    /// Ends the server as a crash would: connections cut, no checkpoint, recovery at the next
    /// start. Returns when it is gone.
    pub fn kill_immediate(&self) {
        let server = self.server();
        server.signal(Signal::QUIT);
        server.wait(READY_WITHIN);
    }

    /// Starts it again on the same port with the same data, after a crash if it still runs.
    pub fn restart(&self) {
        self.kill_immediate();
        let job = poll(READY_WITHIN, || launch(&self.leash, &self.bin, self.port));
        *self.server() = job.expect("somebody else took PostgreSQL's port");
    }

    /// What the running server wrote to its log.
    pub fn log(&self) -> String {
        self.server().stderr()
    }

    fn server(&self) -> std::sync::MutexGuard<'_, Job> {
        self.server.lock().unwrap_or_else(|poisoned| poisoned.into_inner())
    }
}

impl Drop for Postgres {
    fn drop(&mut self) {
        self.kill_immediate();
    }
}

/// A server that is ready, or nothing when its port was taken.
fn launch(leash: &Leash, bin: &std::path::Path, port: u16) -> Option<Job> {
    let port = port.to_string();
    let sockets = format!("unix_socket_directories={}", leash.dir().display());
    let mut args = vec!["-D", "data", "-p", &port, "-c", &sockets];
    for setting in SETTINGS {
        args.extend(["-c", setting]);
    }
    let job = leash.start(bin.join("postgres"), &args, &[]);
    let pid = job.pid().as_raw_nonzero().to_string();
    // The file says which process is ready; a connection could reach somebody else's server.
    let ready = || {
        let file = fs::read_to_string(leash.dir().join("data/postmaster.pid")).ok()?;
        let mut lines = file.lines();
        (lines.next() == Some(&pid) && lines.nth(6)?.trim() == "ready").then_some(true)
    };
    let up = poll(READY_WITHIN, || ready().or_else(|| job.exited().map(|_| false)));
    match up {
        Some(true) => Some(job),
        _ if job.stderr().contains("Address already in use") => None,
        _ => panic!("PostgreSQL did not start: {}", job.stderr()),
    }
}

fn bin() -> PathBuf {
    let installed = fs::read_dir("/usr/lib/postgresql").into_iter().flatten().flatten();
    let version = |entry: &fs::DirEntry| entry.file_name().to_str()?.parse::<u32>().ok();
    let newest = installed.filter_map(|entry| Some((version(&entry)?, entry.path().join("bin"))));
    let path = std::env::var_os("PATH").unwrap_or_default();
    newest
        .filter(|(_, bin)| bin.join("postgres").exists())
        .max()
        .map(|(_, bin)| bin)
        .or_else(|| std::env::split_paths(&path).find(|bin| bin.join("postgres").exists()))
        .expect("no PostgreSQL here: run tests/run once, or install postgresql")
}
