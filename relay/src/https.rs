//! Connections to the HTTP server, secured by TLS.

use std::{io, net::SocketAddr, time::Duration};

use axum::serve::Listener;
use tokio::{
    net::{TcpListener, TcpStream},
    task::JoinSet,
    time::timeout,
};
use tokio_rustls::{TlsAcceptor, server::TlsStream};
use weft::certificate::CurrentCertificate;

/// How long a connection may take to be secured.
const PATIENCE: Duration = Duration::from_secs(10);

/// How many may be at it at once; further ones wait.
const MAX_PENDING: usize = 1024;

/// A listener whose connections are secured by the certificate there is when they come.
pub(crate) struct SecureListener {
    tcp: TcpListener,
    certificate: CurrentCertificate,
    pending: JoinSet<Option<(TlsStream<TcpStream>, SocketAddr)>>,
}

impl SecureListener {
    pub(crate) fn new(tcp: TcpListener, certificate: CurrentCertificate) -> Self {
        Self { tcp, certificate, pending: JoinSet::new() }
    }
}

impl Listener for SecureListener {
    type Io = TlsStream<TcpStream>;
    type Addr = SocketAddr;

    async fn accept(&mut self) -> (Self::Io, Self::Addr) {
        loop {
            // One who is slow holds up nobody else.
            tokio::select! {
                (stream, from) = Listener::accept(&mut self.tcp), if self.pending.len() < MAX_PENDING => {
                    let acceptor = TlsAcceptor::from(self.certificate.borrow().https());
                    self.pending.spawn(async move {
                        match timeout(PATIENCE, acceptor.accept(stream)).await {
                            Ok(Ok(secured)) => Some((secured, from)),
                            Ok(Err(error)) => {
                                tracing::debug!(%from, %error, "no TLS with somebody");
                                None
                            }
                            Err(_) => None,
                        }
                    });
                }
                Some(done) = self.pending.join_next() => {
                    if let Ok(Some(secured)) = done {
                        return secured;
                    }
                }
            }
        }
    }

    fn local_addr(&self) -> io::Result<SocketAddr> {
        self.tcp.local_addr()
    }
}
