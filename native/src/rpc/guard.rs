//! Who may ask at all: not web pages, and not through another machine's name.

use std::{
    net::IpAddr,
    pin::Pin,
    task::{Context, Poll},
};

use jsonrpsee::{
    core::BoxError,
    server::{HttpBody, HttpRequest, HttpResponse},
};
use tower::{Layer, Service};

/// The layer that refuses what is described in the module documentation before its body is read.
pub(super) fn layer(any_host: bool) -> GuardLayer {
    GuardLayer { any_host }
}

#[derive(Clone, Copy)]
pub(super) struct GuardLayer {
    any_host: bool,
}

impl<S> Layer<S> for GuardLayer {
    type Service = Guard<S>;

    fn layer(&self, inner: S) -> Guard<S> {
        Guard { inner, any_host: self.any_host }
    }
}

#[derive(Clone)]
pub(super) struct Guard<S> {
    inner: S,
    any_host: bool,
}

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

    fn call(&mut self, request: HttpRequest<B>) -> Self::Future {
        let header = |name: &str| request.headers().get(name).map(|value| value.to_str().unwrap_or_default());
        let refusal = if header("origin").is_some() {
            Some("web pages may not use a peer's RPC")
        } else if !self.any_host && !header("host").is_some_and(is_loopback) {
            Some("the Host header does not name this machine")
        } else {
            None
        };
        match refusal {
            None => Box::pin(self.inner.call(request)),
            Some(words) => Box::pin(async move {
                let mut response = HttpResponse::new(HttpBody::from(format!("{words}\n")));
                *response.status_mut() = jsonrpsee::server::http::response::denied().status();
                Ok(response)
            }),
        }
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
