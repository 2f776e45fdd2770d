//! Files between peers in virtual time: from several at once, past liars and those who vanish, and on after a restart.

use weft_core::{
    content::{CHUNK_BYTES, Cid, ContentResponse, Maker, Manifest},
    node::{Command, ContentCommand, FileState, FileView, Output, PeerView, Reply},
    primitives::Now,
};
use weft_testnet::sim::{Keep, NodeOptions, PeerIx, Tamper, World};

use crate::town::seeds;

struct Song {
    manifest: Manifest,
    bytes: Vec<u8>,
}

impl Song {
    fn new(chunks: usize) -> Self {
        let bytes: Vec<u8> = (0..chunks * CHUNK_BYTES - 9).map(|at| ((at * at) >> 7) as u8).collect();
        let mut maker = Maker::default();
        bytes.chunks(CHUNK_BYTES).for_each(|chunk| maker.add(chunk).expect("a chunk"));
        Self { manifest: maker.finish("song"), bytes }
    }

    fn cid(&self) -> Cid {
        self.manifest.cid()
    }

    /// Gives a peer those of the chunks that are chosen.
    fn give(&self, world: &mut World, ix: PeerIx, chosen: impl Fn(usize) -> bool) {
        content(world, ix, ContentCommand::Offer(self.manifest.clone()));
        for (index, chunk) in self.bytes.chunks(CHUNK_BYTES).enumerate().filter(|(index, _)| chosen(*index)) {
            let put = ContentCommand::Put { cid: self.cid(), index: index as u32, bytes: chunk.to_vec() };
            content(world, ix, put);
        }
    }

    fn is_at(&self, world: &mut World, ix: PeerIx) -> bool {
        let mut bytes = Vec::new();
        for index in 0..self.manifest.count() as u32 {
            match content(world, ix, ContentCommand::Read { cid: self.cid(), index }) {
                Reply::Chunk(chunk) => bytes.extend(chunk),
                other => panic!("{other:?}"),
            }
        }
        bytes == self.bytes
    }
}

fn content(world: &mut World, ix: PeerIx, command: ContentCommand) -> Reply {
    world.command(ix, Command::Content(command)).expect("it can be done")
}

fn view(world: &mut World, ix: PeerIx, cid: Cid) -> FileView {
    match content(world, ix, ContentCommand::Show(cid)) {
        Reply::File(view) => *view,
        other => panic!("{other:?}"),
    }
}

/// Runs until the file is in this state.
fn wait_for(world: &mut World, ix: PeerIx, cid: Cid, mut fits: impl FnMut(&FileView) -> bool) -> FileView {
    for _ in 0..600 {
        let view = view(world, ix, cid);
        if fits(&view) {
            return view;
        }
        world.run_for(100);
    }
    panic!("{:?}", view(world, ix, cid));
}

fn offences(world: &mut World, at: PeerIx, of: PeerIx) -> Vec<(String, u32)> {
    let id = world.peer_id(of).to_string();
    let Ok(Reply::Peers(peers)) = world.command(at, Command::Peers) else { panic!("its peers") };
    let find = |peer: PeerView| (peer.peer == id).then(|| peer.offences.into_iter().collect());
    peers.into_iter().find_map(find).unwrap_or_default()
}

/// No chain is needed.
fn options(bootstrap: Vec<PeerIx>) -> NodeOptions {
    NodeOptions { bootstrap, ..NodeOptions::default() }
}

/// Sends every answer on `/content/1` through `change`.
fn altered(change: impl Fn(&mut ContentResponse) + 'static) -> Tamper {
    Box::new(move |_: Now, output| match output {
        Output::Respond { id, body } => {
            let body = match ContentResponse::from_bytes(&body) {
                Ok(mut response) => {
                    change(&mut response);
                    response.to_bytes()
                }
                Err(_) => body,
            };
            vec![Output::Respond { id, body }]
        }
        other => vec![other],
    })
}

#[test]
fn a_file_comes_whole_from_peers_that_have_parts_of_it() {
    for seed in seeds(3) {
        let (mut world, song) = (World::new(seed), Song::new(24));
        let even = world.add_node(options(Vec::new()));
        let odd = world.add_node(options(Vec::new()));
        let asker = world.add_node(options(vec![even, odd]));
        world.run_for(3_000);
        song.give(&mut world, even, |index| index % 2 == 0);
        song.give(&mut world, odd, |index| index % 2 == 1);
        content(&mut world, asker, ContentCommand::Fetch { cid: song.cid(), offer: true });
        wait_for(&mut world, asker, song.cid(), |view| view.state == FileState::Here);
        assert!(song.is_at(&mut world, asker), "seed {seed}");
        for other in [even, odd] {
            assert_eq!(offences(&mut world, asker, other), [], "seed {seed}");
        }
    }
}

#[test]
fn a_provider_that_lies_is_blamed_alone_and_the_file_comes_from_the_honest_one() {
    let flip_chunk = |response: &mut ContentResponse| {
        if let ContentResponse::Chunk(bytes) = response {
            bytes[7] ^= 1;
        }
    };
    let flip_manifest = |response: &mut ContentResponse| {
        if let ContentResponse::Manifest(bytes) = response {
            bytes[60] ^= 1;
        }
    };
    for seed in seeds(3) {
        for tamper in [altered(flip_chunk), altered(flip_manifest)] {
            let (mut world, song) = (World::new(seed), Song::new(12));
            let liar = world.add_node(NodeOptions { tamper: Some(tamper), ..options(Vec::new()) });
            let honest = world.add_node(options(Vec::new()));
            let asker = world.add_node(options(vec![liar, honest]));
            world.run_for(3_000);
            for ix in [liar, honest] {
                song.give(&mut world, ix, |_| true);
            }
            content(&mut world, asker, ContentCommand::Fetch { cid: song.cid(), offer: true });
            wait_for(&mut world, asker, song.cid(), |view| view.state == FileState::Here);
            assert!(song.is_at(&mut world, asker), "seed {seed}");
            let blamed = offences(&mut world, asker, liar);
            assert!(
                matches!(&blamed[..], [(name, 1..=2)] if name == "wrong-body"),
                "seed {seed}: {blamed:?}"
            );
            assert_eq!(offences(&mut world, asker, honest), [], "seed {seed}");
        }
    }
}

#[test]
fn a_fetch_survives_the_end_of_its_provider_and_its_own_and_fetches_nothing_twice() {
    for seed in seeds(3) {
        let (mut world, song) = (World::new(seed), Song::new(20));
        let half = world.add_node(options(Vec::new()));
        let whole = world.add_node(options(Vec::new()));
        let asker = world.add_node(options(vec![half, whole]));
        world.run_for(3_000);
        song.give(&mut world, half, |index| index < 10);
        content(&mut world, asker, ContentCommand::Fetch { cid: song.cid(), offer: true });
        let view = wait_for(&mut world, asker, song.cid(), |view| view.bytes_here == 10 * CHUNK_BYTES as u64);
        assert_eq!(view.state, FileState::Coming, "seed {seed}");
        world.kill(half);
        world.run_for(1_000);
        world.kill(asker);
        world.restart(asker, Keep::All).expect("it starts");
        song.give(&mut world, whole, |_| true);
        wait_for(&mut world, asker, song.cid(), |view| view.state == FileState::Here);
        assert!(song.is_at(&mut world, asker), "seed {seed}");
        let downloaded = world.seen(asker).downloaded;
        assert!(downloaded < 21 * (CHUNK_BYTES as u64 + 16), "seed {seed}: {downloaded} bytes in both lives");
    }
}
