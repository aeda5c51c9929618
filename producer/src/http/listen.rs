//! Listening, with or without TLS, until it is asked to stop.

use super::App;
use axum::Router;
use axum_server::{Handle, tls_rustls::RustlsConfig};
use std::{
    io,
    net::{SocketAddr, TcpListener},
    path::PathBuf,
    time::Duration,
};

/// What requests under way are given to end.
const GRACE: Duration = Duration::from_secs(10);
/// A client that does not say what it wants for so long is not waited for.
const HEAD_MAX: Duration = Duration::from_secs(10);
const HEADERS_MAX: usize = 64;

/// A certificate chain and its key, as PEM files.
#[derive(Clone, Debug)]
pub struct Tls {
    /// The chain.
    pub certificate: PathBuf,
    /// Its key.
    pub key: PathBuf,
}

/// Where to listen.
#[derive(Clone, Debug)]
pub struct Listen {
    /// The address; port 0 takes a free one.
    pub bind: SocketAddr,
    /// None: plain HTTP.
    pub tls: Option<Tls>,
}

/// A socket that listens already, so that its address can be told before anybody is served.
#[derive(Debug)]
pub struct Listening {
    socket: TcpListener,
    tls: Option<RustlsConfig>,
}

impl Listening {
    /// Takes the address, and reads the certificate.
    pub async fn at(listen: Listen) -> io::Result<Self> {
        let tls = match listen.tls {
            None => None,
            Some(tls) => {
                // Once a process; whoever was first has chosen the same.
                let _ = rustls::crypto::ring::default_provider().install_default();
                Some(RustlsConfig::from_pem_file(tls.certificate, tls.key).await?)
            }
        };
        let socket = TcpListener::bind(listen.bind)?;
        socket.set_nonblocking(true)?;
        Ok(Self { socket, tls })
    }

    /// `http://127.0.0.1:7373`.
    pub fn url(&self) -> io::Result<String> {
        let scheme = if self.tls.is_some() { "https" } else { "http" };
        Ok(format!("{scheme}://{}", self.socket.local_addr()?))
    }
}

/// Serves until `stop`; then takes nothing new, ends the streams, and gives what is under way ten seconds.
pub async fn serve(app: &App, router: Router, listening: Listening, stop: impl Future<Output = ()>) -> io::Result<()> {
    let (handle, service) = (Handle::new(), router.into_make_service_with_connect_info::<SocketAddr>());
    let serving = async {
        match listening.tls {
            None => {
                let server = axum_server::from_tcp(listening.socket)?.handle(handle.clone());
                let mut server = server.first_request_timeout(HEAD_MAX);
                limit(&mut server);
                server.serve(service).await
            }
            Some(tls) => {
                let server = axum_server::from_tcp_rustls(listening.socket, tls)?.handle(handle.clone());
                let mut server = server.first_request_timeout(HEAD_MAX);
                limit(&mut server);
                server.serve(service).await
            }
        }
    };
    tokio::pin!(serving);
    tokio::select! {
        ended = &mut serving => return ended,
        () = stop => {}
    }
    app.close();
    handle.graceful_shutdown(Some(GRACE));
    serving.await
}

fn limit<A>(server: &mut axum_server::Server<SocketAddr, A>) {
    server.http_builder().http1().header_read_timeout(HEAD_MAX).max_headers(HEADERS_MAX);
}
