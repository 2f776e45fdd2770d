//! Connections to the HTTP server, secured by TLS.

use std::{collections::BTreeMap, io, net::SocketAddr, time::Duration};

use axum::serve::Listener;
use libp2p::Multiaddr;
use tokio::{
    net::{TcpListener, TcpStream},
    task::{Id, JoinSet},
    time::timeout,
};
use tokio_rustls::{TlsAcceptor, server::TlsStream};
use weft::certificate::CurrentCertificate;
use weft_core::peers::AddressRange;

/// How long a connection may take to be secured.
const PATIENCE: Duration = Duration::from_secs(10);

/// How many may be at it at once; further ones wait.
const MAX_PENDING: usize = 1024;
/// Of one host: as many as it may have secured. Further ones are closed, or it could make all others wait.
const MAX_PENDING_OF_HOST: usize = 128;

/// A listener whose connections are secured by the certificate there is when they come.
pub(crate) struct SecureListener {
    tcp: TcpListener,
    certificate: CurrentCertificate,
    pending: JoinSet<Option<(TlsStream<TcpStream>, SocketAddr)>>,
    /// From where those come that can be told apart.
    hosts: BTreeMap<Id, AddressRange>,
}

/// Whether so many of these are one host that it gets no more.
fn is_crowded<'a>(pending: impl Iterator<Item = &'a AddressRange>, host: AddressRange) -> bool {
    pending.filter(|other| **other == host).count() >= MAX_PENDING_OF_HOST
}

impl SecureListener {
    pub(crate) fn new(tcp: TcpListener, certificate: CurrentCertificate) -> Self {
        Self { tcp, certificate, pending: JoinSet::new(), hosts: BTreeMap::new() }
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
                    let host = AddressRange::of_host(&Multiaddr::from(from.ip()));
                    if host.is_some_and(|host| is_crowded(self.hosts.values(), host)) {
                        tracing::debug!(%from, "too many connections of that host are being secured");
                        continue;
                    }
                    let acceptor = TlsAcceptor::from(self.certificate.borrow().https());
                    let task = self.pending.spawn(async move {
                        match timeout(PATIENCE, acceptor.accept(stream)).await {
                            Ok(Ok(secured)) => Some((secured, from)),
                            Ok(Err(error)) => {
                                tracing::debug!(%from, %error, "no TLS with somebody");
                                None
                            }
                            Err(_) => None,
                        }
                    });
                    self.hosts.extend(host.map(|host| (task.id(), host)));
                }
                Some(done) = self.pending.join_next_with_id() => {
                    let task = done.as_ref().map_or_else(tokio::task::JoinError::id, |(task, _)| *task);
                    self.hosts.remove(&task);
                    if let Ok((_, Some(secured))) = done {
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_host_does_not_make_all_others_wait() {
        let host = |text: &str| AddressRange::of_host(&format!("/ip4/{text}").parse().unwrap()).unwrap();
        let (one, other) = (host("9.9.9.9"), host("9.9.9.8"));
        let mut pending = vec![other; MAX_PENDING_OF_HOST - 1];
        pending.extend(vec![one; MAX_PENDING_OF_HOST]);
        assert!(is_crowded(pending.iter(), one));
        assert!(!is_crowded(pending.iter(), other));
    }
}
