//! The HTTP server, with TLS when there is a certificate: the app, and what a tab has to know before it is a peer.

mod guests;
mod policy;

use std::{
    io,
    net::SocketAddr,
    path::{Path, PathBuf},
    sync::Arc,
    time::Duration,
};

use axum::{
    Json, Router,
    body::Body,
    extract::{Request, State},
    http::{HeaderValue, Method, StatusCode, header},
    middleware::map_response,
    response::{IntoResponse, Response},
    routing::get,
};
use serde_json::json;
use tokio::{fs, net::TcpListener, sync::oneshot, task::JoinHandle, time::timeout};
use tower_http::services::{ServeDir, ServeFile};

use weft::certificate::CurrentCertificate;

pub(crate) use self::guests::GuestBook;
use self::guests::Patience;
use crate::{RelayError, Served, https::SecureListener};

/// Files whose name holds a hash of their content never change.
const FOREVER: HeaderValue = HeaderValue::from_static("public, max-age=31536000, immutable");
/// All else may, and is asked for again.
const ASK_AGAIN: HeaderValue = HeaderValue::from_static("no-cache");

/// How long requests may take to end when the server stops.
const STOP_TIMEOUT: Duration = Duration::from_secs(2);

/// Takes the port.
pub(crate) async fn bind(address: SocketAddr) -> Result<TcpListener, RelayError> {
    TcpListener::bind(address).await.map_err(|source| match source.kind() {
        io::ErrorKind::AddrInUse => RelayError::HttpInUse(address),
        _ => RelayError::Http { address, source },
    })
}

/// A running server.
#[derive(Debug)]
pub(crate) struct HttpServer {
    address: SocketAddr,
    stop: oneshot::Sender<()>,
    task: JoinHandle<()>,
}

impl HttpServer {
    pub(crate) fn start(
        listener: TcpListener,
        certificate: Option<CurrentCertificate>,
        app: Option<PathBuf>,
        served: Arc<Served>,
        guests: GuestBook,
    ) -> Self {
        let address = listener.local_addr().unwrap_or_else(|_| SocketAddr::from(([0, 0, 0, 0], 0)));
        let mut router = Router::new()
            .route("/bootstrap.json", get(bootstrap))
            .route("/genesis.json", get(genesis))
            .route("/demo.json", get(demo))
            .with_state(served);
        if let Some(folder) = app {
            router = router.fallback(move |request| file(folder.clone(), request));
        }
        let router = router.layer(map_response(say_what_is_allowed));
        let (stop, stopped) = oneshot::channel::<()>();
        let task = tokio::spawn(async move {
            let stopped = async { drop(stopped.await) };
            match certificate {
                Some(certificate) => {
                    guests::serve(
                        SecureListener::new(listener, certificate),
                        router,
                        (Patience::USUAL, guests),
                        stopped,
                    )
                    .await;
                }
                None => guests::serve(listener, router, (Patience::USUAL, guests), stopped).await,
            }
        });
        Self { address, stop, task }
    }

    pub(crate) const fn address(&self) -> SocketAddr {
        self.address
    }

    pub(crate) async fn stop(self) {
        drop(self.stop);
        let mut task = self.task;
        if timeout(STOP_TIMEOUT, &mut task).await.is_err() {
            task.abort();
        }
    }
}

/// What browsers are to know of every answer.
async fn say_what_is_allowed(mut response: Response) -> Response {
    response.headers_mut().extend(policy::HEADERS);
    response
}

async fn bootstrap(State(served): State<Arc<Served>>) -> Response {
    let mut response = fresh(served.node_list().await.map(Json));
    // It is for everybody, pages of other servers too: the signature says whose it is.
    response.headers_mut().insert(header::ACCESS_CONTROL_ALLOW_ORIGIN, HeaderValue::from_static("*"));
    response
}

async fn genesis(State(served): State<Arc<Served>>) -> Response {
    fresh(served.genesis.as_ref().map(Json))
}

async fn demo(State(served): State<Arc<Served>>) -> Response {
    fresh(served.faucet.as_ref().map(|key| Json(json!({ "faucet": hex::encode(key.seed()) }))))
}

fn fresh(answer: Option<impl IntoResponse>) -> Response {
    match answer {
        Some(answer) => ([(header::CACHE_CONTROL, ASK_AGAIN)], answer).into_response(),
        None => StatusCode::NOT_FOUND.into_response(),
    }
}

/// A file of the app; for a path that is no file's, the page, which finds out by itself what the path means.
async fn file(folder: PathBuf, request: Request) -> Response {
    if ![Method::GET, Method::HEAD].contains(request.method()) {
        return StatusCode::METHOD_NOT_ALLOWED.into_response();
    }
    let name = request.uri().path().rsplit('/').next().unwrap_or_default().to_owned();
    let (parts, _) = request.into_parts();
    let again = || Request::from_parts(parts.clone(), Body::empty());
    let found = ServeDir::new(&folder).precompressed_br().try_call(again()).await;
    let missing = found.as_ref().is_ok_and(|response| response.status() == StatusCode::NOT_FOUND);
    let found = if missing && !name.contains('.') {
        ServeFile::new(folder.join("index.html")).precompressed_br().try_call(again()).await
    } else {
        found
    };
    let mut response = match found {
        Ok(response) => response.map(Body::new),
        Err(error) => {
            tracing::error!(%error, path = parts.uri.path(), "a file of the app cannot be read");
            return StatusCode::INTERNAL_SERVER_ERROR.into_response();
        }
    };
    let lasting = response.status().is_success() && is_hashed(Path::new(&name));
    // A worker is bound by the policy that its own file comes with.
    let page = fs::read_to_string(folder.join("index.html")).await.unwrap_or_default();
    response.headers_mut().insert(header::CONTENT_SECURITY_POLICY, policy::content_security_policy(&page));
    response.headers_mut().insert(header::CACHE_CONTROL, if lasting { FOREVER } else { ASK_AGAIN });
    response
}

/// Whether a file is named as Trunk names those whose content cannot change: `app-0123456789abcdef_bg.wasm`.
fn is_hashed(name: &Path) -> bool {
    let stem = name.file_stem().and_then(|stem| stem.to_str()).unwrap_or_default();
    stem.split(['-', '_', '.'])
        .any(|word| (8..=64).contains(&word.len()) && word.bytes().all(|byte| byte.is_ascii_hexdigit()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_names_with_a_hash_last_forever() {
        for lasting in ["weft-browser-1a2b3c4d5e6f7a8b.js", "weft-browser-1a2b3c4d5e6f7a8b_bg.wasm"] {
            assert!(is_hashed(Path::new(lasting)), "{lasting}");
        }
        for changing in ["index.html", "weft-browser.js", "style-abc.css", "deadbeat-x.js", ""] {
            assert!(!is_hashed(Path::new(changing)), "{changing}");
        }
    }
}
