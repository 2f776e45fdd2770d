//! Files: between the people of this peer, what is kept here, and the peers that have the rest.

mod view;

use std::collections::{BTreeMap, BTreeSet};

use libp2p::PeerId;

pub use self::view::{FileState, FileView};
use super::{
    CommandId, ContentCommand, ContentError, InboundId, Output, Protocol, Reply, RequestFailure,
    connections::Connections,
    dht::Dht,
    effects::{Ask, Effects},
    offers::Offers,
    seeking::Seeking,
};
use crate::{
    content::{Arrival, Cid, ContentRequest, ContentResponse, Failed, Fetch, MAX_FILES, Mark, Part, Shelf},
    peers::{Offence, Role, Service, Traffic},
    primitives::{Hash, Held, Mono},
    store::Batch,
};

/// The most files that are fetched at a time.
const MAX_FETCHES: usize = 4;
/// A fetch to which nothing came for so long is given up.
const GIVE_UP_MILLIS: u64 = 2 * 60 * 1000;
/// The most peers that are asked because they are connected, and not because they say that they have the file.
const MAX_NEIGHBOURS: usize = 8;
/// So many connected peers that have a file are enough.
const ENOUGH: usize = 8;
/// The most fetches whose failure is remembered.
const MAX_PROBLEMS: usize = 64;

struct Running {
    fetch: Fetch,
    neighbours: usize,
    /// Whether others are to be told of the file.
    offer: bool,
    /// When something came last.
    moved: Mono,
}

pub(super) struct Contents {
    shelf: Shelf,
    running: BTreeMap<Hash, Running>,
    /// Why fetches ended that did not bring the file.
    problems: BTreeMap<Hash, String>,
    /// What is not to be looked for any more.
    ended: Vec<Hash>,
    /// Of which files others are told, and whether that may have changed.
    offered: BTreeSet<Hash>,
    changed: bool,
}

impl Contents {
    /// What the store holds. What was being fetched is fetched on.
    pub(super) fn open(fx: &mut Effects, role: Role, seeking: &mut Seeking) -> Self {
        let mut batch = Batch::default();
        let shelf = Shelf::open(&*fx.store, Shelf::capacity_of(role), &mut batch);
        if !batch.is_empty() {
            fx.refuse("stored-content-damaged");
            fx.apply(batch);
        }
        let mut contents = Self {
            shelf,
            running: BTreeMap::new(),
            problems: BTreeMap::new(),
            ended: Vec::new(),
            offered: BTreeSet::new(),
            changed: true,
        };
        let wanted = contents.shelf.files().filter(|(_, file)| file.wanted && !file.is_whole());
        let wanted: Vec<_> =
            wanted.map(|(content, file)| (*content, file.offered)).take(MAX_FETCHES).collect();
        for (content, offer) in wanted {
            contents.run(fx, seeking, (content, offer), std::iter::empty());
        }
        contents
    }

    fn run(
        &mut self,
        fx: &Effects,
        seeking: &mut Seeking,
        (content, offer): (Hash, bool),
        neighbours: impl Iterator<Item = PeerId>,
    ) {
        let mut fetch =
            self.shelf.file(&content).map_or_else(|| Fetch::new(content), |file| Fetch::of(content, file));
        let neighbours = neighbours.take(MAX_NEIGHBOURS).filter(|peer| fetch.add(*peer)).count();
        self.problems.remove(&content);
        self.running.insert(content, Running { fetch, neighbours, offer, moved: fx.now.mono });
        seeking.want(fx, content, ENOUGH);
    }

