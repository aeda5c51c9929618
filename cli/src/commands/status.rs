//! `reseal status`: rotations, or one of them in full.

mod one;

pub(crate) use one::{advice, gate};

use crate::{
    context::Context,
    failure::{Exit, Failure},
    follow::{self, Lines},
    ground,
    output::{self, Output, Table, count, time},
};
use reseal_entities::ledger::{Ledger, presence, read};
use serde_json::{Value, json};
use tokio::time::Instant;

#[derive(clap::Args)]
pub(crate) struct Args {
    /// A rotation; none: the newest ones
    id: Option<i64>,
    /// Look again every second until it ends
    #[arg(long, requires = "id")]
    watch: bool,
}

const NEWEST: u64 = 20;

pub(crate) async fn run(args: Args, context: &Context) -> Result<Exit, Failure> {
    let ledger = ground::ledger_only(&context.config()?).await?;
    match args.id {
        None => newest(&ledger, &context.output).await,
        Some(id) if args.watch => watch(&ledger, id, &context.output).await,
        Some(id) => {
            let found = one::look(&ledger, id).await?;
            context.output.show(&found, || found.text(&context.output));
            Ok(if found.status.needs_attention { Exit::Attention } else { Exit::Done })
        }
    }
}

async fn newest(ledger: &Ledger, output: &Output) -> Result<Exit, Failure> {
    let (mut table, mut objects) = (Table::new(&["id#", "keyset", "state", "requested?", "by?", "now"]), Vec::new());
    let mut attention = false;
    for r in read::rotations(ledger.db(), NEWEST).await? {
        let ended = r.completed_at.map(|at| format!("ended {}", time(at)));
        let (summary, needs) = match ended {
            Some(ended) => (ended, false),
            None => {
                let status = read::status(ledger.db(), r.id).await?;
                (status.summary, status.needs_attention)
            }
        };
        attention |= needs;
        objects.push(json!({
            "id": r.id, "keyset": r.keyset, "state": r.state, "requested_at": time(r.requested_at),
            "requested_by": r.requested_by, "reason": r.reason, "to_key_id": r.to_key_id, "summary": summary,
            "paused_by": r.paused_by, "needs_attention": needs, "completed_at": r.completed_at.map(time),
        }));
        table.row([r.id.to_string(), r.keyset, r.state.to_string(), time(r.requested_at), r.requested_by, summary]);
    }
    let workers = presence::alive(ledger.db()).await?;
    let object = json!({"rotations": objects, "workers": workers});
    output.show(&object, || {
        let rotations = table.or("no rotation yet: see `reseal rotate`\n");
        format!("{rotations}{} alive", count(workers.len() as u64, "worker"))
    });
    Ok(if attention { Exit::Attention } else { Exit::Done })
}

/// In place on a terminal; elsewhere a line at each change and every few seconds.
async fn watch(ledger: &Ledger, id: i64, output: &Output) -> Result<Exit, Failure> {
    let (mut lines, mut last) = (Lines::new(*output), Value::Null);
    let in_place = output::stdout_is_terminal() && !output.json;
    loop {
        let found = one::look(ledger, id).await?;
        if in_place {
            output::screen(&found.text(output));
        } else if output.json {
            let object = serde_json::to_value(&found).unwrap_or_default();
            if object != last {
                output.show(&object, String::new);
                last = object;
            }
        } else if let Some(line) = lines.due(&found.status, Instant::now()) {
            output.show(&(), || line);
        }
        if found.status.completed_at.is_some() {
            return Ok(Exit::Done);
        }
        tokio::time::sleep(follow::pause(ledger).max(std::time::Duration::from_secs(1))).await;
    }
}
