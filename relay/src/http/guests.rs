//! Who may ask over HTTP, and how much: so many connections at once, of one host fewer, none that takes its time to ask, and so many
//! questions a second.

use std::{
    collections::BTreeMap,
    convert::Infallible,
    net::{IpAddr, SocketAddr},
    pin::pin,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::{Duration, Instant},
};

use axum::{
    Router,
    body::Body,
    extract::Request,
    http::StatusCode,
    response::{IntoResponse, Response},
    serve::Listener,
};
use hyper::body::Incoming;
use hyper_util::{
    rt::{TokioExecutor, TokioIo, TokioTimer},
    server::{conn::auto, graceful::GracefulShutdown},
    service::TowerToHyperService,
};
use libp2p::Multiaddr;
use tokio::time::timeout;
use tower::{ServiceExt, service_fn};
use weft_core::{
    peers::{AddressRange, Allowance, Bucket},
    primitives::{Held, Mono},
};

/// Connections at a time. Some 60 files and a few questions make a visit, over at most six connections.
const MAX_CONNECTIONS: usize = 512;
/// Of one host: a school that opens the app at once comes from one address.
const MAX_OF_HOST: usize = 128;
/// Questions of one host.
const QUESTIONS: Allowance = Allowance { per_second: 64, burst: 1024 };
/// The most hosts whose questions are counted; past it those that ask least are forgotten.
const MAX_HOSTS: usize = 4096;

/// How long somebody may take.
#[derive(Clone, Copy)]
pub(super) struct Patience {
    /// To say what is wanted, on a new connection and after each answer.
    ask: Duration,
    /// At all, so that nobody keeps a place by reading slowly. The app takes less on a slow line.
    stay: Duration,
}

impl Patience {
    pub(super) const USUAL: Self = Self { ask: Duration::from_secs(15), stay: Duration::from_secs(15 * 60) };
}

/// Who is here.
struct Guests {
    connections: usize,
    hosts: BTreeMap<AddressRange, Host>,
    begun: Instant,
}

struct Host {
    connections: usize,
    questions: Bucket,
    last: Mono,
}

impl Guests {
    fn new() -> Self {
        Self { connections: 0, hosts: BTreeMap::new(), begun: Instant::now() }
    }

    fn now(&self) -> Mono {
        Mono(u64::try_from(self.begun.elapsed().as_millis()).unwrap_or(u64::MAX))
    }

    /// Lets a connection in, if there is room. Our own network is not told apart: a proxy there answers for everybody.
    fn enter(&mut self, host: Option<AddressRange>, now: Mono) -> bool {
        if self.connections >= MAX_CONNECTIONS {
            return false;
        }
        if let Some(host) = host {
            if !self.hosts.contains_key(&host) && self.hosts.len() >= MAX_HOSTS {
                let idle = self.hosts.iter().filter(|(_, host)| host.connections == 0);
                let Some(oldest) = idle.min_by_key(|(_, host)| host.last).map(|(range, _)| *range) else {
                    return false;
                };
                self.hosts.remove(&oldest);
            }
            let host = self.hosts.entry(host).or_insert_with(|| Host {
                connections: 0,
                questions: Bucket::new(QUESTIONS),
                last: now,
            });
            if host.connections >= MAX_OF_HOST {
                return false;
            }
            host.connections += 1;
        }
        self.connections += 1;
        true
    }

    fn leave(&mut self, host: Option<AddressRange>) {
        self.connections -= 1;
        if let Some(host) = host.and_then(|host| self.hosts.get_mut(&host)) {
            host.connections -= 1;
        }
    }

    /// Whether a host may ask something now.
    fn may_ask(&mut self, host: Option<AddressRange>, now: Mono) -> bool {
        host.and_then(|host| self.hosts.get_mut(&host)).is_none_or(|host| {
            host.last = now;
            host.questions.take(1, now)
        })
    }
}

/// Who is here, for the server and for the metrics.
#[derive(Clone)]
pub(crate) struct GuestBook(Arc<Mutex<Guests>>);

impl GuestBook {
    pub(crate) fn new() -> Self {
        Self(Arc::new(Mutex::new(Guests::new())))
    }

    fn lock(&self) -> MutexGuard<'_, Guests> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// How many connections there are, and of how many hosts something is remembered.
    pub(crate) fn held(&self) -> [Held; 2] {
        let all = self.lock();
        [
            Held::new("connections to the HTTP server", all.connections, MAX_CONNECTIONS),
            Held::new("hosts that asked over HTTP", all.hosts.len(), MAX_HOSTS),
        ]
    }
}

/// A connection that is counted while it is open.
struct Guest {
    guests: GuestBook,
    host: Option<AddressRange>,
}

impl Guest {
    fn enter(guests: &GuestBook, ip: IpAddr) -> Option<Self> {
        let host = AddressRange::of_host(&Multiaddr::from(ip));
        let mut all = guests.lock();
        let now = all.now();
        all.enter(host, now).then(|| Self { guests: guests.clone(), host })
    }

    fn may_ask(&self) -> bool {
        let mut all = self.guests.lock();
        let now = all.now();
        all.may_ask(self.host, now)
    }
}

impl Drop for Guest {
    fn drop(&mut self) {
        self.guests.lock().leave(self.host);
    }
}

