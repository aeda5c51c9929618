use std::{
    ffi::OsStr,
    fs,
    io::Write as _,
    os::unix::{fs::chown, process::CommandExt as _},
    path::{Path, PathBuf},
    process::{ChildStdin, Command, Stdio},
    sync::Mutex,
    time::Duration,
};

use rustix::process::{Pid, Signal, geteuid, kill_process};

use crate::{eventually::poll, wait_until};

const SCRIPT: &str = include_str!("leash.sh");

/// A temporary folder and processes that cannot outlive this process.
///
/// A shell holds the folder; when its standard input closes, because of a drop, a panic, the end
/// of the process or `kill -9`, it ends the processes, waits for them and removes the folder.
/// The price: one idle shell, and processes that start with SIGINT and SIGQUIT ignored.
#[derive(Debug)]
pub struct Leash {
    dir: PathBuf,
    shell: std::process::Child,
    /// The shell's standard input, and how many commands went into it.
    jobs: Mutex<(Option<ChildStdin>, usize)>,
}

/// A process on a [`Leash`]; dropping it kills it.
#[derive(Debug)]
pub struct Job {
    dir: PathBuf,
    name: String,
    pid: Pid,
}

/// What a finished process left.
#[derive(Clone, Debug)]
pub struct Output {
    /// Its exit code; 128 + n when signal n ended it.
    pub code: i32,
    /// Standard output.
    pub stdout: String,
    /// Standard error.
    pub stderr: String,
}

impl Output {
    /// Itself, when the code is 0; panics with standard error otherwise.
    pub fn ok(self) -> Self {
        assert_eq!(self.code, 0, "stdout:\n{}\nstderr:\n{}", self.stdout, self.stderr);
        self
    }
}

impl Leash {
    /// A folder whose processes end by SIGKILL.
    pub fn new() -> Self {
        Self::with(Signal::KILL, None)
    }

    /// `end` ends the processes; `user` (uid and gid) runs them and owns the folder.
    pub(crate) fn with(end: Signal, user: Option<(u32, u32)>) -> Self {
        let dir = tempfile::Builder::new().prefix("reseal-").tempdir().expect("a temporary folder");
        let mut command = Command::new("sh");
        command.args(["-c", SCRIPT, "leash"]).arg(dir.path()).arg(end.as_raw().to_string());
        for (name, _) in std::env::vars_os().filter(|(name, _)| starts(name, "RESEAL")) {
            command.env_remove(name);
        }
        if let Some((uid, gid)) = user {
            chown(dir.path(), Some(uid), Some(gid)).expect("give the folder away");
            command.uid(uid).gid(gid);
        }
        // its own group: an interrupt at the terminal must not end the shell before it cleans up
        command.process_group(0).current_dir("/").stdin(Stdio::piped());
        command.stdout(Stdio::null()).stderr(Stdio::null());
        let mut shell = command.spawn().expect("sh");
        let jobs = Mutex::new((shell.stdin.take(), 0));
        Self { dir: dir.keep(), shell, jobs }
    }

    /// The folder, which is also the processes' working directory.
    pub fn dir(&self) -> &Path {
        &self.dir
    }

    /// Starts a process. Its output goes into files in the folder.
    pub fn start(&self, program: impl AsRef<OsStr>, args: &[&str], env: &[(&str, &str)]) -> Job {
        let mut jobs = self.jobs.lock().unwrap_or_else(|poisoned| poisoned.into_inner());
        jobs.1 += 1;
        let name = format!("job{}", jobs.1);
        let program = program.as_ref().to_str().expect("a program's path in UTF-8");
        let mut line = format!("{name} env");
        for (key, value) in env {
            line += &format!(" {}", quoted(&format!("{key}={value}")));
        }
        for word in std::iter::once(program).chain(args.iter().copied()) {
            line += &format!(" {}", quoted(word));
        }
        let shell = jobs.0.as_mut().expect("open until the drop");
        writeln!(shell, "{line}").expect("the leash's shell is there");
        drop(jobs);
        let file = self.dir.join(format!("{name}.pid"));
        let pid = wait_until(Duration::from_secs(30), &line, || number(&file));
        let pid = Pid::from_raw(pid).expect("a process id");
        Job { dir: self.dir.clone(), name, pid }
    }
}

impl Default for Leash {
    fn default() -> Self {
        Self::new()
    }
}

impl Drop for Leash {
    fn drop(&mut self) {
        let jobs = self.jobs.get_mut().unwrap_or_else(|poisoned| poisoned.into_inner());
        jobs.0 = None;
        let _ = self.shell.wait();
    }
}

impl Job {
    /// Its process id.
    pub fn pid(&self) -> Pid {
        self.pid
    }

    /// Its exit code, if it has ended.
    pub fn exited(&self) -> Option<i32> {
        number(&self.file("code"))
    }

    /// Sends a signal; nothing happens when it has ended.
    pub fn signal(&self, signal: Signal) {
        if self.exited().is_none() {
            let _ = kill_process(self.pid, signal);
        }
    }

    /// Waits for its end; panics with its standard error when that does not come.
    pub fn wait(&self, deadline: Duration) -> Output {
        let code = poll(deadline, || self.exited())
            .unwrap_or_else(|| panic!("{} still runs after {deadline:?}: {}", self.name, self.stderr()));
        Output { code, stdout: self.stdout(), stderr: self.stderr() }
    }

    /// Standard output so far.
    pub fn stdout(&self) -> String {
        self.text("out")
    }

    /// Standard error so far.
    pub fn stderr(&self) -> String {
        self.text("err")
    }

    fn text(&self, kind: &str) -> String {
        String::from_utf8_lossy(&fs::read(self.file(kind)).unwrap_or_default()).into_owned()
    }

    fn file(&self, kind: &str) -> PathBuf {
        self.dir.join(format!("{}.{kind}", self.name))
    }
}

impl Drop for Job {
    fn drop(&mut self) {
        self.signal(Signal::KILL);
    }
}

/// The user `nobody`, when this process is root: PostgreSQL refuses to run as root.
pub(crate) fn unprivileged() -> Option<(u32, u32)> {
    if !geteuid().is_root() {
        return None;
    }
    let users = fs::read_to_string("/etc/passwd").unwrap_or_default();
    let nobody = users.lines().find(|line| line.starts_with("nobody:"))?;
    let mut numbers = nobody.split(':').skip(2).map_while(|field| field.parse().ok());
    Some((numbers.next()?, numbers.next()?))
}

fn number(file: &Path) -> Option<i32> {
    fs::read_to_string(file).ok()?.trim().parse().ok()
}

fn starts(name: &OsStr, with: &str) -> bool {
    name.as_encoded_bytes().starts_with(with.as_bytes())
}

fn quoted(word: &str) -> String {
    assert!(!word.contains('\n'), "one line per command: {word}");
    format!("'{}'", word.replace('\'', r"'\''"))
}
