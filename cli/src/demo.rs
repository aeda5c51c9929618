//! `reseal demo`: a whole rotation under an application that goes on writing, then every row read back.

mod application;
mod book;
mod dashboard;
mod noise;
mod read_back;
mod report;
mod seed;
mod stay;
mod tables;
mod work;
mod world;

use crate::{
    context::Context,
    failure::{Exit, Failure},
    follow::{self, End},
    output::{count, seconds},
    signals::StopSignals,
};
use application::Application;
use dashboard::Dashboard;
use reseal_producer::{Opened, Request, enqueue};
use std::{net::SocketAddr, os::unix::fs::PermissionsExt, time::Duration};
use tokio::time::Instant;
use work::Worker;
use world::World;

#[derive(clap::Args)]
pub(crate) struct Args {
    /// Rows over the three tables
    #[arg(long, value_name = "N", default_value_t = 100_000, value_parser = clap::value_parser!(u64).range(1..=5_000_000))]
    rows: u64,
    /// Keep the databases, with a reseal.toml to look at them by
    #[arg(long)]
    keep: bool,
    /// Stay afterwards, with a second rotation that takes its time and finds damaged values, to look at in the dashboard
    #[arg(long)]
    stay: bool,
    /// Where the dashboard listens; a free port when another process has it
    #[arg(long, value_name = "ADDRESS:PORT", default_value = "127.0.0.1:7373")]
    bind: SocketAddr,
}

pub(crate) async fn run(args: Args, context: &Context) -> Result<Exit, Failure> {
    reseal_worker::protect_keys().map_err(Failure::io("this process's memory cannot be kept out of core files"))?;
    let signals = StopSignals::listen().map_err(Failure::io("signals cannot be heard"))?;
    let mut stop = Box::pin(signals.stop());
    let owner_only = std::fs::Permissions::from_mode(0o700);
    let folder = tempfile::Builder::new().prefix("reseal-demo-").permissions(owner_only).tempdir();
    let mut folder = folder.map_err(Failure::io("a temporary folder cannot be made: set TMPDIR"))?;
    folder.disable_cleanup(args.keep);
    // Whatever comes first: dropped here, the folder goes with everything in it.
    let done = tokio::select! {
        done = Box::pin(rotation(folder.path(), &args, context)) => done?,
        () = &mut stop => return Err(Failure::new("interrupted", "stopped before the end")),
    };
    context.output.show(&done.report, || done.report.text(&context.output));
    let exit = if done.report.equal() { Exit::Done } else { Exit::Failed };
    if args.stay {
        stay::until(stop, &done, context).await?;
    }
    done.dashboard.close().await?;
    Ok(exit)
}

/// What is left when the first rotation is over.
struct Done {
    report: report::Report,
    world: World,
    dashboard: Dashboard,
}

async fn rotation(folder: &std::path::Path, args: &Args, context: &Context) -> Result<Done, Failure> {
    let (began, output) = (Instant::now(), &context.output);
    let world = World::make(folder, args.keep).await?;
    let dashboard = Dashboard::open(&world, args.bind).await?;
    output.note(&format!("dashboard      {}  (sign in with {})", dashboard.url, dashboard.token));
    output.note(&format!("encrypting {} with AES-256-GCM into {}", count(args.rows, "row"), world.app_file.display()));
    let (keyset, noise) = (world.keyset().await?, noise::Noise::new()?);
    let book = seed::seed(&world.app, &keyset, noise, args.rows).await?;
    let old_key = keyset.active();
    drop(keyset);
    output.note(&format!(
        "  done in {}; an application now writes on, and the key is rotated under it",
        seconds(began.elapsed())
    ));

    let (application, worker) = (Application::start(&world, book).await?, Worker::start(&world).await?);
    let id = request(&world, &worker, "the demo").await?;
    let followed = follow::to_its_end(&world.ledger, id, output).await?;
    let written = application.stop().await?;
    worker.stop().await?;
    if followed.end != End::Completed {
        return Err(Failure::new(
            "demo_incomplete",
            format!("rotation {id} did not complete: {}", followed.status.summary),
        ));
    }
    output.note(&format!("reading back {} under the new key alone", count(written.book.rows(), "row")));
    let found = read_back::read_back(&world, old_key, &written.book).await?;
    let report = report::Report::new(&world, followed, written, found, began.elapsed(), args.keep).await?;
    Ok(Done { report, world, dashboard })
}

/// Asks for a rotation, as another service would.
async fn request(world: &World, worker: &Worker, reason: &str) -> Result<i64, Failure> {
    let rotation = &world.config.rotation;
    let request = Request {
        keyset: tables::KEYSET.into(),
        to_key_id: None,
        actor: crate::actor::actor(),
        reason: Some(reason.to_owned()),
        idempotency_key: None,
        clear_after_ms: ms(rotation.require_clear_after()?),
        writer_ttl_ms: ms(rotation.writer_ttl),
        batch_rows: i32::try_from(rotation.batch_rows).unwrap_or(i32::MAX),
        needs_approval: false,
        limits: Default::default(),
    };
    let opened = enqueue(&world.ledger, Some(&worker.queue), &request).await?;
    let (Opened::Created(id) | Opened::Replayed(id) | Opened::AlreadyOpen(id)) = opened;
    Ok(id)
}

fn ms(length: Duration) -> i64 {
    i64::try_from(length.as_millis()).unwrap_or(i64::MAX)
}
