//! A Redis server of one test's own, on a free port, killed at its end.

use std::fmt::Debug;
use std::io::{BufRead, BufReader};
use std::net::TcpListener;
use std::process::{Child, Command, Stdio};
use std::sync::mpsc;
use std::time::{Duration, Instant};

use tempfile::TempDir;

pub(crate) struct Server {
    process: Child,
    port: u16,
    options: Vec<String>,
    folder: TempDir,
}

pub(crate) fn free_port() -> u16 {
    TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port()
}

impl Server {
    pub(crate) fn start(options: &[&str]) -> Self {
        let options: Vec<_> = options.iter().map(|&o| o.to_owned()).collect();
        let (port, folder) = (free_port(), tempfile::tempdir().unwrap());
        Self { process: spawn(port, &folder, &options), port, options, folder }
    }

    pub(crate) fn url(&self) -> String {
        format!("redis://127.0.0.1:{}", self.port)
    }

    pub(crate) fn client(&self) -> redis::Connection {
        redis::Client::open(self.url()).unwrap().get_connection().unwrap()
    }

    /// Kills it and starts it empty on the same port.
    pub(crate) fn restart(&mut self) {
        self.stop();
        self.process = spawn(self.port, &self.folder, &self.options);
    }

    fn stop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.stop();
    }
}

fn spawn(port: u16, folder: &TempDir, options: &[String]) -> Child {
    let mut process = Command::new("redis-server")
        .args(["--port", &port.to_string(), "--bind", "127.0.0.1"])
        .args(["--save", "", "--appendonly", "no"])
        .args(options)
        .current_dir(folder.path())
        .stdout(Stdio::piped())
        .spawn()
        .expect("these tests need redis-server in the path");
    let log = BufReader::new(process.stdout.take().unwrap());
    let (ready, is_ready) = mpsc::channel();
    // Reads to the end, so that the server never waits for its log to be read.
    std::thread::spawn(move || {
        for line in log.lines().map_while(Result::ok) {
            if line.contains("Ready to accept connections") {
                let _ = ready.send(());
            }
        }
    });
    is_ready.recv_timeout(Duration::from_secs(10)).expect("redis-server did not start");
    process
}

/// Repeats `question` until it succeeds, for 20 s at most.
pub(crate) async fn until<T, E: Debug, F: Future<Output = Result<T, E>>>(what: &str, question: impl Fn() -> F) -> T {
    let began = Instant::now();
    loop {
        match question().await {
            Ok(answer) => return answer,
            Err(e) => assert!(began.elapsed() < Duration::from_secs(20), "waited in vain for {what}: {e:?}"),
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}
