//! `reseal completions`, `reseal man` and `reseal openapi`: what packagers install and clients are made of, from the definitions
//! that the program itself runs by.

use crate::{
    args::Cli,
    failure::{Exit, Failure},
    output::{self, Output, count},
};
use clap::CommandFactory;
use clap_complete::Shell;
use serde_json::json;
use std::path::Path;

pub(crate) const COMPLETIONS: &str = "\
Examples:
  reseal completions bash > ~/.local/share/bash-completion/completions/reseal
  reseal completions zsh > \"${fpath[1]}/_reseal\"
  reseal completions fish > ~/.config/fish/completions/reseal.fish";

pub(crate) fn completions(shell: Shell) -> Result<Exit, Failure> {
    let mut script = Vec::new();
    clap_complete::generate(shell, &mut Cli::command(), "reseal", &mut script);
    on_stdout(&script)
}

pub(crate) fn pages(folder: Option<&Path>, output: &Output) -> Result<Exit, Failure> {
    let mut cli = Cli::command();
    cli.build();
    let Some(folder) = folder else {
        return on_stdout(&page(cli)?);
    };
    let failed = || Failure::io(format!("the manual cannot be written into {}", folder.display()));
    std::fs::create_dir_all(folder).map_err(failed())?;
    let mut files = Vec::new();
    let mut left = vec![cli];
    while let Some(command) = left.pop() {
        let file = folder.join(format!("{}.1", command.get_display_name().unwrap_or("reseal")));
        left.extend(command.get_subcommands().filter(|c| c.get_name() != "help").cloned());
        std::fs::write(&file, page(command)?).map_err(failed())?;
        files.push(file.display().to_string());
    }
    files.sort();
    output.show(&json!({"files": files}), || {
        format!("{} in {}: `man -l {}/reseal.1`", count(files.len() as u64, "page"), folder.display(), folder.display())
    });
    Ok(Exit::Done)
}

fn page(command: clap::Command) -> Result<Vec<u8>, Failure> {
    let mut page = Vec::new();
    clap_mangen::Man::new(command).render(&mut page).map_err(Failure::io("the manual cannot be made"))?;
    Ok(page)
}

/// The description of everything that can be served.
pub(crate) fn openapi() -> Result<Exit, Failure> {
    let described = reseal_producer::http::openapi(reseal_storage::http::described());
    let text = described.to_pretty_json().map_err(|e| Failure::new("internal", e.to_string()))?;
    on_stdout(format!("{text}\n").as_bytes())
}

fn on_stdout(bytes: &[u8]) -> Result<Exit, Failure> {
    match output::raw_on_stdout(bytes) {
        // Whoever reads it has had enough.
        Err(e) if e.kind() == std::io::ErrorKind::BrokenPipe => Ok(Exit::Done),
        written => written.map(|()| Exit::Done).map_err(Failure::io("stdout cannot be written")),
    }
}
