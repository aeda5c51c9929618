use std::{
    fs,
    os::unix::fs::symlink,
    path::Path,
    sync::atomic::{AtomicUsize, Ordering},
    time::Duration,
};

use rustix::process::Signal;
use serde_json::Value;

use crate::{
    eventually::poll,
    leash::{Job, Leash, unprivileged},
    node_modules, wait_until,
};

const READY_WITHIN: Duration = Duration::from_secs(60);
const DONE_WITHIN: Duration = Duration::from_secs(900);
const ENDS_WITHIN: Duration = Duration::from_secs(10);
const NAMES: [&str; 3] = ["chromium", "chromium-browser", "google-chrome"];
/// No sandbox: containers and unprivileged users often may not make one, and it is shown nothing but our own pages.
const SETTINGS: [&str; 17] = [
    "--headless",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-dev-shm-usage",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--disable-breakpad",
    "--hide-scrollbars",
    "--force-color-profile=srgb",
    "--user-data-dir=profile",
    "--remote-debugging-port=0",
    // Whatever a page asks for, nothing leaves this machine.
    "--no-proxy-server",
    "--host-resolver-rules=MAP * ~NOTFOUND , EXCLUDE 127.0.0.1",
    "about:blank",
];

/// Chromium without a window, as an unprivileged user with a profile of its own, gone with the test process; and what
/// `tests/browser` does with it.
#[derive(Debug)]
pub struct Browser {
    // before `home`: it ends first
    chromium: Job,
    _home: Leash,
    scripts: Leash,
    endpoint: String,
    asked: AtomicUsize,
}

impl Browser {
    /// Starts it.
    pub fn start() -> Self {
        let home = Leash::with(Signal::KILL, unprivileged());
        let at_home = home.dir().to_str().expect("UTF-8");
        let env = ["HOME", "XDG_CONFIG_HOME", "XDG_CACHE_HOME", "TMPDIR"].map(|name| (name, at_home));
        let chromium = home.start(on_path(&NAMES), &SETTINGS, &env);
        let file = home.dir().join("profile/DevToolsActivePort");
        let endpoint = wait_until(READY_WITHIN, "Chromium listens", || {
            let ended = chromium.exited();
            assert!(ended.is_none(), "Chromium ended with {ended:?}: {}", chromium.stderr());
            let said = fs::read_to_string(&file).ok()?;
            let (port, path) = said.split_once('\n')?;
            Some(format!("ws://127.0.0.1:{port}{}", path.trim()))
        });
        Self { chromium, _home: home, scripts: scripts(), endpoint, asked: AtomicUsize::new(0) }
    }

    /// Does a job of `tests/browser/main.mjs` and returns its result; panics with what it found wrong.
    pub fn run(&self, job: Value) -> Value {
        passed(self.ask(job))
    }

    /// The same with somebody outside: `does` is given each thing that the job wants to happen, in turn.
    pub fn run_with(&self, job: Value, does: impl FnMut(&str)) -> Value {
        passed(self.ask_with(job, does))
    }

    /// The same where findings are what is looked for: they stand in the result's `findings`.
    pub fn ask(&self, job: Value) -> Value {
        self.ask_with(job, |what| panic!("nobody is there to do: {what}"))
    }

    fn ask_with(&self, mut job: Value, mut does: impl FnMut(&str)) -> Value {
        job["browser"] = self.endpoint.as_str().into();
        let name = format!("asked{}", self.asked.fetch_add(1, Ordering::Relaxed));
        let (file, go) = (format!("{name}.json"), format!("{name}.go"));
        job["go"] = go.as_str().into();
        fs::write(self.scripts.dir().join(&file), job.to_string()).expect("the job is written");
        let local = [("NO_PROXY", "127.0.0.1"), ("no_proxy", "127.0.0.1")];
        let node = self.scripts.start("sh", &["-c", r#"exec node main.mjs <"$1""#, "sh", &file], &local);
        let mut done = 0;
        wait_until(DONE_WITHIN, "the job ends", || {
            let ended = node.exited();
            for what in node.stderr().lines().filter_map(|line| line.strip_prefix("say ")).skip(done) {
                does(what);
                fs::write(self.scripts.dir().join(format!("{go}{done}")), "").expect("it is said");
                done += 1;
            }
            ended
        });
        let output = node.wait(DONE_WITHIN).ok();
        let result: Value = serde_json::from_str(&output.stdout)
            .unwrap_or_else(|e| panic!("no result ({e}): {}{}", output.stdout, output.stderr));
        assert!(result["findings"].is_array(), "a result without findings: {result}");
        result
    }
}

impl Drop for Browser {
    fn drop(&mut self) {
        // Killed, it leaves processes behind that still write into its profile while that is removed.
        self.chromium.signal(Signal::TERM);
        let _ = poll(ENDS_WITHIN, || self.chromium.exited());
    }
}

/// The result of a job that found nothing wrong.
fn passed(result: Value) -> Value {
    let findings: Vec<&str> = findings(&result).collect();
    assert!(findings.is_empty(), "{} findings:\n{}", findings.len(), findings.join("\n"));
    result
}

/// What a job found wrong.
fn findings(result: &Value) -> impl Iterator<Item = &str> {
    result["findings"].as_array().into_iter().flatten().filter_map(Value::as_str)
}

/// A folder with `tests/browser` and its packages: a module finds its packages only beside itself.
fn scripts() -> Leash {
    let leash = Leash::new();
    let from = Path::new(env!("CARGO_MANIFEST_DIR")).join("browser");
    for file in fs::read_dir(&from).expect("tests/browser").flatten() {
        fs::copy(file.path(), leash.dir().join(file.file_name())).expect("copied");
    }
    symlink(node_modules("browser"), leash.dir().join("node_modules")).expect("linked");
    leash
}

fn on_path(names: &[&str]) -> String {
    let path = std::env::var_os("PATH").unwrap_or_default();
    let found = names.iter().find_map(|name| {
        let all = std::env::split_paths(&path).map(|folder| folder.join(name));
        all.into_iter().find(|file| file.is_file())
    });
    let found = found.expect("no Chromium here: run tests/run once, or install chromium");
    found.to_str().expect("UTF-8").to_owned()
}
