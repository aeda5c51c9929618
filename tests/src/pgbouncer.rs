use std::{fs, net::TcpStream, time::Duration};

use rustix::process::Signal;

use crate::{
    Postgres,
    eventually::poll,
    leash::{Job, Leash, unprivileged},
    port,
};

const READY_WITHIN: Duration = Duration::from_secs(30);

/// A PgBouncer of its own in front of a server, gone with the test process.
#[derive(Debug)]
pub struct PgBouncer {
    // before `leash`: the pooler ends first
    _pooler: Job,
    _leash: Leash,
    port: u16,
}

impl PgBouncer {
    /// Starts it in `session` or `transaction` mode, with its settings as Debian has them otherwise.
    pub fn start(server: &Postgres, mode: &str) -> Self {
        // PgBouncer refuses to run as root, too.
        let leash = Leash::with(Signal::TERM, unprivileged());
        let dir = leash.dir().display().to_string();
        fs::write(leash.dir().join("users"), "\"postgres\" \"\"\n").expect("write users");
        for _ in 0..5 {
            let port = port::free();
            let settings = format!(
                "[databases]\n* = host=127.0.0.1 port={}\n[pgbouncer]\nlisten_addr = 127.0.0.1\nlisten_port = {port}\n\
                 unix_socket_dir =\nauth_type = trust\nauth_file = {dir}/users\npool_mode = {mode}\n",
                server.port()
            );
            let file = leash.dir().join("pgbouncer.ini");
            fs::write(&file, settings).expect("write pgbouncer.ini");
            let job = leash.start("pgbouncer", &[&file.display().to_string()], &[]);
            let up = || TcpStream::connect(("127.0.0.1", port)).ok().map(|_| true);
            match poll(READY_WITHIN, || job.exited().map(|_| false).or_else(up)) {
                Some(true) => return Self { _pooler: job, _leash: leash, port },
                _ if job.stderr().contains("ddress already in use") => {}
                _ => panic!("pgbouncer did not start: {}{}", job.stdout(), job.stderr()),
            }
        }
        panic!("five ports were taken by others before PgBouncer had them");
    }

    /// The address of a database behind it.
    pub fn url(&self, database: &str) -> String {
        format!("postgres://postgres@127.0.0.1:{}/{database}", self.port)
    }
}
