//! `reseal check`: everything that a rotation needs, tried for real.

use crate::{
    actor::actor,
    context::Context,
    failure::{Exit, Failure},
    ground,
    output::{Output, count, plain},
};
use reseal_config::Origin;
use reseal_engine::{
    Engine,
    check::{self, ColumnCheck, Findings, SourceCheck},
};
use reseal_queue::Queue;
use serde::Serialize;

#[derive(clap::Args)]
pub(crate) struct Args {
    /// The data of this source has moved to the database that it is connected to now
    #[arg(long, value_name = "NAME")]
    accept_source: Option<String>,
}

/// One thing that was tried.
#[derive(Serialize)]
struct Tried {
    what: &'static str,
    place: String,
    good: bool,
    /// Why not.
    code: Option<&'static str>,
    error: Option<String>,
}

impl Tried {
    fn new(what: &'static str, place: impl ToString, result: Result<(), Failure>) -> Self {
        let failure = result.err();
        Self {
            what,
            place: place.to_string(),
            good: failure.is_none(),
            code: failure.as_ref().map(|f| f.code),
            error: failure.map(|f| f.message),
        }
    }
}

#[derive(Serialize)]
struct Report {
    good: bool,
    tried: Vec<Tried>,
    columns: Vec<ColumnCheck>,
    sources: Vec<SourceCheck>,
    backups_written: usize,
    exclusions_registered: usize,
}

pub(crate) async fn run(args: Args, context: &Context) -> Result<Exit, Failure> {
    let loaded = context.load()?;
    let (config, output) = (loaded.config, &context.output);
    let ledger = ground::ledger_only(&config).await?;
    let origin = match loaded.origin {
        Origin::Embedded => "the embedded default".to_owned(),
        Origin::File(file) => file.display().to_string(),
    };
    let mut tried = vec![
        Tried::new("configuration", origin, Ok(())),
        Tried::new("ledger", &config.ledger.url, Ok(())),
        Tried::new(
            "clear after",
            config.rotation.clear_after.map_or_else(String::new, |d| humantime::format_duration(d).to_string()),
            config.rotation.require_clear_after().map(|_| ()).map_err(Failure::from),
        ),
    ];
    let namespace = ledger.identity().await?.name;
    let queue = Queue::open(config.queue.url.expose(), &namespace).await;
    tried.push(Tried::new("queue", &config.queue.url, queue.map(|_| ()).map_err(Failure::from)));
    tried.push(Tried::new("kek", &config.kek.uri, ground::keyring(&config, output).await.map(|_| ())));
    let folder = &config.ledger.key_backup;
    let writable = tempfile::NamedTempFile::new_in(folder).map(|_| ());
    let writable = writable.map_err(Failure::io(format!("{} cannot be written to", folder.display())));
    tried.push(Tried::new("key backup", folder.display(), writable));

    let findings = match ground::engine(config.clone(), ground::Schema::Must, actor(), output).await {
        Ok(engine) => {
            if let Some(name) = &args.accept_source {
                check::accept_source(&engine, &actor(), name).await?;
            }
            look(&engine).await
        }
        Err(failure) => Err(failure),
    };
    let sources: Vec<_> = config.sources.iter().map(|s| s.url.to_string()).collect();
    let ((findings, exclusions_registered), problem) = match findings {
        Ok(findings) => (findings, Ok(())),
        Err(failure) => ((Findings::default(), 0), Err(failure)),
    };
    tried.push(Tried::new("sources", sources.join(", "), problem));
    let good = findings.good() && tried.iter().all(|t| t.good);
    let Findings { columns, sources, backups_written } = findings;
    let report = Report { good, tried, columns, sources, backups_written, exclusions_registered };
    output.show(&report, || text(&report, output));
    Ok(if good { Exit::Done } else { Exit::Failed })
}

/// What was found, and how many exclusions were registered: a person's word, so nowhere else.
async fn look(engine: &Engine) -> Result<(Findings, usize), Failure> {
    let findings = check::check(engine).await?;
    let excluded = if findings.can_rotate() { check::exclude(engine, &actor()).await? } else { 0 };
    Ok((findings, excluded))
}

/// Lines of a kind that people are shown; `--json` has all.
const SHOWN: usize = 3;

fn text(report: &Report, output: &Output) -> String {
    let mut text = String::new();
    let mark = |good| output.verdict(good, if good { "good" } else { "bad " });
    for t in &report.tried {
        text += &format!("{}  {:<15}{}\n", mark(t.good), t.what, t.place);
        if let Some(error) = &t.error {
            text += &format!("      {error}\n");
        }
    }
    for c in &report.columns {
        let good = c.problems.is_empty() && c.unreadable.is_empty();
        text += &format!("{}  {}: {} opened\n", mark(good), c.column, count(c.opened as u64, "sampled value"));
        for (what, lines) in
            [("problem", &c.problems), ("unreadable", &c.unreadable), ("warning", &c.warnings), ("note", &c.notes)]
        {
            text.extend(lines.iter().take(SHOWN).map(|line| format!("      {what}: {}\n", plain(line))));
            if lines.len() > SHOWN {
                text += &format!("      and {} more\n", lines.len() - SHOWN);
            }
        }
    }
    for source in report.sources.iter().filter(|s| !s.problems.is_empty()) {
        text += &format!("{}  {}: what the proof could not look at\n", mark(false), source.source);
        text.extend(source.problems.iter().map(|line| format!("      problem: {}\n", plain(line))));
    }
    if report.columns.is_empty() && report.good {
        text += "no column is registered: declare some with [[source]] and [[table]]\n";
    }
    if report.exclusions_registered > 0 {
        let many = count(report.exclusions_registered as u64, "exclusion");
        text += &format!("{many} registered: proofs no longer look there; see `reseal catalog list`\n");
    }
    if report.backups_written > 0 {
        text += &format!("{} missing in the key backup, written now\n", count(report.backups_written as u64, "key"));
    }
    text
}
