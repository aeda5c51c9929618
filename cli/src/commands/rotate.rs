//! `reseal rotate`: asks for a rotation, and follows it on request.

mod dry_run;

use crate::{
    actor::actor,
    commands::limit::Most,
    context::Context,
    failure::{Exit, Failure},
    follow::{self, End, Followed},
    ground,
    output::{Output, count, grouped, seconds, time},
};
use reseal_config::Config;
use reseal_engine::{Engine, check};
use reseal_entities::{
    job::Doorbell,
    ledger::{catalog, read, throttle::Limits},
    rotations,
};
use reseal_producer::{Opened, Request, enqueue};
use reseal_queue::Queue;
use serde_json::json;
use std::time::Duration;

#[derive(clap::Args)]
pub(crate) struct Args {
    /// What to rotate
    #[arg(default_value = "default")]
    keyset: String,
    /// Promote this published pre_active key instead of making one
    #[arg(long, value_name = "KEY_ID")]
    to: Option<u32>,
    /// Why, for the audit
    #[arg(long, value_name = "TEXT")]
    reason: Option<String>,
    /// The same key again finds the same rotation
    #[arg(long, value_name = "KEY")]
    idempotency_key: Option<String>,
    /// A longer wait between proof and clearing than the configuration's, e.g. 30d
    #[arg(long, value_name = "DURATION", value_parser = humantime::parse_duration)]
    clear_after: Option<Duration>,
    /// Limit it from its first row on: rows re-encrypted per second, over all workers
    #[arg(long, value_name = "N")]
    rows_per_second: Option<Most<i64>>,
    /// The same: batches in hand at once, over all workers
    #[arg(long, value_name = "N")]
    lanes: Option<Most<i32>>,
    /// The same: batches in the queue or in hand
    #[arg(long, value_name = "N")]
    batches: Option<Most<i32>>,
    /// Follow it to its end, or until only the waiting time is left
    #[arg(long)]
    wait: bool,
    /// Only say what it would do: time, growth, locks, what would stop it
    #[arg(long, conflicts_with_all = ["wait", "reason", "idempotency_key", "clear_after", "rows_per_second", "lanes", "batches"])]
    dry_run: bool,
}

pub(crate) async fn run(args: Args, context: &Context) -> Result<Exit, Failure> {
    let (config, output) = (context.config()?, &context.output);
    if args.dry_run {
        return dry_run::run(config, &args.keyset, args.to, context).await;
    }
    let request = request(&args, &config)?;
    let queue_url = config.queue.url.clone();
    let engine = ground::engine_only(config, output).await?;
    find_columns(&engine, &args.keyset, output).await?;
    let queue = bell(queue_url.expose(), &engine, output).await;
    let opened = enqueue(&engine.ledger, queue.as_ref().map(|q| q as &dyn Doorbell), &request).await?;
    let (Opened::Created(id) | Opened::Replayed(id) | Opened::AlreadyOpen(id)) = opened;
    let rotation = read::rotation(engine.ledger.db(), id).await?;
    refuse_another_key(&args, &opened, &rotation)?;
    let told = told(&opened, &rotation);
    if args.wait {
        output.note(&told);
        let followed = follow::follow(&engine.ledger, id, output).await?;
        return end(&followed, output);
    }
    let object = json!({
        "id": id, "keyset": rotation.keyset, "state": rotation.state, "to_key_id": rotation.to_key_id,
        "outcome": match opened { Opened::Created(_) => "created", Opened::Replayed(_) => "replayed", Opened::AlreadyOpen(_) => "already_open" },
    });
    output.show(&object, || format!("{told}: see `reseal status {id} --watch`"));
    Ok(Exit::Done)
}

fn request(args: &Args, config: &Config) -> Result<Request, Failure> {
    let ms = |length: Duration| i64::try_from(length.as_millis()).unwrap_or(i64::MAX);
    let configured = config.rotation.require_clear_after()?;
    let clear_after = args.clear_after.unwrap_or(configured);
    if clear_after < configured {
        let message = format!(
            "--clear-after {} is shorter than rotation.clear_after ({}): a request may only lengthen it",
            humantime::format_duration(clear_after),
            humantime::format_duration(configured)
        );
        return Err(Failure::usage("clear_after_shortened", message));
    }
    Ok(Request {
        keyset: args.keyset.clone(),
        to_key_id: args.to.map(i64::from),
        actor: actor(),
        reason: args.reason.clone(),
        idempotency_key: args.idempotency_key.clone(),
        clear_after_ms: ms(clear_after),
        writer_ttl_ms: ms(config.rotation.writer_ttl),
        batch_rows: i32::try_from(config.rotation.batch_rows).unwrap_or(i32::MAX),
        needs_approval: config.rotation.two_person,
        limits: limits(args),
    })
}

fn limits(args: &Args) -> Limits {
    Limits {
        rows_per_second: args.rows_per_second.and_then(|most| most.0),
        lanes: args.lanes.and_then(|most| most.0),
        batches: args.batches.and_then(|most| most.0),
    }
}