    /// A person wants something.
    pub(super) fn command(
        &mut self,
        fx: &mut Effects,
        (offers, seeking): (&Offers, &mut Seeking),
        connections: &Connections,
        id: CommandId,
        command: ContentCommand,
    ) {
        let mut batch = Batch::default();
        let outcome = match command {
            ContentCommand::Offer(manifest) => self
                .shelf
                .place(manifest, fx.now.wall, &mut batch)
                .map_err(|error| ContentError::Shelf(error).into())
                .map(|content| {
                    self.shelf.mark(&content, Mark::Kept, &mut batch);
                    let file = self.shelf.file(&content);
                    Reply::Missing(file.into_iter().flat_map(|file| file.missing()).collect())
                }),
            ContentCommand::Put { cid: Cid(content), index, bytes } => match self.shelf.file(&content) {
                None => Err(ContentError::NotHere.into()),
                Some(file) if !file.manifest.is_chunk(index, &bytes) => Err(ContentError::NotTheChunk.into()),
                Some(_) => {
                    self.shelf.keep(&content, index, bytes, &mut batch);
                    Ok(Reply::Done)
                }
            },
            ContentCommand::Fetch { cid: Cid(content), offer } => {
                if offer {
                    self.shelf.mark(&content, Mark::Offered, &mut batch);
                }
                let running = self.running.get_mut(&content).map(|running| running.offer |= offer);
                if self.shelf.file(&content).is_some_and(|file| file.is_whole()) || running.is_some() {
                    Ok(Reply::File(Box::new(self.view(fx, offers, &content))))
                } else if self.running.len() >= MAX_FETCHES {
                    Err(ContentError::TooManyFetches(MAX_FETCHES).into())
                } else {
                    self.shelf.mark(&content, Mark::Wanted, &mut batch);
                    self.run(fx, seeking, (content, offer), connections.direct());
                    Ok(Reply::File(Box::new(self.view(fx, offers, &content))))
                }
            }
            ContentCommand::Show(Cid(content)) => Ok(Reply::File(Box::new(self.view(fx, offers, &content)))),
            ContentCommand::List => {
                let mut all: Vec<_> = self.shelf.files().map(|(content, _)| *content).collect();
                all.extend(self.running.keys().filter(|content| self.shelf.file(content).is_none()));
                Ok(Reply::Files(all.iter().map(|content| self.view(fx, offers, content)).collect()))
            }
            ContentCommand::Read { cid: Cid(content), index } => {
                let bytes = self.shelf.chunk(&*fx.store, &content, index, &mut batch);
                bytes.map(Reply::Chunk).ok_or_else(|| ContentError::NotHere.into())
            }
            ContentCommand::Drop(Cid(content)) => {
                let fetched = self.running.remove(&content).is_some();
                seeking.found_enough(&content);
                self.problems.remove(&content);
                if self.shelf.remove(&content, &mut batch) || fetched {
                    Ok(Reply::Done)
                } else {
                    Err(ContentError::NotHere.into())
                }
            }
        };
        self.write(fx, batch);
        fx.reply(id, outcome);
    }

    fn write(&mut self, fx: &mut Effects, batch: Batch) {
        if !batch.is_empty() {
            self.changed = true;
            fx.apply(batch);
        }
    }

    /// The person says that they have what this key names: if it is a file that is here, it is kept.
    pub(super) fn pin(&mut self, fx: &mut Effects, content: &Hash) {
        if self.shelf.file(content).is_some_and(|file| file.is_whole()) {
            let mut batch = Batch::default();
            self.shelf.mark(content, Mark::Kept, &mut batch);
            self.write(fx, batch);
        }
    }

    /// A peer that says it has a file is connected.
    pub(super) fn provider(&mut self, content: &Hash, peer: PeerId) {
        if let Some(running) = self.running.get_mut(content) {
            running.fetch.add(peer);
        }
    }

    /// A peer has come, and may have what is being fetched.
    pub(super) fn peer_arrived(&mut self, peer: PeerId) {
        for running in self.running.values_mut() {
            if running.neighbours < MAX_NEIGHBOURS && running.fetch.add(peer) {
                running.neighbours += 1;
            }
        }
    }

    pub(super) fn peer_left(&mut self, peer: &PeerId) {
        self.running.values_mut().for_each(|running| running.fetch.gone(peer));
    }