/// Answers what comes over a listener until it is to stop, and then ends what is under way.
pub(super) async fn serve<L: Listener<Addr = SocketAddr>>(
    mut listener: L,
    router: Router,
    (patience, guests): (Patience, GuestBook),
    stopped: impl Future<Output = ()>,
) {
    let graceful = GracefulShutdown::new();
    let mut builder = auto::Builder::new(TokioExecutor::new()).http1_only();
    builder.http1().timer(TokioTimer::new()).header_read_timeout(patience.ask);
    let mut stopped = pin!(stopped);
    loop {
        let (stream, from) = tokio::select! {
            accepted = listener.accept() => accepted,
            () = &mut stopped => break,
        };
        let Some(guest) = Guest::enter(&guests, from.ip()) else {
            tracing::debug!(%from, "there is no room for another HTTP connection");
            continue;
        };
        let guest = Arc::new(guest);
        let (router, asker) = (router.clone(), guest.clone());
        let answer =
            service_fn(move |request: Request<Incoming>| answer(router.clone(), asker.may_ask(), request));
        let connection =
            builder.serve_connection(TokioIo::new(stream), TowerToHyperService::new(answer)).into_owned();
        let connection = graceful.watch(connection);
        tokio::spawn(async move {
            match timeout(patience.stay, connection).await {
                Ok(Ok(())) => {}
                Ok(Err(error)) => tracing::debug!(%from, %error, "an HTTP connection ended"),
                Err(_) => tracing::debug!(%from, "an HTTP connection was open for too long"),
            }
            drop(guest);
        });
    }
    drop(listener);
    graceful.shutdown().await;
}

async fn answer(router: Router, allowed: bool, request: Request<Incoming>) -> Result<Response, Infallible> {
    if allowed {
        router.oneshot(request.map(Body::new)).await
    } else {
        Ok((StatusCode::TOO_MANY_REQUESTS, "too many requests; wait a moment\n").into_response())
    }
}

#[cfg(test)]
mod tests {
    use axum::routing::get;
    use tokio::{
        io::{AsyncReadExt, AsyncWriteExt},
        net::{TcpListener, TcpStream},
    };

    use super::*;

    fn host(a: u8, b: u8) -> Option<AddressRange> {
        let host = AddressRange::of_host(&format!("/ip4/9.9.{a}.{b}").parse().unwrap());
        assert!(host.is_some());
        host
    }

    #[test]
    fn one_host_takes_only_some_of_the_places_and_nobody_more_than_there_are() {
        let mut guests = Guests::new();
        let mut of_one = 0;
        while guests.enter(host(0, 1), Mono(0)) {
            of_one += 1;
        }
        assert_eq!(of_one, MAX_OF_HOST);
        let others = (0..2000u16).filter(|index| {
            let [a, b] = index.to_be_bytes();
            guests.enter(host(10 + a, b), Mono(0))
        });
        assert_eq!(others.count(), MAX_CONNECTIONS - MAX_OF_HOST);
        assert!(!guests.enter(None, Mono(0)));
        guests.leave(host(0, 1));
        assert!(guests.enter(None, Mono(0)), "who leaves makes room");
    }

    #[test]
    fn one_host_asks_only_so_much_and_our_own_network_is_not_told_apart() {
        let mut guests = Guests::new();
        assert!(guests.enter(host(0, 1), Mono(0)) && guests.enter(None, Mono(0)));
        let asked = (0..5000).filter(|_| guests.may_ask(host(0, 1), Mono(1)));
        assert_eq!(asked.count(), 1024);
        assert!(guests.may_ask(host(0, 1), Mono(1001)), "time gives more");
        assert!((0..5000).all(|_| guests.may_ask(None, Mono(1))));
        assert_eq!(AddressRange::of_host(&Multiaddr::from(IpAddr::from([192, 168, 0, 1]))), None);
    }

    /// Says something, and returns what comes until the other side closes the connection.
    async fn until_closed(patience: Patience, says: &[u8]) -> String {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let at = listener.local_addr().unwrap();
        let router = Router::new().route("/", get(|| async { "here" }));
        let server =
            tokio::spawn(serve(listener, router, (patience, GuestBook::new()), std::future::pending()));
        let mut stream = TcpStream::connect(at).await.unwrap();
        stream.write_all(says).await.unwrap();
        let mut heard = Vec::new();
        let closed = timeout(Duration::from_secs(20), stream.read_to_end(&mut heard)).await;
        closed.expect("it is shown out").unwrap();
        server.abort();
        String::from_utf8_lossy(&heard).into_owned()
    }

    #[tokio::test]
    async fn who_says_nothing_or_stays_for_ever_is_shown_out() {
        const ASK: &[u8] = b"GET / HTTP/1.1\r\nHost: a\r\n\r\n";
        let soon = Duration::from_secs(1);
        let hasty = Patience { ask: soon, stay: Duration::from_secs(3600) };
        for silent in [b"".as_slice(), b"GET / HTTP/1.1\r\nHost:"] {
            until_closed(hasty, silent).await;
        }
        assert!(until_closed(hasty, ASK).await.ends_with("here"), "it wants nothing more");
        let short = Patience { ask: Duration::from_secs(3600), stay: soon };
        assert!(until_closed(short, ASK).await.ends_with("here"));
    }

    #[test]
    fn hosts_that_are_gone_are_forgotten_the_one_longest_silent_first() {
        let mut guests = Guests::new();
        for index in 0..5000u16 {
            let [a, b] = index.to_be_bytes();
            assert!(guests.enter(host(a, b), Mono(index.into())));
            guests.leave(host(a, b));
        }
        assert_eq!(guests.hosts.len(), MAX_HOSTS);
        assert!(!guests.hosts.contains_key(&host(0, 0).unwrap()));
    }
}
