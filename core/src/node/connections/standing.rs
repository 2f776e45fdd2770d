//! What the ledger says of peers, and what follows: gossip hears of it, the disk keeps it, and people may decide otherwise.

use std::collections::BTreeSet;

use libp2p::PeerId;

use super::{Connections, Peer, is_unwanted};
use crate::{
    node::{
        BanView, BansView, CommandError, CommandId, DeedView, Event, Link, Output, Reply, StandingCommand,
        effects::Effects,
    },
    peers::{AddressRange, Consequence, Stored, StoredStrikes, Whom},
    primitives::{Now, decode, encode},
    store::{Batch, Seq, Table},
};

/// What peers did wrong, who is banned and who is trusted. Keys begin with one of the letters below.
const STANDING: Table = Table("peers/standing");
/// A peer with its [`Stored`] account.
const ACCOUNT: u8 = b'a';
/// A range, with when its ban ends and whether a person says so.
const RANGE: u8 = b'r';
/// A peer that is trusted.
const TRUSTED: u8 = b't';
/// A host that is not banned yet, with its [banned peers](StoredStrikes).
const HOST: u8 = b'h';

/// So many peers of one host count as neighbours of each other; each one more costs every one of them a point in gossip (P6).
const NEIGHBOURS: usize = 8;
/// The most points that costs: less than an offence, since a school has one address too.
const MAX_CROWDING: i32 = 9;

/// What is on disk, and what is not yet.
#[derive(Debug, Default)]
pub(super) struct Written {
    rows: BTreeSet<Whom>,
    /// Hosts with banned peers.
    hosts: BTreeSet<AddressRange>,
    pub(super) changed: BTreeSet<Whom>,
    /// Commands that are answered once this much is durable.
    waiting: Vec<(Seq, CommandId)>,
}

impl Connections {
    /// Takes back what was written down before the last stop; what makes no sense, or is over, is removed.
    pub(in crate::node) fn restore(&mut self, fx: &mut Effects) {
        let mut gone = Batch::default();
        let mut from = Vec::new();
        loop {
            let rows = fx.store.range(STANDING, &from, 1024);
            let Some((last, _)) = rows.last() else { break };
            from = [last.as_slice(), &[0]].concat();
            for (key, value) in rows {
                if !self.restore_row(&key, &value, fx.now) {
                    gone.delete(STANDING, key);
                }
            }
        }
        if !gone.is_empty() {
            fx.apply(gone);
        }
        for (whom, _) in self.ledger.bans(fx.now.mono) {
            fx.push(Output::Ban(whom));
        }
    }

    fn restore_row(&mut self, key: &[u8], value: &[u8], now: Now) -> bool {
        let Some((kind, key)) = key.split_first() else { return false };
        match *kind {
            ACCOUNT => {
                let Ok(peer) = PeerId::from_bytes(key) else { return false };
                let Ok(stored) = decode::<Stored>(value, 1024) else { return false };
                self.ledger.restore(peer, stored, now);
                let kept = self.ledger.stored(&peer, now).is_some();
                kept && self.written.rows.insert(Whom::Peer(peer))
            }
            RANGE => {
                let Ok(range) = decode::<AddressRange>(key, 64) else { return false };
                let Ok(ban) = decode(value, 64) else { return false };
                self.ledger.restore_range(range, ban, now);
                let kept = self.ledger.stored_range(&range, now).is_some();
                kept && self.written.rows.insert(Whom::Range(range))
            }
            HOST => {
                let Ok(host) = decode::<AddressRange>(key, 64) else { return false };
                let Ok(strikes) = decode::<StoredStrikes>(value, 1024) else { return false };
                self.ledger.restore_strikes(host, &strikes, now);
                let kept = self.ledger.stored_strikes(&host, now).is_some();
                kept && self.written.hosts.insert(host)
            }
            TRUSTED => PeerId::from_bytes(key).is_ok_and(|peer| self.ledger.trust(peer, true).is_ok()),
            _ => false,
        }
    }

    /// Writes down what has changed, and removes what has healed.
    pub(super) fn write_down(&mut self, fx: &mut Effects) {
        let mut batch = Batch::default();
        let healed = self.written.rows.iter().filter(|whom| match whom {
            Whom::Peer(peer) => self.ledger.stored(peer, fx.now).is_none(),
            Whom::Range(range) => self.ledger.stored_range(range, fx.now).is_none(),
        });
        let mut changed: BTreeSet<_> = healed.copied().collect();
        changed.append(&mut self.written.changed);
        for whom in changed {
            let (key, value) = match whom {
                Whom::Peer(peer) => (
                    [&[ACCOUNT], peer.to_bytes().as_slice()].concat(),
                    self.ledger.stored(&peer, fx.now).map(|stored| encode(&stored)),
                ),
                Whom::Range(range) => (
                    [&[RANGE], encode(&range).as_slice()].concat(),
                    self.ledger.stored_range(&range, fx.now).map(|ban| encode(&ban)),
                ),
            };
            match value {
                Some(value) => {
                    self.written.rows.insert(whom);
                    batch.put(STANDING, key, value);
                }
                None if self.written.rows.remove(&whom) => batch.delete(STANDING, key),
                None => {}
            }
        }
        self.write_down_hosts(fx.now, &mut batch);
        if !batch.is_empty() {
            fx.apply(batch);
        }
    }

