//! JSON-RPC 2.0 over HTTP: how the commands, and programs on the same machine, talk to a running peer.
//!
//! It is for the person who runs the peer: it listens on loopback, and no web page can use it. A request with an `Origin`
//! comes from a page and is refused, as is one whose `Host` is not this machine, which is how a page of a hostile name
//! that resolves to 127.0.0.1 would look. What changes something, or makes the peer ask others for it, takes a [token](Token) besides; who has none may
//! ask only so much. The same goes for `GET /metrics`, which Prometheus asks for.

mod api;
mod client;
mod guard;
mod guests;
mod metrics;
mod serve;
mod token;

use std::{fmt, future::Future, io, net::SocketAddr, sync::Arc, time::Duration};

use jsonrpsee::{
    core::middleware::RpcServiceBuilder,
    server::{BatchRequestConfig, Methods, Server, ServerConfig, ServerHandle, stop_channel},
};
use tokio::{net::TcpListener, sync::Semaphore};
use weft_core::{
    node::{Command, CommandError, Reply},
    peers::Allowance,
};

pub use api::{BlockParam, code};
pub use client::{RpcClient, RpcFailure};
pub use token::{Token, TokenError};

/// The most bytes a request may have: a chunk of a file as hex digits with room to spare.
const MAX_REQUEST: u32 = 576 << 10;
/// The most bytes a response may have: a full block as JSON with room to spare.
const MAX_RESPONSE: u32 = 16 << 20;
/// Connections at a time.
const MAX_CONNECTIONS: usize = 64;

/// What whoever asks is held to.
#[derive(Clone, Copy, Debug)]
struct Limits {
    /// How long a connection may be open without asking, and how long it may take to say what it wants.
    idle: Duration,
    /// How long it may be open at all.
    stay: Duration,
    /// How many questions a host may ask without the token. One is answered in less than a millisecond, and the commands ask a few.
    asks: Allowance,
}

const LIMITS: Limits = Limits {
    idle: Duration::from_secs(30),
    stay: Duration::from_secs(15 * 60),
    asks: Allowance { per_second: 256, burst: 1024 },
};

/// Why the RPC server did not start.
#[derive(Debug, thiserror::Error)]
pub enum RpcError {
    /// The address is not loopback, and remote callers were not allowed.
    #[error(
        "{0} can be reached from other machines, and whoever reaches it sees all that this peer does: use a loopback address such as 127.0.0.1, or say --rpc-allow-remote"
    )]
    NotLoopback(SocketAddr),
    /// The address cannot be listened on.
    #[error("cannot listen for RPC on {address}: {source}{}", hint(source))]
    Bind {
        /// The address.
        address: SocketAddr,
        /// The system's answer.
        source: io::Error,
    },
}

fn hint(source: &io::Error) -> &'static str {
    match source.kind() {
        io::ErrorKind::AddrInUse => {
            "; another program, perhaps another weft, has it: choose another with --rpc"
        }
        _ => "",
    }
}

/// A running RPC server. It stops when dropped.
pub struct RpcServer {
    address: SocketAddr,
    handle: ServerHandle,
}

impl RpcServer {
    /// Listens on `address` (port 0: any free port) and answers with what `call` answers; what changes something, to whoever says
    /// the token.
    ///
    /// # Errors
    /// When the address is not loopback and `allow_remote` is not set, or cannot be listened on.
    pub async fn start<C, F>(
        address: SocketAddr,
        allow_remote: bool,
        token: Token,
        call: C,
    ) -> Result<Self, RpcError>
    where
        C: Fn(Command) -> F + Send + Sync + 'static,
        F: Future<Output = Result<Reply, CommandError>> + Send + 'static,
    {
        Self::start_within(LIMITS, address, allow_remote, token, call).await
    }

    async fn start_within<C, F>(
        limits: Limits,
        address: SocketAddr,
        allow_remote: bool,
        token: Token,
        call: C,
    ) -> Result<Self, RpcError>
    where
        C: Fn(Command) -> F + Send + Sync + 'static,
        F: Future<Output = Result<Reply, CommandError>> + Send + 'static,
    {
        if !address.ip().is_loopback() && !allow_remote {
            return Err(RpcError::NotLoopback(address));
        }
        let config = ServerConfig::builder()
            .http_only()
            .max_request_body_size(MAX_REQUEST)
            .max_response_body_size(MAX_RESPONSE)
            .max_connections(u32::try_from(MAX_CONNECTIONS).expect("a small constant"))
            .set_batch_request_config(BatchRequestConfig::Disabled)
            .build();
        let bind = |source| RpcError::Bind { address, source };
        let listener = TcpListener::bind(address).await.map_err(bind)?;
        let address = listener.local_addr().map_err(bind)?;
        let call: metrics::Call = Arc::new(move |command| Box::pin(call(command)));
        let methods: Methods = api::methods(call.clone()).into();
        let guests = Arc::new(guests::Guests::new(limits.asks));
        let (stop, handle) = stop_channel();
        let server = Server::builder()
            .set_config(config)
            .set_rpc_middleware(RpcServiceBuilder::new().layer_fn(guard::Gate))
            .to_service_builder();
        let stopped = stop.clone();
        let places = Arc::new(Semaphore::new(MAX_CONNECTIONS));
        let free = places.clone();
        let service = move |from| {
            let guard = guard::layer(allow_remote, token.clone(), guests.clone(), from);
            let metrics = metrics::MetricsLayer { call: call.clone(), places: places.clone() };
            let http = tower::ServiceBuilder::new().layer(guard).layer(metrics);
            server.clone().set_http_middleware(http).build(methods.clone(), stop.clone())
        };
        tokio::spawn(serve::serve(listener, limits, (service, free), stopped));
        Ok(Self { address, handle })
    }

    /// Where it listens.
    #[must_use]
    pub fn address(&self) -> SocketAddr {
        self.address
    }
}

impl Drop for RpcServer {
    fn drop(&mut self) {
        // Fails only when it has stopped already.
        let _ = self.handle.stop();
    }
}

impl fmt::Debug for RpcServer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RpcServer").field("address", &self.address).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests;
