//! The only place that prints. Results go to stdout, everything else to stderr.
//!
//! Written with `writeln!`, whose error is dropped: `println!` panics when the reader of a pipe has
//! had enough. Lines on stderr step around the progress bars.

mod plain;
mod table;
mod words;
mod wrap;

pub(crate) use plain::plain;
pub(crate) use table::Table;
pub(crate) use words::{count, grouped, per_second, seconds, time};

use crate::failure::{Exit, Failure};
use indicatif::MultiProgress;
use serde::Serialize;
use std::{
    fs::{File, OpenOptions},
    io::{ErrorKind, IsTerminal, Write, stderr, stdout},
    os::{fd::AsFd, unix::fs::OpenOptionsExt},
    path::Path,
    sync::LazyLock,
};

static BARS: LazyLock<MultiProgress> = LazyLock::new(MultiProgress::new);

/// Where the bars are.
pub(crate) fn bars() -> &'static MultiProgress {
    &BARS
}

/// How a command prints.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Output {
    pub json: bool,
    pub quiet: bool,
}

impl Output {
    pub(crate) fn new(json: bool, quiet: bool) -> Self {
        Self { json, quiet }
    }

    /// A result: one object on a line with `--json`, else `text`.
    pub(crate) fn show(&self, object: &impl Serialize, text: impl FnOnce() -> String) {
        if self.json {
            let object = serde_json::to_string(object).unwrap_or_default();
            on_stdout(&plain::in_json(&object));
        } else {
            let text = text();
            on_stdout(&fitted(plain::printable(&text).trim_end(), terminal_width()));
        }
    }

    /// For people who watch; nothing with `--json` or `--quiet`.
    pub(crate) fn note(&self, text: &str) {
        if !self.json && !self.quiet {
            on_stderr(text);
        }
    }

    /// Went on, but should be known.
    pub(crate) fn warn(&self, text: &str) {
        if self.json {
            object_on_stderr(&serde_json::json!({"warning": text}));
        } else {
            on_stderr(&format!("{} {text}", paint(stderr_has_colours(), "33;1", "warning:")));
        }
    }

    pub(crate) fn failure(&self, failure: &Failure) {
        if self.json {
            object_on_stderr(&serde_json::json!({"code": failure.code, "error": failure.message}));
        } else if failure.exit == Exit::Interrupted {
            on_stderr(&failure.message);
        } else {
            on_stderr(&format!("{} {}", paint(stderr_has_colours(), "31;1", "error:"), failure.message));
        }
    }

    /// Bold, on a terminal.
    pub(crate) fn strong(&self, text: &str) -> String {
        paint(has_colours(&stdout()), "1", text)
    }

    /// Green or red, on a terminal.
    pub(crate) fn verdict(&self, good: bool, text: &str) -> String {
        paint(has_colours(&stdout()), if good { "32" } else { "31" }, text)
    }
}

/// Bytes as they are, past the buffer of `std`, which would keep a copy of a key.
pub(crate) fn raw_on_stdout(bytes: &[u8]) -> std::io::Result<()> {
    std::fs::File::from(stdout().as_fd().try_clone_to_owned()?).write_all(bytes)
}

/// A file that was not there before, for its owner alone.
pub(crate) fn new_file(path: &Path) -> Result<File, Failure> {
    let file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(path);
    file.map_err(|e| match e.kind() {
        ErrorKind::AlreadyExists => {
            Failure::new("file_exists", format!("{} exists and is not overwritten: name another file", path.display()))
        }
        _ => Failure::io(format!("{} cannot be made", path.display()))(e),
    })
}

/// The screen anew: for a terminal only.
pub(crate) fn screen(text: &str) {
    let size = size(&stdout());
    let text = fitted(plain::printable(text).trim_end(), size.map(|(columns, _)| columns));
    let rows = size.map_or(usize::MAX, |(_, rows)| rows.saturating_sub(1).max(1));
    let mut lines: Vec<&str> = text.lines().take(rows).collect();
    if text.lines().count() > rows {
        // Scrolling would leave a copy at each look.
        lines[rows - 1] = "…";
    }
    let mut out = stdout().lock();
    let _ = writeln!(out, "\x1b[H\x1b[J{}", lines.join("\n")).and_then(|()| out.flush());
}

pub(crate) fn stdout_is_terminal() -> bool {
    stdout().is_terminal()
}

pub(crate) fn stderr_is_terminal() -> bool {
    stderr().is_terminal()
}

pub(crate) fn stderr_has_colours() -> bool {
    has_colours(&stderr())
}

pub(crate) fn object_on_stderr(object: &serde_json::Value) {
    on_stderr(&plain::in_json(&object.to_string()));
}

fn on_stdout(text: &str) {
    let mut out = stdout().lock();
    let _ = writeln!(out, "{text}").and_then(|()| out.flush());
}

fn on_stderr(text: &str) {
    let text = fitted(&plain::printable(text), size(&stderr()).map(|(columns, _)| columns));
    bars().suspend(|| {
        let _ = writeln!(stderr(), "{text}");
    });
}

/// The terminal's width; none where stdout is none.
pub(crate) fn terminal_width() -> Option<usize> {
    size(&stdout()).map(|(columns, _)| columns)
}

/// Columns and rows.
fn size(stream: &(impl IsTerminal + AsFd)) -> Option<(usize, usize)> {
    let size = stream.is_terminal().then(|| rustix::termios::tcgetwinsize(stream).ok()).flatten()?;
    (size.ws_col > 0).then_some((size.ws_col.into(), size.ws_row.into()))
}

fn fitted(text: &str, width: Option<usize>) -> String {
    width.map_or_else(|| text.to_owned(), |width| wrap::fit(text, width))
}

/// What <https://no-color.org> and <https://bixense.com/clicolors> say; NO_COLOR wins.
fn has_colours(stream: &impl IsTerminal) -> bool {
    let set = |name| std::env::var_os(name).filter(|value| !value.is_empty());
    let forced = set("CLICOLOR_FORCE").is_some_and(|value| value != "0");
    let plain = set("CLICOLOR").is_some_and(|value| value == "0") || set("TERM").is_some_and(|value| value == "dumb");
    set("NO_COLOR").is_none() && (forced || (stream.is_terminal() && !plain))
}

fn paint(colours: bool, code: &str, text: &str) -> String {
    if colours { format!("\x1b[{code}m{text}\x1b[0m") } else { text.to_owned() }
}

/// The log's writer.
pub(crate) fn log() -> impl Write {
    Log
}

struct Log;

impl Write for Log {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        let text = plain::printable(&String::from_utf8_lossy(bytes));
        bars().suspend(|| stderr().write_all(text.as_bytes())).map(|()| bytes.len())
    }

    fn flush(&mut self) -> std::io::Result<()> {
        stderr().flush()
    }
}