    /// The same for hosts with banned peers, so that others from there cannot wait for a restart.
    fn write_down_hosts(&mut self, now: Now, batch: &mut Batch) {
        let faded = self.written.hosts.iter().filter(|host| self.ledger.stored_strikes(host, now).is_none());
        let mut changed: BTreeSet<_> = faded.copied().collect();
        changed.append(&mut self.ledger.take_struck());
        for host in changed {
            let key = [&[HOST], encode(&host).as_slice()].concat();
            match self.ledger.stored_strikes(&host, now) {
                Some(strikes) => {
                    self.written.hosts.insert(host);
                    batch.put(STANDING, key, encode(&strikes));
                }
                None if self.written.hosts.remove(&host) => batch.delete(STANDING, key),
                None => {}
            }
        }
    }

    /// Does what the ledger says about an offence.
    pub(super) fn follow(&mut self, fx: &mut Effects, peer: PeerId, consequence: &Consequence) {
        self.written.changed.insert(Whom::Peer(peer));
        match consequence {
            Consequence::None => return,
            Consequence::Disconnect => return self.show_out(fx, &peer),
            Consequence::Ban => fx.push(Output::Ban(Whom::Peer(peer))),
            Consequence::BanHost(host) => {
                tracing::warn!(%host, "several peers of one host were banned: it may not connect for an hour");
                fx.refuse("host-banned");
                fx.push(Output::Ban(Whom::Peer(peer)));
                self.written.changed.insert(Whom::Range(*host));
                self.bar(fx, *host);
            }
        }
        self.pass_over(fx.now);
        self.write_down(fx);
    }

    fn pass_over(&mut self, now: Now) {
        let ledger = &self.ledger;
        self.dialer.forget_banned(|peer, at| is_unwanted(ledger, peer, at, now.mono));
    }

    /// Lets nobody in from a range, and shows out who is there.
    fn bar(&mut self, fx: &mut Effects, range: AddressRange) {
        fx.push(Output::Ban(Whom::Range(range)));
        let now = fx.now.mono;
        let is_barred = |(peer, state): &(&PeerId, &Peer)| {
            let mut direct = state.connections.values().filter(|it| it.link == Link::Direct);
            direct.any(|it| self.ledger.is_barred(peer, &it.address, now))
        };
        let barred: Vec<_> = self.peers.iter().filter(is_barred).map(|(peer, _)| *peer).collect();
        for peer in barred {
            self.show_out(fx, &peer);
        }
    }

    /// What a person decides about peers; answered once it will survive a crash.
    pub(in crate::node) fn decide(&mut self, fx: &mut Effects, id: CommandId, command: StandingCommand) {
        if let Some(reason) = &fx.storage_failed {
            let refusal = CommandError::Storage(reason.clone());
            return fx.reply(id, Err(refusal));
        }
        match self.decided(fx, command) {
            Ok(()) => {
                let seq = fx.apply_now(Batch::default());
                self.written.waiting.push((seq, id));
                self.answer_durable(fx);
            }
            Err(error) => fx.reply(id, Err(error)),
        }
    }

    /// Answers commands whose effect is durable by now, or never will be.
    pub(in crate::node) fn answer_durable(&mut self, fx: &mut Effects) {
        for (seq, id) in std::mem::take(&mut self.written.waiting) {
            match &fx.storage_failed {
                _ if fx.is_durable(seq) => fx.reply(id, Ok(Reply::Done)),
                Some(reason) => {
                    let refusal = CommandError::Storage(reason.clone());
                    fx.reply(id, Err(refusal));
                }
                None => self.written.waiting.push((seq, id)),
            }
        }
    }