/// A wrong table or column, or one none of whose cells opens, is found before anything is enqueued.
async fn find_columns(engine: &Engine, keyset: &str, output: &Output) -> Result<(), Failure> {
    let findings = check::check(engine).await?;
    for column in &findings.columns {
        column.notes.iter().for_each(|note| output.note(&format!("{}: {note}", column.column)));
    }
    for problem in findings.sources.iter().flat_map(|s| &s.problems) {
        output.note(&format!("the proof will wait: {problem}"));
    }
    if let Some(column) = findings.columns.iter().find(|c| !c.problems.is_empty()) {
        let message = format!("{}: {}; see `reseal check`", column.column, column.problems.join("; "));
        return Err(Failure::new("check_failed", message));
    }
    if catalog::registered(engine.ledger.db()).await?.iter().any(|c| c.keyset == keyset) {
        return Ok(());
    }
    let message = format!("no registered column uses keyset `{keyset}`: declare one with [[source]] and [[table]]");
    Err(Failure::new("no_columns", message))
}

/// The ledger is the truth: without the bell a worker's dispatch finds the rotation a second later.
async fn bell(url: &str, engine: &Engine, output: &Output) -> Option<Queue> {
    if url == "memory:" {
        return None;
    }
    let opened = match engine.ledger.identity().await {
        Ok(ledger) => Queue::open(url, &ledger.name).await.map_err(Failure::from),
        Err(e) => Err(e.into()),
    };
    let went_on = |e: &Failure| output.warn(&format!("{}; went on, a worker's dispatch finds the rotation", e.message));
    opened.inspect_err(went_on).ok()
}

fn refuse_another_key(args: &Args, opened: &Opened, rotation: &rotations::Model) -> Result<(), Failure> {
    let asked = args.to.map(i64::from);
    let other_key = asked.is_some() && asked != rotation.to_key_id;
    let other_time =
        args.clear_after.is_some_and(|d| i64::try_from(d.as_millis()).ok() != Some(rotation.clear_after_ms));
    if !matches!(opened, Opened::AlreadyOpen(_)) {
        return Ok(());
    }
    // A limit that was asked for and does not hold would let a rotation run at full speed.
    if limits(args) != Limits::default() && limits(args) != rotation.limits() {
        let message = format!(
            "rotation {0} of keyset `{1}` is {2} already, with other limits: set its own with `reseal limit {0}`",
            rotation.id, rotation.keyset, rotation.state
        );
        return Err(Failure::new("rotation_open", message));
    }
    if !(other_key || other_time) {
        return Ok(());
    }
    let to = rotation.to_key_id.map_or_else(|| "a new key".to_owned(), |id| format!("key {id}"));
    let message = format!(
        "rotation {} of keyset `{}` is {} already, to {to} and with its own waiting time: let it end first, see `reseal status {}`",
        rotation.id, rotation.keyset, rotation.state, rotation.id
    );
    Err(Failure::new("rotation_open", message))
}

fn told(opened: &Opened, rotation: &rotations::Model) -> String {
    let (id, keyset, state) = (rotation.id, &rotation.keyset, rotation.state);
    let wait = Duration::from_millis(u64::try_from(rotation.clear_after_ms).unwrap_or(0));
    let wait = humantime::format_duration(wait);
    match opened {
        Opened::Created(_) => format!("rotation {id} of keyset `{keyset}` is requested; waiting time {wait}"),
        Opened::Replayed(_) => format!("this request made rotation {id} before; it is {state}"),
        Opened::AlreadyOpen(_) => {
            format!("rotation {id} of keyset `{keyset}` is already running: {state}, waiting time {wait}")
        }
    }
}

/// Tells how following ended.
fn end(followed: &Followed, output: &Output) -> Result<Exit, Failure> {
    let s = &followed.status;
    let clears_at = followed.clears_at.filter(|_| followed.end == End::Waiting);
    let object = json!({
        "id": s.id, "keyset": s.keyset, "state": s.state, "old_key_state": s.old_key_state, "summary": s.summary,
        "rows": s.rows, "reencrypted": s.reencrypted, "quarantined": s.quarantined,
        "needs_attention": followed.end == End::Attention, "seconds": followed.took.as_secs_f64(),
        "clears_at": clears_at.map(time), "tables": s.tables,
    });
    output.show(&object, || {
        let mut text = format!(
            "rotation {}: {}\n{}, {} re-encrypted, {} quarantined; {}\n",
            s.id,
            s.summary,
            count(s.rows, "row"),
            grouped(s.reencrypted),
            s.quarantined,
            seconds(followed.took)
        );
        if let Some(at) = clears_at {
            let by_then = if s.needs_approval && s.approved_by.is_none() { " and it is approved by then" } else { "" };
            text += &format!("the old key is cleared at {}, if a worker runs then{by_then}\n", time(at));
        }
        text
    });
    match followed.end {
        End::Completed | End::Waiting => Ok(Exit::Done),
        End::Stopped => {
            Err(Failure::new("rotation_stopped", format!("rotation {} was {}: {}", s.id, s.state, s.summary)))
        }
        End::NoWorker => {
            let message =
                format!("no worker is alive, and rotation {} waits for one: start `reseal up` or `reseal work`", s.id);
            Err(Failure::new("no_worker", message))
        }
        End::Attention => {
            let failure = Failure::new("needs_attention", super::status::advice(s).join("; "));
            Err(Failure { exit: Exit::Attention, ..failure })
        }
    }
}
