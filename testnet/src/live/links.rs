//! Connections between real peers, each through a socket of ours, so that they can be counted, closed and cut.
//!
//! A native peer is told, for every peer it is to dial, the address of a listener that leads only there. A tab's browser
//! uses a SOCKS proxy of its own (RFC 1928), which leads to relays and nowhere else.

use std::{
    collections::{BTreeMap, BTreeSet},
    io,
    net::{Ipv4Addr, SocketAddr},
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicU64, Ordering},
    },
};

use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpListener, TcpStream},
    runtime::Handle,
    task::AbortHandle,
};

/// Bytes that are passed on at a time.
const PIECE: usize = 16 << 10;

/// All connections of a live network.
pub(super) struct Links {
    runtime: Handle,
    shared: Arc<Shared>,
}

struct Shared {
    state: Mutex<State>,
    /// Bytes that each peer has put into its sockets.
    sent: Vec<AtomicU64>,
}

#[derive(Default)]
struct State {
    /// Where peers listen for others, while they run.
    peers: BTreeMap<usize, SocketAddr>,
    /// What the ports of relays on loopback are for.
    doors: BTreeMap<u16, Door>,
    /// One side of a partition.
    cut: BTreeSet<usize>,
    open: BTreeMap<u64, Open>,
    next: u64,
    closed: u64,
}

/// What is behind a port of a relay.
#[derive(Clone, Copy)]
pub(super) enum Door {
    /// The page: no connection between peers, and not counted.
    Page,
    /// The relay of this number.
    Peer(usize),
}

struct Open {
    ends: (usize, usize),
    task: AbortHandle,
}

impl State {
    fn severed(&self, (from, to): (usize, usize)) -> bool {
        self.cut.contains(&from) != self.cut.contains(&to)
    }

    fn close(&mut self, which: impl Fn(&Self, (usize, usize)) -> bool) {
        let hit: Vec<u64> =
            self.open.iter().filter(|(_, open)| which(self, open.ends)).map(|(id, _)| *id).collect();
        for open in hit.into_iter().filter_map(|id| self.open.remove(&id)) {
            open.task.abort();
            self.closed += 1;
        }
    }
}

impl Shared {
    fn state(&self) -> MutexGuard<'_, State> {
        // Nothing panics while it holds the lock, and half a change does no harm.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Passes on what two peers say to each other until one of them is done.
    async fn join(&self, ends: (usize, usize), dialler: TcpStream, dialled: TcpStream) {
        // Both fail only when the connection is gone, which is noticed at once.
        let _ = (dialler.set_nodelay(true), dialled.set_nodelay(true));
        let ((from_dialler, to_dialler), (from_dialled, to_dialled)) =
            (dialler.into_split(), dialled.into_split());
        tokio::select! {
            () = pass(from_dialler, to_dialled, &self.sent[ends.0]) => {}
            () = pass(from_dialled, to_dialler, &self.sent[ends.1]) => {}
        }
    }

    /// Carries a connection from its first byte to its last, as one that can be closed.
    fn carry(self: &Arc<Self>, ends: (usize, usize), dialler: TcpStream, to: SocketAddr) {
        let mut state = self.state();
        if state.severed(ends) {
            return;
        }
        let id = state.next;
        state.next += 1;
        let shared = Arc::clone(self);
        let task = tokio::spawn(async move {
            if let Ok(dialled) = TcpStream::connect(to).await {
                shared.join(ends, dialler, dialled).await;
            }
            shared.state().open.remove(&id);
        });
        state.open.insert(id, Open { ends, task: task.abort_handle() });
    }
}

async fn pass(mut from: impl AsyncReadExt + Unpin, mut to: impl AsyncWriteExt + Unpin, count: &AtomicU64) {
    let mut piece = vec![0; PIECE];
    while let Ok(read @ 1..) = from.read(&mut piece).await {
        count.fetch_add(read as u64, Ordering::Relaxed);
        if to.write_all(&piece[..read]).await.is_err() {
            break;
        }
    }
}

impl Links {
    /// Between so many peers.
    pub(super) fn new(runtime: Handle, peers: usize) -> Self {
        let sent = (0..peers).map(|_| AtomicU64::new(0)).collect();
        Self { runtime, shared: Arc::new(Shared { state: Mutex::default(), sent }) }
    }

