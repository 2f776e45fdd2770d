//! Who may ask at all: not web pages, not through another machine's name, and not without end. And who may change something, or make the
//! peer ask others: whoever says the [token](super::Token).

use std::{
    future::ready,
    net::IpAddr,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll},
};

use futures::future::Either;
use jsonrpsee::{
    MethodResponse,
    core::{
        BoxError,
        middleware::{Batch, Notification, RpcServiceT},
    },
    server::{HttpBody, HttpRequest, HttpResponse},
    types::{ErrorObjectOwned, Request},
};
use tower::{Layer, Service};

use super::{Token, api::READS, guests::Guests};

/// The JSON-RPC error code of a request that would change something and came without the token.
pub(super) const NEEDS_TOKEN: i32 = -32030;
/// The HTTP status of what is not for web pages.
const DENIED: u16 = 403;
/// The HTTP status of a request too many (RFC 6585).
pub(super) const TOO_MANY: u16 = 429;

/// The layer that refuses what is described in the module documentation before its body is read, for a connection from there.
pub(super) const fn layer(any_host: bool, token: Token, guests: Arc<Guests>, from: IpAddr) -> GuardLayer {
    GuardLayer { any_host, token, guests, from }
}

#[derive(Clone)]
pub(super) struct GuardLayer {
    any_host: bool,
    token: Token,
    guests: Arc<Guests>,
    from: IpAddr,
}

impl<S> Layer<S> for GuardLayer {
    type Service = Guard<S>;

    fn layer(&self, inner: S) -> Guard<S> {
        Guard { inner, guard: self.clone() }
    }
}

#[derive(Clone)]
pub(super) struct Guard<S> {
    inner: S,
    guard: GuardLayer,
}

/// A mark on requests that came with the token.
#[derive(Clone, Copy)]
struct Trusted;

impl<S, B> Service<HttpRequest<B>> for Guard<S>
where
    S: Service<HttpRequest<B>, Response = HttpResponse, Error = BoxError>,
    S::Future: Send + 'static,
{
    type Response = HttpResponse;
    type Error = BoxError;
    type Future = Pin<Box<dyn Future<Output = Result<HttpResponse, BoxError>> + Send>>;

    fn poll_ready(&mut self, context: &mut Context<'_>) -> Poll<Result<(), BoxError>> {
        self.inner.poll_ready(context)
    }

    fn call(&mut self, mut request: HttpRequest<B>) -> Self::Future {
        let header = |name: &str| request.headers().get(name).map(|value| value.to_str().unwrap_or_default());
        let trusted = header("authorization").is_some_and(|said| self.guard.token.is_said(said));
        let refusal = if header("origin").is_some() {
            Some((DENIED, "web pages may not use a peer's RPC"))
        } else if !self.guard.any_host && !header("host").is_some_and(is_loopback) {
            Some((DENIED, "the Host header does not name this machine"))
        } else if !trusted && !self.guard.guests.may_ask(self.guard.from) {
            Some((TOO_MANY, "too many questions without the token; wait a moment"))
        } else {
            None
        };
        // Nobody else can put the mark on: extensions do not travel.
        if trusted {
            request.extensions_mut().insert(Trusted);
        }
        match refusal {
            None => Box::pin(self.inner.call(request)),
            Some((status, words)) => Box::pin(async move {
                Ok(HttpResponse::builder().status(status).body(HttpBody::from(format!("{words}\n")))?)
            }),
        }
    }
}

/// Lets methods that change something through only with the mark.
#[derive(Clone)]
pub(super) struct Gate<S>(pub(super) S);

impl<S> RpcServiceT for Gate<S>
where
    S: RpcServiceT<MethodResponse = MethodResponse>,
{
    type MethodResponse = MethodResponse;
    type NotificationResponse = S::NotificationResponse;
    type BatchResponse = S::BatchResponse;

    fn call<'a>(&self, request: Request<'a>) -> impl Future<Output = MethodResponse> + Send + 'a {
        if READS.contains(&request.method_name()) || request.extensions().get::<Trusted>().is_some() {
            return Either::Left(self.0.call(request));
        }
        let words = "this changes something at the peer or makes it ask others, so it needs the token that is in the user's rpc.token file \
                     (see --rpc-token)";
        let error = ErrorObjectOwned::owned(NEEDS_TOKEN, words, None::<()>);
        Either::Right(ready(MethodResponse::error(request.id, error)))
    }

    // The server takes no batches, and a notification runs no method.
    fn batch<'a>(&self, requests: Batch<'a>) -> impl Future<Output = Self::BatchResponse> + Send + 'a {
        self.0.batch(requests)
    }

    fn notification<'a>(
        &self,
        notification: Notification<'a>,
    ) -> impl Future<Output = Self::NotificationResponse> + Send + 'a {
        self.0.notification(notification)
    }
}

/// Whether the value of a `Host` header is this machine's own name for itself, with or without a port.
fn is_loopback(host: &str) -> bool {
    let name = match host.strip_prefix('[') {
        Some(rest) => rest.split(']').next().unwrap_or_default(),
        None => host.split(':').next().unwrap_or_default(),
    };
    name.eq_ignore_ascii_case("localhost") || name.parse::<IpAddr>().is_ok_and(|ip| ip.is_loopback())
}

#[cfg(test)]
mod tests {
    use super::is_loopback;

    #[test]
    fn only_loopback_names_pass() {
        for good in ["localhost", "LOCALHOST:1", "127.0.0.1", "127.9.9.9:80", "[::1]", "[::1]:8080"] {
            assert!(is_loopback(good), "{good}");
        }
        let bad =
            ["", ":", "example.com", "localhost.example.com", "127.0.0.1.nip.io", "10.0.0.1", "[::2]", "["];
        for bad in bad {
            assert!(!is_loopback(bad), "{bad}");
        }
    }
}
