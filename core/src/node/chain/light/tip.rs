//! The newest blocks of the chain, for a peer that does not execute them.
//!
//! Above the newest proven checkpoint such a peer keeps headers: linked, each properly signed by its slot's proposer. They come
//! by gossip, which it forwards as every peer does that judges a block by its header, and what it missed is asked for. They say how
//! far the chain is; that a block is valid, or final, only proof of a later checkpoint says. Where the authorities change, headers
//! wait for proof of a checkpoint at which the new ones are in force.

use std::{
    collections::{BTreeMap, VecDeque},
    sync::Arc,
};

use libp2p::PeerId;

use super::{Light, Question, Server, checkpoint};
use crate::{
    chain::{Body, ConsensusRecord, Header, Mmr},
    finality::{BlockTree, InsertError, Stage},
    node::{
        BlockRef, BlockSummary, BlockView, Event,
        chain::{Chain, Purpose, Recent, queries},
        effects::{Effects, LightAsk},
        work::Job,
    },
    peers::Offence,
    primitives::{Hash, Height, Mono},
    sync::{MAX_HEADERS, MAX_LOCATOR, PivotParts, SyncRequest, follow},
};

/// The most headers above the checkpoint: about 6 MB of a chain on which nothing becomes final.
pub(in crate::node::chain) const MAX_TIP: usize = 8192;
/// Of so many of the newest blocks the bodies are kept, for people to look at.
const MAX_BODIES_KEPT: usize = 64;

/// See the [module](self).
pub(super) struct Tip {
    /// Its base is the newest proven checkpoint. Only the base counts as executed.
    tree: BlockTree,
    /// Blocks that came by gossip, also below the base. Their headers commit to the bodies; nobody has executed them here.
    shown: BTreeMap<Hash, (Header, Recent)>,
    /// Their hashes, in the order they came.
    order: VecDeque<Hash>,
    /// Who has sent a block whose parent is not here.
    ahead: Option<PeerId>,
    /// Signatures of headers are being checked.
    checking: bool,
    /// The authorities change above these headers.
    set_change: bool,
}

impl Tip {
    fn new(header: Header, mmr: Mmr, record: ConsensusRecord) -> Self {
        Self {
            tree: BlockTree::new(header, mmr, Arc::new(record)),
            shown: BTreeMap::new(),
            order: VecDeque::new(),
            ahead: None,
            checking: false,
            set_change: false,
        }
    }

    /// The newest block and those before it, down to the checkpoint and as far below as is shown.
    fn path(&self) -> impl Iterator<Item = (Hash, &Header)> {
        let step = |hash: &Hash| {
            let shown = || self.shown.get(hash).map(|(header, _)| header);
            Some((*hash, self.tree.header(hash).or_else(shown)?))
        };
        let first = step(&self.tree.target());
        std::iter::successors(first, move |(_, header)| step(&header.content.parent))
    }

    fn top(&self) -> Height {
        self.tree.height(&self.tree.target()).unwrap_or_default()
    }

    fn locator(&self) -> Vec<(Height, Hash)> {
        let mut locator = Vec::new();
        let (mut next, mut step) = (self.top().0, 1);
        for (hash, header) in self.path() {
            let (height, is_base) = (header.height(), hash == self.tree.base());
            if height.0 <= next && locator.len() < MAX_LOCATOR - 1 || is_base {
                locator.push((height, hash));
                next = height.0.saturating_sub(step);
                step *= 2;
            }
            if is_base {
                break;
            }
        }
        locator
    }

    /// What to ask whom for, when somebody knows more.
    fn question(&mut self, claim: Option<(Height, PeerId)>) -> Option<Question> {
        if self.checking || self.set_change || self.tree.count() >= MAX_TIP {
            return None;
        }
        // One block more than here is on its way by gossip.
        let claimed = claim.filter(|(height, _)| height.0 > self.top().0 + 1).map(|(_, peer)| peer);
        let peer = self.ahead.take().or(claimed)?;
        let max = u32::try_from(MAX_HEADERS).expect("a small constant");
        let locator = self.locator();
        Some((peer, LightAsk::Headers(locator.clone()), SyncRequest::Headers { locator, max }))
    }

    /// Goes on from a newer checkpoint, if it is one of these headers.
    fn rebased(&self, header: &Header, record: &ConsensusRecord) -> Option<Self> {
        let hash = header.hash();
        let mmr = self.tree.mmr_before(&hash)?.clone();
        let mut tip = Self::new(header.clone(), mmr, record.clone());
        (tip.shown, tip.order) = (self.shown.clone(), self.order.clone());
        (tip.ahead, tip.checking) = (self.ahead, self.checking);
        let mut open = VecDeque::from(self.tree.children(&hash).to_vec());
        while let Some(child) = open.pop_front() {
            // Those that were judged by a set that is out of date stay behind.
            if let Some(header) = self.tree.header(&child)
                && tip.tree.insert(header.clone()).is_ok()
            {
                open.extend(self.tree.children(&child));
            }
        }
        Some(tip)
    }

