//! `reseal audit export`: the chain as JSON Lines, and the checkpoint by which a cut-off tail is noticed later.

use crate::{
    context::Context,
    failure::{Exit, Failure},
    ground,
    output::{self, count},
};
use reseal_entities::ledger::audit::{Checkpoint, Walk};
use std::{
    fs::File,
    io::{BufRead, BufReader, BufWriter, Write, stdin},
    path::{Path, PathBuf},
};

#[derive(clap::Args)]
pub(crate) struct Args {
    /// The file, which must not exist, or - for stdout
    #[arg(default_value = "-", hide_default_value = true)]
    file: PathBuf,
    /// Begin at this entry; the entries before it are taken as they are
    #[arg(long, value_name = "SEQ", default_value_t = 1, value_parser = clap::value_parser!(i64).range(1..))]
    from: i64,
}

pub(super) async fn run(args: Args, context: &Context) -> Result<Exit, Failure> {
    let ledger = ground::ledger_only(&context.config()?).await?;
    let mut walk = Walk::begin(ledger.db(), args.from).await?;
    let file = args.file.as_os_str() != "-";
    let mut to: Box<dyn Write + Send> =
        if file { Box::new(output::new_file(&args.file)?) } else { Box::new(std::io::stdout()) };
    to = Box::new(BufWriter::new(to));
    let failed = || {
        Failure::io(format!(
            "{} cannot be written",
            if file { args.file.display().to_string() } else { "stdout".into() }
        ))
    };
    loop {
        let entries = walk.next(ledger.db()).await?;
        if entries.is_empty() {
            break;
        }
        for entry in &entries {
            line(&mut to, entry).map_err(failed())?;
        }
    }
    line(&mut to, &walk.end).and_then(|()| to.flush()).map_err(failed())?;
    if file {
        let said = format!(
            "{} in {}; keep its last line where nobody who can write the ledger can change it, for `reseal audit verify --checkpoint`",
            count(walk.end.entries, "entry"),
            args.file.display()
        );
        context.output.show(&walk.end, || said);
    }
    Ok(Exit::Done)
}

fn line(to: &mut impl Write, object: &impl serde::Serialize) -> std::io::Result<()> {
    serde_json::to_writer(&mut *to, object)?;
    to.write_all(b"\n")
}

/// The checkpoint in the last line of an export, or alone in a file of its own.
pub(super) fn checkpoint(file: &Path) -> Result<Checkpoint, Failure> {
    let failed = || Failure::io(format!("{} cannot be read", file.display()));
    let from: Box<dyn BufRead> = if file.as_os_str() == "-" {
        Box::new(stdin().lock())
    } else {
        Box::new(BufReader::new(File::open(file).map_err(failed())?))
    };
    let mut last = String::new();
    for line in from.lines() {
        let line = line.map_err(failed())?;
        if !line.trim().is_empty() {
            last = line;
        }
    }
    serde_json::from_str(&last).map_err(|_| {
        let message = format!(
            "{} does not end with a checkpoint: give what `reseal audit export` wrote, or its last line",
            file.display()
        );
        Failure::usage("no_checkpoint", message)
    })
}