    /// A peer listens there now, or nowhere.
    pub(super) fn moved(&self, ix: usize, to: Option<SocketAddr>) {
        let mut state = self.shared.state();
        match to {
            Some(address) => state.peers.insert(ix, address),
            None => state.peers.remove(&ix),
        };
    }

    /// A relay has this port on loopback.
    pub(super) fn door(&self, port: u16, door: Door) {
        self.shared.state().doors.insert(port, door);
    }

    /// The address at which `from` reaches `to`.
    ///
    /// # Errors
    /// When the system has no port left.
    pub(super) fn edge(&self, from: usize, to: usize) -> io::Result<SocketAddr> {
        self.listen(move |shared, stream| async move {
            let target = shared.state().peers.get(&to).copied();
            // Without one it is dropped, as by a machine where nobody listens.
            if let Some(target) = target {
                shared.carry((from, to), stream, target);
            }
        })
    }

    /// The address of a SOCKS proxy by which the browser of peer `from` reaches relays.
    ///
    /// # Errors
    /// When the system has no port left.
    pub(super) fn proxy(&self, from: usize) -> io::Result<SocketAddr> {
        self.listen(move |shared, mut stream| async move {
            let Ok(port) = asked_port(&mut stream).await else { return };
            let door = shared.state().doors.get(&port).copied();
            let target = SocketAddr::from((Ipv4Addr::LOCALHOST, port));
            match door {
                // Not allowed by the rules.
                None => drop(answer(&mut stream, 2).await),
                Some(Door::Peer(to)) if shared.state().severed((from, to)) => {
                    drop(answer(&mut stream, 4).await);
                }
                Some(door) => {
                    if answer(&mut stream, 0).await.is_err() {
                        return;
                    }
                    match door {
                        Door::Peer(to) => shared.carry((from, to), stream, target),
                        Door::Page => {
                            if let Ok(mut page) = TcpStream::connect(target).await {
                                // Ends with whoever ends first.
                                let _ = tokio::io::copy_bidirectional(&mut stream, &mut page).await;
                            }
                        }
                    }
                }
            }
        })
    }

    fn listen<F, T>(&self, serve: F) -> io::Result<SocketAddr>
    where
        F: Fn(Arc<Shared>, TcpStream) -> T + Send + 'static,
        T: Future<Output = ()> + Send + 'static,
    {
        let listener = self.runtime.block_on(TcpListener::bind((Ipv4Addr::LOCALHOST, 0)))?;
        let address = listener.local_addr()?;
        let shared = Arc::clone(&self.shared);
        self.runtime.spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                tokio::spawn(serve(Arc::clone(&shared), stream));
            }
        });
        Ok(address)
    }

    /// Closes all connections of a peer.
    pub(super) fn disconnect(&self, ix: usize) {
        self.shared.state().close(|_, (from, to)| from == ix || to == ix);
    }

    /// Cuts these peers off from all others, until [`Self::heal`].
    pub(super) fn cut(&self, peers: &[usize]) {
        let mut state = self.shared.state();
        state.cut = peers.iter().copied().collect();
        state.close(State::severed);
    }

    /// Ends the partition.
    pub(super) fn heal(&self) {
        self.shared.state().cut.clear();
    }

    /// How many connections were closed, by [`Self::disconnect`] and [`Self::cut`].
    pub(super) fn closed(&self) -> u64 {
        self.shared.state().closed
    }

    /// The bytes that a peer has put into its sockets.
    pub(super) fn sent(&self, ix: usize) -> u64 {
        self.shared.sent[ix].load(Ordering::Relaxed)
    }
}

/// The greeting and the request of a SOCKS client; only loopback can be asked for, as an address or in words.
async fn asked_port(stream: &mut TcpStream) -> io::Result<u16> {
    let mut greeting = [0; 2];
    stream.read_exact(&mut greeting).await?;
    let mut methods = vec![0; usize::from(greeting[1])];
    stream.read_exact(&mut methods).await?;
    stream.write_all(&[5, 0]).await?;
    let mut request = [0; 4];
    stream.read_exact(&mut request).await?;
    let loopback = match request {
        [5, 1, 0, 1] => {
            let mut address = [0; 4];
            stream.read_exact(&mut address).await?;
            Ipv4Addr::from(address) == Ipv4Addr::LOCALHOST
        }
        [5, 1, 0, 3] => {
            let mut name = vec![0; usize::from(stream.read_u8().await?)];
            stream.read_exact(&mut name).await?;
            name == b"127.0.0.1"
        }
        _ => false,
    };
    let port = stream.read_u16().await?;
    if loopback { Ok(port) } else { Err(io::ErrorKind::InvalidData.into()) }
}

