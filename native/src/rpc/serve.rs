//! The connections of the RPC: so many at once, none that is silent, and none for ever.

use std::{net::IpAddr, pin::pin, sync::Arc, time::Duration};

use futures::future::{Either, select};
use hyper::{body::Incoming, server::conn::http1};
use hyper_util::{
    rt::{TokioIo, TokioTimer},
    service::TowerToHyperService,
};
use jsonrpsee::{
    core::BoxError,
    server::{HttpRequest, HttpResponse, StopHandle},
};
use tokio::{
    net::TcpListener,
    sync::Semaphore,
    time::{sleep, timeout},
};
use tower::Service;

use super::Limits;

/// How long an answer that is under way may take when its connection is to end.
const LAST_ANSWER: Duration = Duration::from_secs(30);
/// How long nobody is let in after the system had no socket for the last.
const NO_SOCKETS: Duration = Duration::from_millis(500);

/// Answers, by what `service` makes for whoever is there, until it is to stop. When all `places` are taken newcomers wait.
pub(super) async fn serve<S>(
    listener: TcpListener,
    limits: Limits,
    (service, places): (impl Fn(IpAddr) -> S, Arc<Semaphore>),
    stop: StopHandle,
) where
    S: Service<HttpRequest<Incoming>, Response = HttpResponse, Error = BoxError> + Clone + Send + 'static,
    S::Future: Send,
{
    let mut builder = http1::Builder::new();
    builder.timer(TokioTimer::new()).header_read_timeout(limits.idle);
    let mut stopped = pin!(stop.clone().shutdown());
    loop {
        // A place is taken only by who comes, so that the metrics do not count one for nobody.
        let entering = async {
            drop(places.acquire().await);
            listener.accept().await
        };
        let accepted = tokio::select! {
            accepted = entering => accepted,
            () = &mut stopped => return,
        };
        let (stream, from) = match accepted {
            Ok(accepted) => accepted,
            Err(error) => {
                tracing::warn!(%error, "no RPC connection can be accepted");
                sleep(NO_SOCKETS).await;
                continue;
            }
        };
        if let Err(error) = stream.set_nodelay(true) {
            tracing::debug!(%from, %error, "an RPC connection will be slow");
        }
        // Nobody else takes any, so it is still there.
        let place = places.clone().acquire_owned().await;
        let service = TowerToHyperService::new(service(from.ip()));
        let connection = builder.serve_connection(TokioIo::new(stream), service);
        let stopped = stop.clone().shutdown();
        tokio::spawn(async move {
            let mut connection = pin!(connection);
            let over = pin!(async move {
                tokio::select! { () = stopped => {}, () = sleep(limits.stay) => {} }
            });
            let ended = match select(connection.as_mut(), over).await {
                Either::Left((ended, _)) => Ok(ended),
                Either::Right(_) => {
                    connection.as_mut().graceful_shutdown();
                    timeout(LAST_ANSWER, connection).await
                }
            };
            if !matches!(ended, Ok(Ok(()))) {
                tracing::debug!(%from, ?ended, "an RPC connection was ended");
            }
            drop(place);
        });
    }
}
