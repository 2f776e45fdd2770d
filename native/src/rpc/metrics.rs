//! `GET /metrics`: what is measured, for Prometheus.

use std::{
    pin::Pin,
    sync::Arc,
    task::{Context, Poll},
};

use jsonrpsee::{
    core::BoxError,
    server::{HttpBody, HttpRequest, HttpResponse},
};
use tokio::sync::Semaphore;
use tower::{Layer, Service};
use weft_core::{
    node::{
        Command, Reply,
        metrics::{CONTENT_TYPE, render},
    },
    primitives::Held,
};

use super::{MAX_CONNECTIONS, api::Answer};

/// The path of the metrics.
const PATH: &str = "/metrics";

pub(super) type Call = Arc<dyn Fn(Command) -> Answer + Send + Sync>;

/// The layer that answers for this path; everything else goes on.
#[derive(Clone)]
pub(super) struct MetricsLayer {
    pub(super) call: Call,
    /// For connections: those that are free.
    pub(super) places: Arc<Semaphore>,
}

impl<S> Layer<S> for MetricsLayer {
    type Service = Metrics<S>;

    fn layer(&self, inner: S) -> Metrics<S> {
        Metrics { inner, call: self.call.clone(), places: self.places.clone() }
    }
}

#[derive(Clone)]
pub(super) struct Metrics<S> {
    inner: S,
    call: Call,
    places: Arc<Semaphore>,
}

impl<S, B> Service<HttpRequest<B>> for Metrics<S>
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
        if request.uri().path() != PATH || request.method().as_str() != "GET" {
            return Box::pin(self.inner.call(request));
        }
        let answer = (self.call)(Command::Metrics);
        let taken = MAX_CONNECTIONS.saturating_sub(self.places.available_permits());
        Box::pin(async move {
            let (status, kind, text) = match answer.await {
                Ok(Reply::Metrics(mut snapshot)) => {
                    snapshot.held.push(Held::new("connections to the RPC", taken, MAX_CONNECTIONS));
                    (200, CONTENT_TYPE, render(&snapshot))
                }
                Ok(_) => (503, "text/plain", "the peer answered something else\n".to_owned()),
                Err(error) => (503, "text/plain", format!("{error}\n")),
            };
            Ok(HttpResponse::builder()
                .status(status)
                .header("content-type", kind)
                .body(HttpBody::from(text))?)
        })
    }
}