async fn answer(stream: &mut TcpStream, code: u8) -> io::Result<()> {
    stream.write_all(&[5, code, 0, 1, 0, 0, 0, 0, 0, 0]).await
}

#[cfg(test)]
mod tests {
    use std::{
        io::{Read, Write},
        net,
    };

    use tokio::runtime::Runtime;

    use super::*;

    /// A listener that sends back what it hears.
    fn echo() -> SocketAddr {
        let listener = net::TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        std::thread::spawn(move || {
            for stream in listener.incoming() {
                let mut stream = stream.unwrap();
                std::thread::spawn(move || {
                    let mut piece = [0; 64];
                    while let Ok(read @ 1..) = stream.read(&mut piece) {
                        if stream.write_all(&piece[..read]).is_err() {
                            break;
                        }
                    }
                });
            }
        });
        address
    }

    fn says(stream: &mut net::TcpStream, words: &[u8]) -> bool {
        let mut back = vec![0; words.len()];
        stream.write_all(words).is_ok() && stream.read_exact(&mut back).is_ok() && back == words
    }

    #[test]
    fn what_two_peers_say_is_passed_on_and_counted_until_they_are_disconnected() {
        let runtime = Runtime::new().unwrap();
        let links = Links::new(runtime.handle().clone(), 3);
        let address = links.edge(0, 1).unwrap();
        assert!(!says(&mut net::TcpStream::connect(address).unwrap(), b"nobody listens"));
        links.moved(1, Some(echo()));
        let mut stream = net::TcpStream::connect(address).unwrap();
        assert!(says(&mut stream, b"hello"));
        assert_eq!((links.sent(0), links.sent(1), links.sent(2)), (5, 5, 0));
        links.disconnect(2);
        assert!(says(&mut stream, b"still here"));
        links.disconnect(1);
        assert!(!says(&mut stream, b"gone"));
        assert!(says(&mut net::TcpStream::connect(address).unwrap(), b"again"));
    }

    #[test]
    fn a_partition_closes_what_crosses_it_and_refuses_more_until_it_heals() {
        let runtime = Runtime::new().unwrap();
        let links = Links::new(runtime.handle().clone(), 3);
        let (across, within) = (links.edge(0, 1).unwrap(), links.edge(0, 2).unwrap());
        links.moved(1, Some(echo()));
        links.moved(2, Some(echo()));
        let mut open = [across, within].map(|address| net::TcpStream::connect(address).unwrap());
        assert!(open.iter_mut().all(|stream| says(stream, b"hello")));
        links.cut(&[1]);
        assert!(!says(&mut open[0], b"anybody?") && says(&mut open[1], b"here"));
        assert!(!says(&mut net::TcpStream::connect(across).unwrap(), b"anybody?"));
        links.heal();
        assert!(says(&mut net::TcpStream::connect(across).unwrap(), b"here"));
    }

    #[test]
    fn a_browser_reaches_relays_and_nothing_else() {
        let runtime = Runtime::new().unwrap();
        let links = Links::new(runtime.handle().clone(), 2);
        let proxy = links.proxy(1).unwrap();
        let (relay, page, other) = (echo(), echo(), echo());
        links.door(relay.port(), Door::Peer(0));
        links.door(page.port(), Door::Page);
        let dial = |to: SocketAddr| {
            let mut stream = net::TcpStream::connect(proxy).unwrap();
            stream.write_all(&[5, 1, 0]).unwrap();
            stream.read_exact(&mut [0; 2]).unwrap();
            // Browsers name the machine in words.
            stream.write_all(&[5, 1, 0, 3, 9]).unwrap();
            stream.write_all(b"127.0.0.1").unwrap();
            stream.write_all(&to.port().to_be_bytes()).unwrap();
            let mut answer = [0; 10];
            stream.read_exact(&mut answer).unwrap();
            (answer[1], stream)
        };
        for (to, counted) in [(relay, 5), (page, 0)] {
            let before = links.sent(1);
            let (code, mut stream) = dial(to);
            assert!(code == 0 && says(&mut stream, b"hello"));
            assert_eq!(links.sent(1) - before, counted);
        }
        assert_eq!(dial(other).0, 2);
        links.cut(&[1]);
        assert_eq!(dial(relay).0, 4);
    }
}
