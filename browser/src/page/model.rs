//! What the page shows, as signals; `feed` writes them and the components read them.

use std::collections::BTreeSet;

use leptos::prelude::*;
use weft_core::{
    gossip::Room,
    node::{AccountView, BlockSummary, ChatView, MempoolView, PeerView, StatusView, SyncPhase, SyncView},
    primitives::Hash,
};

/// How far the page is.
#[derive(Clone, PartialEq, Eq)]
pub(crate) enum Stage {
    /// On the way; says what it waits for.
    Starting(&'static str),
    /// It could not start, in words.
    Failed(String),
    /// The peer runs.
    Running,
}

/// A part of the page; a phone shows one at a time.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Section {
    Chain,
    Wallet,
    Chat,
    Network,
}

impl Section {
    pub(crate) const ALL: [Self; 4] = [Self::Chain, Self::Wallet, Self::Chat, Self::Network];

    pub(crate) const fn name(self) -> &'static str {
        match self {
            Self::Chain => "Chain",
            Self::Wallet => "Wallet",
            Self::Chat => "Chat",
            Self::Network => "Network",
        }
    }

    pub(crate) const fn id(self) -> &'static str {
        match self {
            Self::Chain => "chain",
            Self::Wallet => "wallet",
            Self::Chat => "chat",
            Self::Network => "network",
        }
    }
}

/// All that is shown. A copy is a handle to the same.
#[derive(Clone, Copy)]
pub(crate) struct Model {
    pub(crate) stage: RwSignal<Stage>,
    pub(crate) section: RwSignal<Section>,
    /// Why this tab forgets who it is.
    pub(crate) guest: RwSignal<Option<String>>,
    pub(crate) status: RwSignal<Option<StatusView>>,
    /// Whether there has ever been a peer.
    pub(crate) seen_peers: RwSignal<bool>,
    pub(crate) sync: RwSignal<Option<SyncView>>,
    pub(crate) peers: RwSignal<Vec<PeerView>>,
    /// Newest first.
    pub(crate) blocks: RwSignal<Vec<BlockSummary>>,
    /// The block whose transactions are shown.
    pub(crate) open_block: RwSignal<Option<Hash>>,
    /// The id of the peer whose reputation is explained.
    pub(crate) open_peer: RwSignal<Option<String>>,
    pub(crate) mempool: RwSignal<Option<MempoolView>>,
    /// This tab's account as it was last verified.
    pub(crate) account: RwSignal<Option<AccountView>>,
    /// Why it could not be verified again since, in words.
    pub(crate) unverified: RwSignal<Option<String>>,
    pub(crate) rooms: RwSignal<Vec<Room>>,
    pub(crate) room: RwSignal<Option<Room>>,
    /// Rooms in which something was said that was not shown.
    pub(crate) unread: RwSignal<BTreeSet<Room>>,
    /// Of the shown room, oldest first.
    pub(crate) messages: RwSignal<Vec<ChatView>>,
    /// How much this page stores, in words, where the browser tells.
    pub(crate) usage: RwSignal<String>,
    /// What is wrong with the shell rather than the node.
    pub(crate) alarms: RwSignal<Vec<String>>,
    /// For how many milliseconds the tab stood still when it last did, until the person has seen it; 0 when only the network was away.
    pub(crate) woke: RwSignal<Option<u64>>,
}

impl Model {
    /// Whether this tab follows what is final and executes nothing. Tracks.
    pub(crate) fn is_light(&self) -> bool {
        self.sync.with(|sync| sync.as_ref().is_some_and(|sync| sync.phase == SyncPhase::Light))
    }

    pub(crate) fn new() -> Self {
        Self {
            stage: RwSignal::new(Stage::Starting("Starting")),
            section: RwSignal::new(Section::Chain),
            guest: RwSignal::new(None),
            status: RwSignal::new(None),
            seen_peers: RwSignal::new(false),
            sync: RwSignal::new(None),
            peers: RwSignal::new(Vec::new()),
            blocks: RwSignal::new(Vec::new()),
            open_block: RwSignal::new(None),
            open_peer: RwSignal::new(None),
            mempool: RwSignal::new(None),
            account: RwSignal::new(None),
            unverified: RwSignal::new(None),
            rooms: RwSignal::new(Vec::new()),
            room: RwSignal::new(None),
            unread: RwSignal::new(BTreeSet::new()),
            messages: RwSignal::new(Vec::new()),
            usage: RwSignal::new(String::new()),
            alarms: RwSignal::new(Vec::new()),
            woke: RwSignal::new(None),
        }
    }
}