    fn keep_body(&mut self, hash: Hash, recent: Recent) {
        let Some(header) = self.tree.header(&hash).filter(|_| !self.shown.contains_key(&hash)) else {
            return;
        };
        self.shown.insert(hash, (header.clone(), recent));
        self.order.push_back(hash);
        while self.order.len() > MAX_BODIES_KEPT {
            if let Some(oldest) = self.order.pop_front() {
                self.shown.remove(&oldest);
            }
        }
    }

    fn summary(&self, hash: &Hash) -> Option<BlockSummary> {
        let (header, recent) = self.shown.get(hash)?;
        Some(queries::summarise(*hash, header, &recent.body, recent.executed_at.0))
    }
}

impl Light {
    /// The newest header known.
    pub(in crate::node::chain) fn head(&self) -> &Header {
        let tip = self.tip.as_ref().and_then(|tip| tip.tree.header(&tip.tree.target()));
        tip.unwrap_or(&self.header)
    }

    /// How far the chain is.
    pub(super) fn tip_height(&self) -> Height {
        self.head().height()
    }

    /// The tree that gossiped headers go to.
    pub(in crate::node::chain) fn tip_tree(&self) -> Option<&BlockTree> {
        self.tip.as_ref().map(|tip| &tip.tree)
    }

    /// Whether a header is among these, and its body is not.
    pub(in crate::node::chain) fn lacks_body(&self, hash: &Hash) -> bool {
        let lacks = |tip: &Tip| tip.tree.stage(hash) == Some(Stage::Header) && !tip.shown.contains_key(hash);
        self.tip.as_ref().is_some_and(lacks)
    }

    /// The newest blocks whose bodies are here, newest first.
    pub(in crate::node::chain) fn recent_blocks(&self, count: usize) -> Vec<BlockSummary> {
        let Some(tip) = &self.tip else { return Vec::new() };
        tip.path().filter_map(|(hash, _)| tip.summary(&hash)).take(count).collect()
    }

    /// A block whose body is here.
    pub(in crate::node::chain) fn block(&self, which: BlockRef) -> Option<BlockView> {
        let tip = self.tip.as_ref()?;
        let wanted = |hash: &Hash, header: &Header| match which {
            BlockRef::Hash(wanted) => *hash == wanted,
            BlockRef::Height(height) => header.height().0 == height,
        };
        let (hash, header) = tip.path().find(|(hash, header)| wanted(hash, header))?;
        let (_, recent) = tip.shown.get(&hash)?;
        Some(queries::block_view(hash, header, &recent.body, recent.executed_at.0))
    }

    pub(super) fn tip_question(&mut self, now: Mono) -> Option<Question> {
        let Some(tip) = &mut self.tip else {
            let newest = checkpoint(&self.header);
            let peer = self.server_of(newest.height, &newest.hash, now).filter(|_| newest.height.0 > 0)?;
            return Some((peer, LightAsk::Tip(newest.hash), SyncRequest::Pivot { hash: newest.hash }));
        };
        let able = |server: &&Server| !server.other && server.resting_until <= now;
        // Whoever has just shown headers of no use rests too, whatever blocks it sends.
        tip.ahead = tip.ahead.filter(|peer| self.servers.get(peer).filter(able).is_some());
        let claim = self.servers.iter().filter(|(_, server)| able(server));
        tip.question(claim.map(|(peer, server)| (server.height, *peer)).max())
    }

    /// Headers go on from the newest checkpoint.
    pub(super) fn rebase_tip(&mut self) {
        let (header, record) = (&self.header, &self.proven.record);
        self.tip = self.tip.as_ref().and_then(|tip| tip.rebased(header, record));
    }

    pub(super) fn open_tip(&mut self, mmr: Mmr) {
        self.tip = Some(Tip::new(self.header.clone(), mmr, self.proven.record.clone()));
    }
}

impl Chain {
    /// A gossiped block whose parent is unknown: whoever sent it is asked for what is between.
    pub(in crate::node::chain) fn tip_misses(&mut self, from: PeerId) {
        if let Some(tip) = self.light.as_mut().and_then(|light| light.tip.as_mut()) {
            tip.ahead = Some(from);
        }
    }

