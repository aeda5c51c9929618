//! The dashboard over the demo's ledger, while it runs.

use super::world::World;
use crate::{
    actor::actor,
    commands::serve::settings,
    failure::Failure,
    ground::{self, Schema},
};
use reseal_entities::{
    ledger::tokens::{self, New},
    tokens::Role,
};
use reseal_producer::http::{self, App, Listen, Listening};
use std::{io, net::SocketAddr};
use tokio::{sync::oneshot, task::JoinHandle};
use utoipa_axum::router::OpenApiRouter;

pub(super) struct Dashboard {
    pub url: String,
    pub token: String,
    stop: oneshot::Sender<()>,
    task: JoinHandle<io::Result<()>>,
}

impl Dashboard {
    /// At `bind`, or at a free port of the same address. It holds no key, and connections of its own.
    pub(super) async fn open(world: &World, bind: SocketAddr) -> Result<Self, Failure> {
        if !bind.ip().is_loopback() {
            return Err(Failure::new("not_loopback", format!("{bind} is not loopback: the demo is for this machine")));
        }
        let listen = |bind| Listening::at(Listen { bind, tls: None });
        let listening = match listen(bind).await {
            Err(e) if e.kind() == io::ErrorKind::AddrInUse => listen(SocketAddr::new(bind.ip(), 0)).await,
            listening => listening,
        };
        let listening =
            listening.map_err(Failure::io(format!("cannot listen on {bind}: choose another with --bind")))?;
        let url = listening.url().map_err(Failure::io("the address is not known"))?;
        let ledger = ground::ledger(&world.config, Schema::Must).await?;
        let new =
            New { name: Some("demo".to_owned()), role: Role::Admin, expires_in_ms: None, requests_per_second: None };
        let txn = ledger.begin().await?;
        let (_, token) = tokens::create(&txn, &actor(), &new).await?;
        txn.commit().await?;
        let app = App::open(ledger, None, None, settings(&world.config));
        let (stop, stopped) = oneshot::channel::<()>();
        let router = http::router(app.clone(), OpenApiRouter::new());
        let task = tokio::spawn(async move {
            let stop = async {
                let _ = stopped.await;
            };
            http::serve(&app, router, listening, stop).await
        });
        Ok(Self { url, token, stop, task })
    }

    pub(super) async fn close(self) -> Result<(), Failure> {
        let _ = self.stop.send(());
        let served = self.task.await.map_err(|e| Failure::new("server_died", format!("the server died: {e}")))?;
        served.map_err(Failure::io("the server ended"))
    }
}
