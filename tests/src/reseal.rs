use std::{
    ffi::OsStr,
    path::{Path, PathBuf},
    time::Duration,
};

use rustix::process::Signal;

use crate::leash::{Job, Leash, Output};

const RUN_WITHIN: Duration = Duration::from_secs(300);

/// The binary under test, as `cargo build --workspace --all-features` left it beside this test's own folder.
pub fn reseal_bin() -> PathBuf {
    built("reseal", "cargo build --workspace --all-features")
}

/// An example, as `cargo build --workspace --examples` left it.
pub fn example_bin(name: &str) -> PathBuf {
    built(&format!("examples/{name}"), "cargo build --workspace --all-features --examples")
}

fn built(name: &str, how: &str) -> PathBuf {
    let this = std::env::current_exe().expect("this test's path");
    let profile = this.ancestors().nth(2).expect("target/PROFILE/deps/TEST");
    let path = profile.join(name);
    assert!(path.exists(), "{} is missing: {how}", path.display());
    path
}

/// The binary with one configuration in a folder of its own. Processes and folder go with it.
#[derive(Debug)]
pub struct Reseal {
    leash: Leash,
    env: Vec<(String, String)>,
}

/// A running `reseal`; dropping it kills it.
#[derive(Debug)]
pub struct Child(Job);

impl Reseal {
    /// `{data}` in the configuration stands for the folder.
    pub fn new(config_toml: String) -> Self {
        let leash = Leash::new();
        let data = leash.dir().to_str().expect("UTF-8").to_owned();
        let file = format!("{data}/reseal.toml");
        std::fs::write(&file, config_toml.replace("{data}", &data)).expect("write reseal.toml");
        let env = [("RESEAL_CONFIG", &*file), ("RESEAL_DATA_DIR", &data), ("RESEAL__SERVER__BIND", "127.0.0.1:0")];
        Self { leash, env: env.map(|(name, value)| (name.to_owned(), value.to_owned())).to_vec() }
    }

    /// Sets a variable for every process started from now on.
    pub fn env(mut self, name: &str, value: &str) -> Self {
        self.env.push((name.to_owned(), value.to_owned()));
        self
    }

    /// The folder: configuration, KEK, key backup, and each process's output.
    pub fn dir(&self) -> &Path {
        self.leash.dir()
    }

    /// Its configuration file.
    pub fn config(&self) -> PathBuf {
        self.dir().join("reseal.toml")
    }

    /// Runs a command to its end, at most five minutes.
    pub fn run(&self, args: &[&str]) -> Output {
        self.spawn(args).0.wait(RUN_WITHIN)
    }

    /// Runs a command with `--json` and returns what it printed, whatever its exit code.
    pub fn json(&self, args: &[&str]) -> serde_json::Value {
        let Output { code, stdout, stderr } = self.run(&[args, &["--json"]].concat());
        serde_json::from_str(&stdout)
            .unwrap_or_else(|e| panic!("{args:?}: exit code {code}, no JSON ({e}): {stdout}{stderr}"))
    }

    /// Starts a command.
    pub fn spawn(&self, args: &[&str]) -> Child {
        self.spawn_with(args, &[])
    }

    /// Starts another program in the folder.
    pub fn start(&self, program: impl AsRef<OsStr>, args: &[&str], env: &[(&str, &str)]) -> Job {
        self.leash.start(program, args, env)
    }

    /// Starts a command with more environment variables, e.g. a failpoint.
    pub fn spawn_with(&self, args: &[&str], env: &[(&str, &str)]) -> Child {
        let own = self.env.iter().map(|(name, value)| (name.as_str(), value.as_str()));
        let env: Vec<_> = own.chain(env.iter().copied()).collect();
        Child(self.leash.start(reseal_bin(), args, &env))
    }
}

impl Child {
    /// Its process id.
    pub fn pid(&self) -> i32 {
        self.0.pid().as_raw_nonzero().get()
    }

    /// Whether it has not ended.
    pub fn is_running(&self) -> bool {
        self.0.exited().is_none()
    }

    /// SIGKILL; returns when it is gone.
    pub fn kill9(&self) -> Output {
        self.signal(Signal::KILL);
        self.wait(Duration::from_secs(30))
    }

    /// SIGTERM; returns at once.
    pub fn terminate(&self) {
        self.signal(Signal::TERM);
    }

    /// Any signal, e.g. `STOP` and `CONT`.
    pub fn signal(&self, signal: Signal) {
        self.0.signal(signal);
    }

    /// Waits for its end; panics with its standard error when that does not come.
    pub fn wait(&self, deadline: Duration) -> Output {
        self.0.wait(deadline)
    }

    /// Standard output so far.
    pub fn stdout(&self) -> String {
        self.0.stdout()
    }

    /// Standard error so far.
    pub fn stderr(&self) -> String {
        self.0.stderr()
    }
}