    /// A request on `/content/1`.
    pub(super) fn asked(&mut self, fx: &mut Effects, id: InboundId, peer: PeerId, body: &[u8]) {
        if !fx.may(peer, Traffic::Content, 0) {
            fx.respond(id, ContentResponse::Busy.to_bytes());
            return;
        }
        let response = match ContentRequest::from_bytes(body) {
            Ok(ContentRequest::Manifest(content)) => {
                self.shelf.file(&content).map(|file| ContentResponse::Manifest(file.manifest.to_bytes()))
            }
            Ok(ContentRequest::Chunk { content, index }) => {
                let mut batch = Batch::default();
                let bytes = self.shelf.chunk(&*fx.store, &content, index, &mut batch);
                self.write(fx, batch);
                bytes.map(ContentResponse::Chunk)
            }
            Err(error) => {
                tracing::debug!(%peer, %error, "a request for content was refused");
                fx.offend(peer, Offence::Malformed);
                fx.push(Output::Refuse(id));
                return;
            }
        };
        let response = response.unwrap_or(ContentResponse::Absent).to_bytes();
        fx.respond_at_cost(id, peer, Traffic::Content, response);
    }

    /// An answer on `/content/1`, or none.
    pub(super) fn answered(
        &mut self,
        fx: &mut Effects,
        peer: PeerId,
        (content, part): (Hash, Part),
        outcome: Result<Vec<u8>, RequestFailure>,
    ) {
        let Some(running) = self.running.get_mut(&content) else { return };
        let now = fx.now.mono;
        let response = match outcome {
            Ok(bytes) => match ContentResponse::from_bytes(&bytes) {
                Ok(response) => response,
                Err(error) => {
                    tracing::debug!(%peer, %error, "an answer about content was refused");
                    running.fetch.gave_nonsense(&peer);
                    fx.offend(peer, Offence::Malformed);
                    return;
                }
            },
            Err(RequestFailure::TooLarge) => {
                running.fetch.gave_nonsense(&peer);
                fx.offend(peer, Offence::Unrequested);
                return;
            }
            Err(RequestFailure::Unsupported) => {
                return running.fetch.failed(&peer, part, Failed::Unsupported, now);
            }
            Err(RequestFailure::Timeout | RequestFailure::ConnectionLost) => {
                return running.fetch.failed(&peer, part, Failed::NoAnswer, now);
            }
        };
        let mut batch = Batch::default();
        match running.fetch.answered(&peer, part, response, now) {
            Arrival::Manifest(manifest) => {
                running.moved = now;
                let offer = running.offer;
                match self.shelf.place(manifest, fx.now.wall, &mut batch) {
                    Ok(content) => {
                        self.shelf.mark(&content, Mark::Wanted, &mut batch);
                        if offer {
                            self.shelf.mark(&content, Mark::Offered, &mut batch);
                        }
                    }
                    Err(error) => self.end(&content, Some(error.to_string())),
                }
            }
            Arrival::Chunk(index, bytes) => {
                running.moved = now;
                fx.services.push((peer, Service::Answer));
                self.shelf.keep(&content, index, bytes, &mut batch);
            }
            Arrival::Wrong(offence) => {
                tracing::warn!(%peer, cid = %Cid(content), ?part, "a peer sent wrong content");
                fx.refuse("content-wrong-bytes");
                fx.offend(peer, offence);
            }
            Arrival::NoFile(error) => self.end(&content, Some(format!("this names no file: {error}"))),
            Arrival::Nothing => {}
        }
        self.write(fx, batch);
    }

    /// Ends a fetch, with the reason if the file is not here.
    fn end(&mut self, content: &Hash, problem: Option<String>) {
        self.running.remove(content);
        self.ended.push(*content);
        if let Some(problem) = problem {
            tracing::warn!(cid = %Cid(*content), problem, "a file was not fetched");
            if self.problems.len() >= MAX_PROBLEMS {
                self.problems.pop_first();
            }
            self.problems.insert(*content, problem);
        }
    }

    pub(super) fn next_due(&self, now: Mono) -> Option<Mono> {
        let due = |running: &Running| {
            running.fetch.next_due(now).into_iter().chain([running.moved + GIVE_UP_MILLIS]).min()
        };
        self.running.values().filter_map(due).min()
    }