    fn decided(&mut self, fx: &mut Effects, command: StandingCommand) -> Result<(), CommandError> {
        match command {
            StandingCommand::Ban { whom, millis } => {
                if whom == Whom::Peer(self.local) {
                    return Err(CommandError::Oneself);
                }
                let was_trusted = matches!(whom, Whom::Peer(peer) if self.ledger.is_trusted(&peer));
                self.ledger.ban(whom, millis, fx.now.mono)?;
                self.written.changed.insert(whom);
                match whom {
                    Whom::Peer(peer) => {
                        if was_trusted {
                            self.write_trust(fx, &peer);
                        }
                        fx.push(Output::Ban(whom));
                    }
                    Whom::Range(range) => self.bar(fx, range),
                }
            }
            StandingCommand::Unban(whom) => {
                if !self.ledger.unban(whom) {
                    return Err(CommandError::NotBanned);
                }
                self.written.changed.insert(whom);
                fx.push(Output::Unban(whom));
            }
            StandingCommand::Trust { peer, trust } => {
                if peer == self.local {
                    return Err(CommandError::Oneself);
                }
                let was_banned = self.ledger.is_banned(&peer, fx.now.mono);
                self.ledger.trust(peer, trust)?;
                self.written.changed.insert(Whom::Peer(peer));
                self.write_trust(fx, &peer);
                if trust && was_banned {
                    fx.push(Output::Unban(Whom::Peer(peer)));
                }
            }
        }
        self.pass_over(fx.now);
        self.write_down(fx);
        self.tell_all(fx);
        fx.notify(Event::Peers);
        Ok(())
    }

    fn write_trust(&self, fx: &mut Effects, peer: &PeerId) {
        let mut batch = Batch::default();
        let key = [&[TRUSTED], peer.to_bytes().as_slice()].concat();
        if self.ledger.is_trusted(peer) {
            batch.put(STANDING, key, []);
        } else {
            batch.delete(STANDING, key);
        }
        fx.apply(batch);
    }

    /// Who is banned and who is trusted.
    pub(in crate::node) fn bans(&self, now: Now) -> BansView {
        let ban = |(whom, ban): (Whom, crate::peers::Ban)| BanView {
            whom: match whom {
                Whom::Peer(peer) => peer.to_string(),
                Whom::Range(range) => range.to_string(),
            },
            cause: ban.cause.name().to_owned(),
            until: now.wall.0.saturating_add(ban.until - now.mono),
        };
        BansView {
            bans: self.ledger.bans(now.mono).map(ban).collect(),
            trusted: self.ledger.trusted().map(ToString::to_string).collect(),
        }
    }

    /// The last things a peer did wrong, the oldest first.
    pub(super) fn deeds(&self, peer: &PeerId) -> Vec<DeedView> {
        let view = |deed: &crate::peers::Deed| DeedView {
            at: deed.at.0,
            offence: deed.offence.name().to_owned(),
            points: deed.offence.severity().points(),
        };
        self.ledger.deeds(peer).map(view).collect()
    }

    /// Tells gossip the scores that have changed.
    pub(super) fn tell_all(&mut self, fx: &mut Effects) {
        let peers: Vec<_> = self.peers.keys().copied().collect();
        peers.into_iter().for_each(|peer| self.tell(fx, peer));
        self.hurt = self.peers.values().any(|state| state.told != 0);
    }

    /// Tells gossip a peer's score, if it has changed and there is a connection that gossip uses. Credit is no business of gossip's, which
    /// gives its own.
    pub(super) fn tell(&mut self, fx: &mut Effects, peer: PeerId) {
        let now = fx.now.mono;
        let score = if self.ledger.is_trusted(&peer) {
            0
        } else {
            self.ledger.score(&peer, now).min(0) - self.peers.get(&peer).map_or(0, |state| state.crowding)
        };
        let Some(state) = self.peers.get_mut(&peer).filter(|state| state.is_direct()) else { return };
        if state.told != score {
            state.told = score;
            fx.push(Output::Score(peer, score));
        }
        self.hurt |= score != 0;
    }

    /// Whether the ledger may ban a host: not while somebody is there whom a person named or trusts.
    pub(super) fn may_be_banned(&self, host: AddressRange) -> bool {
        let mut there = self.peers.iter().filter(|(_, state)| state.host() == Some(host));
        !there.any(|(peer, _)| self.ledger.is_trusted(peer) || self.is_named(peer))
    }

    /// Somebody came from or left this host: those that are there crowd each other more, or less.
    pub(super) fn tell_neighbours(&mut self, fx: &mut Effects, host: Option<AddressRange>) {
        if host.is_none() {
            return;
        }
        let there = self.peers.iter().filter(|(_, state)| state.host() == host);
        let there: Vec<_> = there.map(|(peer, state)| (*peer, state.crowding)).collect();
        let surplus = there.len().saturating_sub(NEIGHBOURS);
        let crowding = i32::try_from(surplus).unwrap_or(MAX_CROWDING).min(MAX_CROWDING);
        // In a large crowd one more or less changes nothing for the others.
        for (peer, _) in there.into_iter().filter(|(_, before)| *before != crowding) {
            if let Some(state) = self.peers.get_mut(&peer) {
                state.crowding = crowding;
            }
            self.tell(fx, peer);
        }
    }
}

impl Peer {
    /// The host that a peer is connected from directly, if hosts can be told apart there.
    pub(super) fn host(&self) -> Option<AddressRange> {
        self.connections.values().find(|it| it.link == Link::Direct)?.host
    }
}
