//! The first page of `reseal --help`, and what is said to a command line that is none.

use crate::{failure::Exit, output};
use clap::error::ErrorKind;

/// clap cannot group subcommands; a test holds this list to the commands that there are.
pub(crate) const TEMPLATE: &str = "\
{about}

{usage-heading} {usage}

Try it:
  demo         shows a whole rotation on sample data, in a folder that goes away

Set up:
  migrate      brings the ledger's schema up to date
  keys         init, create, list, show, import, export, clear, recover, …
  check        looks at configuration, KEK, queue, sources and encrypted columns
  catalog      list, register, forget, forget-source, include: what every proof covers

Run:
  up           everything on this machine, from the KEK and the ledger on
  work         a worker; as many as you like, on as many machines
  serve        the HTTP API, in a process that holds no key
  workers      list, drain: who is alive, and asking them to leave

Rotate:
  rotate       new key, every value re-encrypted, proof, old key destroyed
  status       shows rotations, or one of them
  pause        stops a rotation's workers at the next chunk
  resume       lets a paused rotation go on
  limit        how fast a rotation may go: rows per second, lanes, batches
  cancel       stops a rotation; values under both keys stay readable
  rollback     turns a rotation round: the key that gave way is active again
  approve      lets a clearing go on that somebody else has asked for
  exclude      a clearing does not wait for this replica or application
  retry        does failed batches and quarantined rows again
  quarantine   list, resolve: rows that could not be re-encrypted
  operations   list, show: what was asked for over HTTP, and what came of it

Look:
  census       counts encrypted values by key
  fence        list, sql, remove: the rules in sources that refuse retired keys
  audit        list, verify, export: who did what when

Let in:
  token        create, list, revoke: who may call the HTTP API, and do what

More:
  help         more about one of these
  completions  what makes a shell complete these commands
  openapi      the description of the HTTP API
  man          the manual, a page for each command

Options:
{options}{after-help}";

pub(crate) const EXIT_CODES: &str = "\
Exit codes: 0 done, 1 failed, 2 usage, 3 needs a person, 130 interrupted";

/// Prints clap's help or error.
pub(crate) fn refuse(error: &clap::Error) -> Exit {
    let text = error.render();
    if matches!(error.kind(), ErrorKind::DisplayHelp | ErrorKind::DisplayVersion) {
        let _ = error.print();
        return Exit::Done;
    }
    if std::env::args_os().any(|arg| arg == "--json") {
        let text = text.to_string();
        let first = text.split("\n\n").next().unwrap_or_default().trim_start_matches("error: ");
        output::object_on_stderr(&serde_json::json!({"code": "usage", "error": first.trim()}));
    } else {
        let _ = error.print();
    }
    Exit::Usage
}

#[cfg(test)]
mod tests {
    use crate::args::Cli;
    use clap::CommandFactory;

    #[test]
    fn the_first_page_of_help_lists_every_command_once() {
        let mut cli = Cli::command();
        cli.clone().debug_assert();
        let page = cli.render_help().to_string();
        for name in cli.get_subcommands().map(|c| c.get_name().to_owned()) {
            let lines = page.lines().filter(|line| line.starts_with(&format!("  {name} "))).count();
            assert_eq!(lines, 1, "{name}");
        }
    }
}