    pub(super) fn tick(
        &mut self,
        fx: &mut Effects,
        (dht, offers, seeking): (&mut Dht, &mut Offers, &mut Seeking),
    ) {
        let now = fx.now.mono;
        let (mut whole, mut stalled) = (Vec::new(), Vec::new());
        for (content, running) in &mut self.running {
            if self.shelf.file(content).is_some_and(|file| file.is_whole()) {
                whole.push(*content);
                continue;
            }
            if now - running.moved >= GIVE_UP_MILLIS {
                stalled.push(*content);
                continue;
            }
            while let Some((peer, part)) = running.fetch.next_ask(now) {
                let request = match part {
                    Part::Manifest => ContentRequest::Manifest(*content),
                    Part::Chunk(index) => ContentRequest::Chunk { content: *content, index },
                };
                fx.ask(peer, Protocol::Content, Ask::Content(*content, part), request.to_bytes());
            }
        }
        let mut batch = Batch::default();
        for content in whole {
            tracing::info!(cid = %Cid(content), "a file is here");
            self.end(&content, None);
            self.shelf.mark(&content, Mark::Ended, &mut batch);
        }
        for content in stalled {
            let minutes = GIVE_UP_MILLIS / 60_000;
            let problem = format!(
                "nobody reached has sent any of it for {minutes} minutes; what is here stays, and another try goes on from there"
            );
            self.end(&content, Some(problem));
            self.shelf.mark(&content, Mark::Ended, &mut batch);
        }
        for content in std::mem::take(&mut self.ended) {
            seeking.found_enough(&content);
        }
        self.write(fx, batch);
        if std::mem::take(&mut self.changed) {
            self.tell(fx, dht, offers);
        }
    }

    /// Others are told of what is whole and meant for them, and no longer of what has made room for something else.
    fn tell(&mut self, fx: &mut Effects, dht: &mut Dht, offers: &mut Offers) {
        let whole = self.shelf.files().filter(|(_, file)| file.offered && file.is_whole());
        let whole: BTreeSet<_> = whole.map(|(content, _)| *content).collect();
        for content in whole.difference(&self.offered) {
            offers.add(fx, *content);
        }
        for content in self.offered.difference(&whole) {
            offers.remove(fx, dht, content);
        }
        self.offered = whole;
    }

    /// How many files are here or begun, and how many bytes of them.
    pub(super) fn held(&self) -> impl Iterator<Item = Held> {
        let own = [
            Held::new("files", self.shelf.files().count(), MAX_FILES),
            Held::new("files being fetched", self.running.len(), MAX_FETCHES),
        ];
        let mut most = Fetch::new(Hash::default()).held();
        for fetch in self.running.values().map(|running| running.fetch.held()) {
            for (most, of_fetch) in most.iter_mut().zip(fetch) {
                most.count = most.count.max(of_fetch.count);
            }
        }
        own.into_iter().chain(most)
    }

    pub(super) fn measure(&self) -> [u64; 2] {
        let bytes = self.shelf.files().map(|(_, file)| file.bytes_here()).sum();
        [self.shelf.files().count() as u64, bytes]
    }

    fn view(&self, fx: &Effects, offers: &Offers, content: &Hash) -> FileView {
        let file = self.shelf.file(content);
        let running = self.running.get(content);
        let progress = running.map(|running| running.fetch.progress(fx.now.mono)).unwrap_or_default();
        FileView {
            cid: Cid(*content),
            name: file.map(|file| file.manifest.name().to_owned()).unwrap_or_default(),
            bytes: file.map(|file| file.manifest.bytes()),
            bytes_here: file.map_or(0, |file| file.bytes_here()),
            chunks: file.map_or(0, |file| file.manifest.count()),
            kept: file.is_some_and(|file| file.pinned),
            told: offers.is_told(content),
            state: match file {
                Some(file) if file.is_whole() => FileState::Here,
                _ if running.is_some() => FileState::Coming,
                Some(_) => FileState::Begun,
                None => FileState::Absent,
            },
            peers: progress.peers,
            bytes_per_second: progress.bytes_per_second,
            problem: self.problems.get(content).cloned(),
        }
    }
}

#[cfg(test)]
mod tests;