    /// Takes in a gossiped block whose header is properly signed.
    ///
    /// # Errors
    /// Says why not.
    pub(in crate::node::chain) fn tip_insert(
        &mut self,
        fx: &mut Effects,
        header: Header,
    ) -> Result<Hash, InsertError> {
        let tip = self.light.as_mut().and_then(|light| light.tip.as_mut());
        let tip = tip.ok_or(InsertError::UnknownParent)?;
        if tip.tree.count() >= MAX_TIP {
            fx.refuse("headers-beyond-caps");
            return Err(InsertError::TooMany);
        }
        tip.tree.insert(header)
    }

    /// Shows a block of the tip to people.
    pub(in crate::node::chain) fn tip_body(&mut self, fx: &mut Effects, hash: Hash, body: Body) {
        let executed_at = fx.now.wall;
        let body = Arc::new(body);
        self.body_here(fx, &hash, &body);
        let Some(tip) = self.light.as_mut().and_then(|light| light.tip.as_mut()) else { return };
        tip.keep_body(hash, Recent { body, executed_at });
        if tip.tree.target() == hash
            && let Some(summary) = tip.summary(&hash)
        {
            fx.notify(Event::Block(summary));
        }
        self.notify_sync(fx);
    }

    /// What it takes to follow headers above a checkpoint.
    pub(super) fn tip_opened(
        &mut self,
        fx: &mut Effects,
        peer: PeerId,
        hash: Hash,
        parts: Option<PivotParts>,
    ) {
        let Some(light) = self.light.as_mut().filter(|light| light.header.hash() == hash) else { return };
        let Some(parts) = parts else {
            if let Some(server) = light.servers.get_mut(&peer) {
                server.lacks = Some(hash);
            }
            return;
        };
        if !parts.are_of(&light.header) {
            fx.offend(peer, Offence::BadProof);
            return;
        }
        light.open_tip(parts.mmr);
    }

    pub(super) fn tip_headers_came(
        &mut self,
        fx: &mut Effects,
        peer: PeerId,
        locator: &[(Height, Hash)],
        mut headers: Vec<Header>,
    ) {
        let Some(mut hashes) = follow(locator, &headers) else {
            fx.offend(peer, Offence::Unrequested);
            return;
        };
        let timely = headers.iter().take_while(|header| !self.is_early(fx, header.slot())).count();
        headers.truncate(timely);
        hashes.truncate(timely);
        let Some(light) = &mut self.light else { return };
        let Some(tip) = &mut light.tip else { return };
        let known = hashes.iter().take_while(|hash| tip.tree.header(hash).is_some()).count();
        headers.drain(..known);
        hashes.drain(..known);
        let anchored = headers.first().is_some_and(|it| tip.tree.header(&it.content.parent).is_some());
        if !anchored {
            // It claims more than it shows, or is on a branch that left before the checkpoint.
            let top = tip.top();
            if let Some(server) = light.servers.get_mut(&peer) {
                server.height = server.height.min(top);
            }
            light.rest(&peer, fx.now.mono);
            return;
        }
        tip.checking = true;
        let headers = Arc::new(headers);
        let job = Job::VerifyHeaders { genesis: self.id, headers: Arc::clone(&headers) };
        self.jobs.urgent(fx, Purpose::Tip(peer, headers, hashes), job);
    }

    pub(in crate::node::chain) fn tip_headers_lost(&mut self) {
        if let Some(tip) = self.light.as_mut().and_then(|light| light.tip.as_mut()) {
            tip.checking = false;
        }
    }

    pub(in crate::node::chain) fn tip_headers_verified<'a>(
        &mut self,
        fx: &mut Effects,
        peer: PeerId,
        headers: impl Iterator<Item = (Hash, &'a Header)>,
        valid: &[bool],
    ) {
        let Some(light) = &mut self.light else { return };
        let Some(tip) = &mut light.tip else { return };
        tip.checking = false;
        for ((hash, header), valid) in headers.zip(valid) {
            if !valid {
                fx.offend(peer, Offence::BadSignature);
                break;
            }
            if tip.tree.count() >= MAX_TIP {
                fx.refuse("headers-beyond-caps");
                break;
            }
            match tip.tree.insert_hashed(hash, header.clone()) {
                Ok(()) | Err(InsertError::Known) => {}
                Err(InsertError::UnknownSet) => {
                    tip.set_change = true;
                    break;
                }
                Err(InsertError::Invalid(error)) => {
                    tracing::debug!(%peer, %error, "a downloaded header cannot follow its parent");
                    fx.offend(peer, Offence::InvalidBlock);
                    break;
                }
                Err(error) => {
                    tracing::debug!(%peer, %error, "a downloaded header was not stored");
                    light.rest(&peer, fx.now.mono);
                    break;
                }
            }
        }
        self.notify_sync(fx);
    }
}
