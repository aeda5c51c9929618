//! `reseal serve`: the HTTP API, by a process that holds no key.

use crate::{
    context::Context,
    failure::{Exit, Failure},
    ground::{self, Schema},
    signals::StopSignals,
};
use reseal_config::Config;
use reseal_entities::ledger::{Ledger, tokens};
use reseal_producer::http::{self, App, Listen, Listening, Rules, Settings, Tls};
use reseal_storage::{Options, Storage, http::ServiceLimits};
use serde_json::json;
use std::net::SocketAddr;
use utoipa_axum::router::OpenApiRouter;

#[derive(clap::Args)]
pub(crate) struct Args {
    /// Where to listen [default: server.bind of the configuration]
    #[arg(long, value_name = "ADDRESS:PORT")]
    bind: Option<SocketAddr>,
    /// Also encrypt and decrypt for who has the role `app`: then this process holds keys
    #[arg(long)]
    with_encryption_api: bool,
}

pub(crate) async fn run(args: Args, context: &Context) -> Result<Exit, Failure> {
    let signals = StopSignals::listen().map_err(Failure::io("signals cannot be heard"))?;
    let mut config = context.config()?;
    config.server.bind = args.bind.unwrap_or(config.server.bind);
    let ledger = ground::ledger(&config, Schema::Must).await?;
    let storage = match args.with_encryption_api {
        true => Some(storage(&config, &ledger, context).await?),
        false => None,
    };
    let app = App::open(ledger.clone(), None, Some(config.queue.url.expose()), settings(&config));
    let server = Server::open(app, &config, storage.as_ref(), context).await?;
    server.run(signals.stop()).await?;
    if let Some(storage) = storage {
        storage.close().await;
    }
    context.output.show(&json!({"stopped": true}), || "stopped".to_owned());
    Ok(Exit::Done)
}

/// The API, listening but not yet serving.
pub(super) struct Server {
    app: App,
    router: axum::Router,
    listening: Listening,
}

impl Server {
    /// Takes the address and says it. Refuses another address than loopback while there is no token: whoever came first could
    /// not be told from anybody else.
    pub(super) async fn open(
        app: App,
        config: &Config,
        storage: Option<&Storage>,
        context: &Context,
    ) -> Result<Self, Failure> {
        let (server, output) = (&config.server, &context.output);
        let usable = tokens::usable(app.ledger().db()).await?;
        if !server.bind.ip().is_loopback() {
            if usable == 0 {
                let message = format!(
                    "no token is there, and {} is not loopback: make one with `reseal token create --role admin`",
                    server.bind
                );
                return Err(Failure::new("no_tokens", message));
            }
            if server.tls.is_none() {
                output.warn("without server.tls_certificate, tokens cross the network as they are: put a proxy that speaks TLS in front");
            }
        }
        let tls = server.tls.as_ref().map(|tls| Tls { certificate: tls.certificate.clone(), key: tls.key.clone() });
        let listening = Listening::at(Listen { bind: server.bind, tls }).await.map_err(Failure::io(format!(
            "cannot listen on {}: choose another with --bind or server.bind",
            server.bind
        )))?;
        let url = listening.url().map_err(Failure::io("the address is not known"))?;
        let keys = if storage.is_some() { ", encrypts and decrypts, and holds keys" } else { "" };
        output.note(&format!("serving        {url} (its description at {url}/docs){keys}"));
        if usable == 0 {
            output.note("no token yet, so nobody is let in: make one with `reseal token create --role admin`");
        }
        Ok(Self { router: http::router(app.clone(), encryption(storage)), app, listening })
    }

    /// Serves until `stop`.
    pub(super) async fn run(self, stop: impl Future<Output = ()>) -> Result<(), Failure> {
        http::serve(&self.app, self.router, self.listening, stop).await.map_err(Failure::io("the server ended"))
    }
}

fn encryption(storage: Option<&Storage>) -> OpenApiRouter {
    storage.map_or_else(OpenApiRouter::new, |s| reseal_storage::http::service(s.clone(), ServiceLimits::default()))
}

/// The keys, for the encryption service.
pub(super) async fn storage(config: &Config, ledger: &Ledger, context: &Context) -> Result<Storage, Failure> {
    ground::protect(config, ledger, &context.output).await?;
    let kek = reseal_keyring::kek::open(config.kek.uri.expose())?;
    let options = Options::default().refresh_every(config.server.keyset_refresh);
    Storage::with_kek(ledger.clone(), kek, options).map_err(|e| Failure::new("keys_unusable", e.to_string()))
}

/// What the configuration says of requests and rotations.
pub(crate) fn settings(config: &Config) -> Settings {
    let rotation = &config.rotation;
    Settings {
        rules: Rules {
            clear_after: rotation.clear_after,
            writer_ttl: rotation.writer_ttl,
            batch_rows: rotation.batch_rows,
            two_person: rotation.two_person,
        },
        on_loopback: config.server.bind.ip().is_loopback(),
        tls: config.server.tls.is_some(),
        requests_per_second: config.server.requests_per_second,
        cryptoperiod: rotation.cryptoperiod,
    }
}
