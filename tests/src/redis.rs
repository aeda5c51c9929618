use std::{
    io::{Read as _, Write as _},
    net::TcpStream,
    sync::Mutex,
    time::Duration,
};

use rustix::process::Signal;

use crate::{
    eventually::poll,
    leash::{Job, Leash},
    port,
};

const READY_WITHIN: Duration = Duration::from_secs(30);

/// A Redis server of its own that keeps nothing on disk, gone with the test process.
#[derive(Debug)]
pub struct Redis {
    server: Mutex<Job>,
    leash: Leash,
    port: u16,
}

impl Redis {
    /// Starts it empty.
    pub fn start() -> Self {
        let leash = Leash::new();
        for _ in 0..5 {
            let port = port::free();
            if let Some(job) = launch(&leash, port) {
                return Self { server: Mutex::new(job), leash, port };
            }
        }
        panic!("five ports were taken by others before Redis had them");
    }

    /// Its address.
    pub fn url(&self) -> String {
        format!("redis://127.0.0.1:{}/0", self.port)
    }

    /// Its port on 127.0.0.1.
    pub fn port(&self) -> u16 {
        self.port
    }

    /// Forgets everything.
    pub fn flush(&self) {
        assert_eq!(self.command("FLUSHALL").trim(), "+OK");
    }

    /// Sends one inline command, e.g. `CONFIG SET maxmemory 1mb`; the raw reply comes back.
    pub fn command(&self, line: &str) -> String {
        ask(self.port, line).unwrap_or_else(|e| panic!("{line}: {e}"))
    }

    /// Ends it by SIGKILL and returns when it is gone.
    pub fn kill(&self) {
        let server = self.server();
        server.signal(Signal::KILL);
        server.wait(READY_WITHIN);
    }

    /// Starts it again on the same port, with nothing in it.
    pub fn start_again_empty(&self) {
        self.kill();
        let job = poll(READY_WITHIN, || launch(&self.leash, self.port));
        *self.server() = job.expect("somebody else took Redis's port");
    }

    fn server(&self) -> std::sync::MutexGuard<'_, Job> {
        self.server.lock().unwrap_or_else(|poisoned| poisoned.into_inner())
    }
}

/// A server that is ready, or nothing when its port was taken.
fn launch(leash: &Leash, port: u16) -> Option<Job> {
    let number = port.to_string();
    let args = ["--port", &number, "--bind", "127.0.0.1", "--save", "", "--appendonly", "no"];
    let args = [&args[..], &["--dir", ".", "--maxmemory-policy", "noeviction"]].concat();
    let job = leash.start("redis-server", &args, &[]);
    // Its own process id, because the port could be somebody else's server.
    let own = format!("process_id:{}\r\n", job.pid().as_raw_nonzero());
    let ready = || ask(port, "INFO server").ok().filter(|info| info.contains(&own)).map(|_| true);
    match poll(READY_WITHIN, || ready().or_else(|| job.exited().map(|_| false))) {
        Some(true) => Some(job),
        _ if job.stdout().contains("Address already in use") => None,
        _ => panic!("redis-server did not start: {}{}", job.stdout(), job.stderr()),
    }
}

fn ask(port: u16, line: &str) -> std::io::Result<String> {
    let mut stream = TcpStream::connect(("127.0.0.1", port))?;
    stream.set_read_timeout(Some(Duration::from_secs(5)))?;
    stream.write_all(format!("{line}\r\nQUIT\r\n").as_bytes())?;
    let mut reply = String::new();
    stream.read_to_string(&mut reply)?;
    Ok(reply.strip_suffix("+OK\r\n").map(str::to_owned).unwrap_or(reply))
}
