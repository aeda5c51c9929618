//! `reseal demo`: a whole rotation under an application that goes on writing, then every row read back.

mod application;
mod book;
mod noise;
mod read_back;
mod report;
mod seed;
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
use reseal_producer::{Opened, Request, enqueue};
use std::{os::unix::fs::PermissionsExt, time::Duration};
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
}

pub(crate) async fn run(args: Args, context: &Context) -> Result<Exit, Failure> {
    reseal_worker::protect_keys().map_err(Failure::io("this process's memory cannot be kept out of core files"))?;
    let signals = StopSignals::listen().map_err(Failure::io("signals cannot be heard"))?;
    let owner_only = std::fs::Permissions::from_mode(0o700);
    let folder = tempfile::Builder::new().prefix("reseal-demo-").permissions(owner_only).tempdir();
    let mut folder = folder.map_err(Failure::io("a temporary folder cannot be made: set TMPDIR"))?;
    folder.disable_cleanup(args.keep);
    // Whatever comes first: dropped here, the folder goes with everything in it.
    tokio::select! {
        report = Box::pin(rotation(folder.path(), &args, context)) => {
            let report = report?;
            context.output.show(&report, || report.text(&context.output));
            Ok(if report.equal() { Exit::Done } else { Exit::Failed })
        }
        () = signals.stop() => Err(Failure::new("interrupted", "stopped before the end")),
    }
}

async fn rotation(folder: &std::path::Path, args: &Args, context: &Context) -> Result<report::Report, Failure> {
    let (began, output) = (Instant::now(), &context.output);
    let world = World::make(folder, args.keep).await?;
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
    let request = Request {
        keyset: tables::KEYSET.into(),
        to_key_id: None,
        actor: crate::actor::actor(),
        reason: Some("the demo".into()),
        idempotency_key: None,
        clear_after_ms: ms(world.config.rotation.require_clear_after()?),
        writer_ttl_ms: ms(world.config.rotation.writer_ttl),
        batch_rows: i32::try_from(world.config.rotation.batch_rows).unwrap_or(i32::MAX),
        needs_approval: false,
    };
    let opened = enqueue(&world.ledger, Some(&worker.queue), &request).await?;
    let (Opened::Created(id) | Opened::Replayed(id) | Opened::AlreadyOpen(id)) = opened;
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
    report::Report::new(&world, followed, written, found, began.elapsed(), args.keep).await
}

fn ms(length: Duration) -> i64 {
    i64::try_from(length.as_millis()).unwrap_or(i64::MAX)
}
