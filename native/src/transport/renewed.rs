//! A WebSocket transport whose certificate is exchanged while it listens.

use std::{
    pin::Pin,
    task::{Context, Poll},
};

use futures::{AsyncRead, AsyncWrite};
use libp2p::{
    Multiaddr, Transport,
    core::transport::{DialOpts, ListenerId, TransportError, TransportEvent},
    websocket,
};

use crate::certificate::CurrentCertificate;

/// The transport. Each connection is secured by the certificate there was when it came; those that are open stay.
pub(super) struct Renewed<T>
where
    T: Transport<Output: AsyncRead + AsyncWrite + Send + Unpin + 'static>,
{
    inner: websocket::Config<T>,
    certificate: Option<CurrentCertificate>,
}

impl<T> Renewed<T>
where
    T: Transport<Error: Send, Dial: Send, ListenerUpgrade: Send> + Send + Unpin + 'static,
    T::Output: AsyncRead + AsyncWrite + Send + Unpin + 'static,
{
    pub(super) fn new(mut inner: websocket::Config<T>, mut certificate: Option<CurrentCertificate>) -> Self {
        if let Some(certificate) = &mut certificate {
            inner.set_tls_config(certificate.borrow_and_update().websocket());
        }
        Self { inner, certificate }
    }
}

impl<T> Transport for Renewed<T>
where
    T: Transport<Error: Send, Dial: Send, ListenerUpgrade: Send> + Send + Unpin + 'static,
    T::Output: AsyncRead + AsyncWrite + Send + Unpin + 'static,
{
    type Output = <websocket::Config<T> as Transport>::Output;
    type Error = <websocket::Config<T> as Transport>::Error;
    type ListenerUpgrade = <websocket::Config<T> as Transport>::ListenerUpgrade;
    type Dial = <websocket::Config<T> as Transport>::Dial;

    fn listen_on(&mut self, id: ListenerId, address: Multiaddr) -> Result<(), TransportError<Self::Error>> {
        self.inner.listen_on(id, address)
    }

    fn remove_listener(&mut self, id: ListenerId) -> bool {
        self.inner.remove_listener(id)
    }

    fn dial(
        &mut self,
        address: Multiaddr,
        options: DialOpts,
    ) -> Result<Self::Dial, TransportError<Self::Error>> {
        self.inner.dial(address, options)
    }

    fn poll(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<TransportEvent<Self::ListenerUpgrade, Self::Error>> {
        // Whoever comes wakes this up, so the new one is there in time without a waker of its own.
        let this = &mut *self;
        if let Some(certificate) = &mut this.certificate
            && certificate.has_changed().unwrap_or(false)
        {
            this.inner.set_tls_config(certificate.borrow_and_update().websocket());
        }
        Pin::new(&mut this.inner).poll(cx)
    }
}
