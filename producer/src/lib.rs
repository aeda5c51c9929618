//! Takes rotations in. Knows no key.
//!
//! By default this crate is the typed HTTP [`Client`] of `reseal serve`, and links neither a database nor a server. With the feature
//! `ledger` a service beside the ledger enqueues a rotation straight into ledger and queue; `server` is the API itself.
//!
#![cfg_attr(
    feature = "client",
    doc = concat!("```no_run\n", include_str!("../examples/client.rs"), "```\n")
)]
#![cfg_attr(
    feature = "ledger",
    doc = r#"
Straight into the ledger:

```no_run
use reseal_producer::{Ledger, Opened, Queue, Request, enqueue};

# async fn example() -> Result<(), Box<dyn std::error::Error>> {
let ledger = Ledger::connect("postgres://reseal@localhost/ledger").await?;
let queue = Queue::open("redis://localhost/", &ledger.identity().await?.name).await?;
let request = Request {
    keyset: "default".into(),
    to_key_id: None,
    actor: "billing-service".into(),
    reason: Some("cryptoperiod over".into()),
    idempotency_key: Some("2026-11".into()),
    clear_after_ms: 7 * 86_400_000,
    writer_ttl_ms: 60_000,
    batch_rows: 10_000,
    needs_approval: false,
    limits: Default::default(),
};
match enqueue(&ledger, Some(&queue), &request).await? {
    Opened::Created(id) => println!("rotation {id} begins"),
    Opened::Replayed(id) => println!("this request made rotation {id} before"),
    Opened::AlreadyOpen(id) => println!("rotation {id} of this keyset is still open"),
}
# Ok(())
# }
```
"#
)]

pub mod api;
#[cfg(feature = "client")]
mod client;
#[cfg(feature = "server")]
mod dashboard;
#[cfg(feature = "ledger")]
mod enqueue;
#[cfg(feature = "server")]
pub mod http;

#[cfg(feature = "client")]
pub use client::{Client, ClientError, Events, Options, Until};

#[cfg(feature = "ledger")]
pub use {
    enqueue::enqueue,
    reseal_entities::ledger::{
        Ledger, LedgerError,
        open::{Opened, Request},
    },
    reseal_queue::Queue,
};
