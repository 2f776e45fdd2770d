//! `weft chat`

use std::{
    collections::BTreeSet,
    io::{self, BufRead, IsTerminal, Read},
    thread,
};

use clap::Args;
use futures::StreamExt;
use libp2p::{Multiaddr, identity::Keypair};
use serde_json::json;
use tokio::sync::mpsc;
use weft_core::{
    gossip::Room,
    node::{ChatView, Command, Discovery, Event, Reply, Role},
    swarm::{Handle, Notice},
};

use super::{
    Failure, Output,
    output::{printable, short_peer},
    signals::Signals,
};
use crate::peer::{External, Peer, PeerConfig};

/// Where a chat listens unless told otherwise: any free port.
const DEFAULT_LISTEN: [&str; 2] = ["/ip4/0.0.0.0/tcp/0", "/ip4/0.0.0.0/udp/0/quic-v1"];
/// The longest line that is read; the peer says how long a message may be.
const MAX_LINE: u64 = 64 << 10;

#[derive(Debug, Args)]
pub(super) struct ChatArgs {
    /// The room's name: lower-case letters, digits, `-` and `_`.
    room: Room,
    /// Listen here; may be given several times. Default: TCP and QUIC on any free port.
    #[arg(long, value_name = "MULTIADDR")]
    listen: Vec<Multiaddr>,
    /// Connect to this peer; may be given several times.
    #[arg(long, value_name = "MULTIADDR")]
    bootstrap: Vec<Multiaddr>,
    /// Do not look for peers on the local network, nor tell it of this one.
    #[arg(long)]
    no_mdns: bool,
}

pub(super) async fn run(args: ChatArgs, output: Output) -> Result<(), Failure> {
    let mut signals = Signals::new()?;
    let listen = if args.listen.is_empty() {
        DEFAULT_LISTEN
            .iter()
            .map(|text| text.parse().expect("the literals above are multiaddresses"))
            .collect()
    } else {
        args.listen
    };
    let peer = Peer::start(PeerConfig {
        listen,
        external: External::Listening,
        bootstrap: args.bootstrap,
        mdns: !args.no_mdns,
        discovery: Discovery::of(Role::Native),
        slots: Role::Native.slots(),
        ..PeerConfig::new(Keypair::generate_ed25519())
    })
    .await?;
    let handle = peer.handle().clone();
    let mut conversation = Conversation { handle, room: args.room, output, present: BTreeSet::new() };
    let me = peer.id().to_string();
    let outcome = tokio::select! {
        () = signals.wait() => Ok(()),
        outcome = conversation.run(&me) => outcome,
    };
    peer.stop().await.map_err(|error| Failure::Failed(format!("the peer failed as it ended: {error}")))?;
    outcome
}

struct Conversation {
    handle: Handle,
    room: Room,
    output: Output,
    present: BTreeSet<String>,
}

impl Conversation {
    /// Talks until standard input ends.
    async fn run(&mut self, me: &str) -> Result<(), Failure> {
        let mut events = self.handle.subscribe().await;
        self.call(Command::Join(self.room.clone())).await?;
        let json = json!({ "event": "ready", "peer": me, "room": self.room });
        self.output.print(&json, || {
            format!(
                "you are {} in room {}; nobody is connected yet, looking for others",
                short_peer(me),
                self.room
            )
        });
        self.look_around().await?;
        let mut lines = lines();
        loop {
            tokio::select! {
                line = lines.recv() => match line {
                    None => return Ok(()),
                    Some(line) => self.say(line).await?,
                },
                notice = events.next() => match notice {
                    None => return Err(Failure::Failed("the peer ended by itself".to_owned())),
                    Some(Notice::Event(Event::Chat(message))) => self.hear(&message),
                    Some(Notice::Event(Event::Peers)) => self.look_around().await?,
                    Some(Notice::Event(Event::Alarm(words))) => {
                        self.output.print(&json!({ "event": "alarm", "text": words }), || format!("* {}", printable(&words)));
                    }
                    Some(Notice::Event(_)) => {}
                    Some(Notice::Lost(count)) => {
                        self.output.print(&json!({ "event": "lost", "count": count }), || format!("* {count} lines were lost: too much at once"));
                    }
                },
            }
        }
    }

    async fn call(&self, command: Command) -> Result<Reply, Failure> {
        self.handle.call(command).await.map_err(|error| Failure::Failed(error.to_string()))
    }

    /// A line that cannot be said is complained about, and the conversation goes on.
    async fn say(&mut self, line: String) -> Result<(), Failure> {
        let text = line.trim_end_matches(['\r', '\n']);
        if text.trim().is_empty() {
            return Ok(());
        }
        if self.present.is_empty() {
            self.output.note(
                "* nobody is connected yet: only those who join later and ask for the history will read this",
            );
        }
        if let Err(error) = self.handle.call(Command::Say(self.room.clone(), text.to_owned())).await {
            let json = json!({ "event": "refused", "message": error.to_string() });
            self.output.print(&json, || format!("* not said: {error}"));
        }
        Ok(())
    }

    fn hear(&self, message: &ChatView) {
        // A person at a terminal has just typed it.
        if message.room != self.room || (message.own && !self.output.is_json() && io::stdin().is_terminal()) {
            return;
        }
        let json = json!({ "event": "message", "author": message.author, "own": message.own, "text": message.text, "at": message.at, "told_by": message.told_by });
        self.output.print(&json, || {
            let told = message.told_by.as_deref().map(|teller| format!(" (told by {})", short_peer(teller)));
            format!(
                "{}{}> {}",
                short_peer(&message.author),
                told.unwrap_or_default(),
                printable(&message.text)
            )
        });
    }

    /// Says who came and who went.
    async fn look_around(&mut self) -> Result<(), Failure> {
        let Reply::Peers(peers) = self.call(Command::Peers).await? else { return Ok(()) };
        let present: BTreeSet<String> = peers.into_iter().map(|peer| peer.peer).collect();
        for peer in present.difference(&self.present) {
            self.output.print(&json!({ "event": "joined", "peer": peer }), || {
                format!("* {} joined", short_peer(peer))
            });
        }
        for peer in self.present.difference(&present) {
            self.output
                .print(&json!({ "event": "left", "peer": peer }), || format!("* {} left", short_peer(peer)));
        }
        if present.is_empty() && !self.present.is_empty() {
            self.output.note("* nobody is connected any more");
        }
        self.present = present;
        Ok(())
    }
}

/// The lines of standard input, from a thread of its own, which ends with the process: reading a terminal cannot be
/// interrupted. Longer lines arrive in pieces; bytes that are not UTF-8 are replaced.
fn lines() -> mpsc::Receiver<String> {
    let (sender, receiver) = mpsc::channel(16);
    thread::spawn(move || {
        let mut input = io::stdin().lock();
        loop {
            let mut line = Vec::new();
            match input.by_ref().take(MAX_LINE).read_until(b'\n', &mut line) {
                Ok(0) | Err(_) => return,
                Ok(_) if sender.blocking_send(String::from_utf8_lossy(&line).into_owned()).is_err() => return,
                Ok(_) => {}
            }
        }
    });
    receiver
}
