//! Chat rooms: between the people of this peer, the gossip topics and the peers that remember what was said.

use std::collections::{BTreeMap, BTreeSet};

use libp2p::PeerId;

use super::{
    ChatView, CommandError, Event, GossipMessage, InboundId, Output, Protocol, RequestFailure, Topic,
    Verdict,
    effects::{Ask, Effects},
};
use crate::{
    gossip::{ChatRooms, Heard, Line, MAX_ROOMS, Room},
    peers::{Offence, Traffic},
    primitives::Held,
};

/// How many peers are asked what was said in a room when it is joined.
const TELLERS: usize = 4;

/// The most rooms that a relay hosts for the sake of one peer.
const MAX_HOSTED_FOR_PEER: usize = 8;

pub(super) struct Rooms {
    local: PeerId,
    chat: ChatRooms,
    /// A relay takes part in the rooms of its peers, since tabs have nobody else in common. Each hosted room with its
    /// guests; one without any stays until another needs its place.
    hosted: Option<BTreeMap<Room, BTreeSet<PeerId>>>,
}

impl Rooms {
    pub(super) fn new(local: PeerId, host: bool) -> Self {
        Self { local, chat: ChatRooms::new(local), hosted: host.then(BTreeMap::new) }
    }

    pub(super) fn held(&self) -> impl Iterator<Item = Held> {
        self.chat.held()
    }

    /// A peer takes part in a room: a relay does too, then, as far as there is room.
    pub(super) fn entered(&mut self, fx: &mut Effects, peer: PeerId, room: Room, peers: &[PeerId]) {
        let Some(hosted) = &mut self.hosted else { return };
        if !hosted.contains_key(&room) && self.chat.joined().any(|joined| *joined == room) {
            // A person here joined it already.
            return;
        }
        if hosted.values().filter(|guests| guests.contains(&peer)).count() >= MAX_HOSTED_FOR_PEER {
            fx.refuse("chat-room-not-hosted");
            return;
        }
        if !hosted.contains_key(&room) && self.chat.joined().count() >= MAX_ROOMS {
            let empty = hosted.iter().find(|(_, guests)| guests.is_empty()).map(|(room, _)| room.clone());
            let Some(empty) = empty else {
                fx.refuse("chat-room-not-hosted");
                return;
            };
            hosted.remove(&empty);
            self.leave(fx, &empty);
        }
        if let Some(hosted) = &mut self.hosted {
            hosted.entry(room.clone()).or_default().insert(peer);
        }
        if self.join(fx, room, peers).is_err() {
            fx.refuse("chat-room-not-hosted");
        }
    }

    pub(super) fn guest_left(&mut self, peer: &PeerId, room: &Room) {
        if let Some(guests) = self.hosted.as_mut().and_then(|hosted| hosted.get_mut(room)) {
            guests.remove(peer);
        }
    }

    pub(super) fn peer_left(&mut self, peer: &PeerId) {
        for guests in self.hosted.iter_mut().flat_map(BTreeMap::values_mut) {
            guests.remove(peer);
        }
    }

    /// What nobody was there to hear stays in the history, which newcomers ask for.
    pub(super) fn published_to_nobody(&mut self, fx: &mut Effects, topic: &Topic) {
        if let Topic::Chat(room) = topic {
            tracing::debug!(%room, "nobody else is in the room");
            fx.refuse("chat-nobody-there");
        }
    }

    pub(super) fn peer_arrived(&mut self, fx: &mut Effects, peer: PeerId) {
        for room in self.chat.joined() {
            ask(fx, peer, room);
        }
    }

    pub(super) fn heard(&mut self, fx: &mut Effects, message: GossipMessage) {
        let Topic::Chat(room) = message.topic else { return };
        let verdict = match self.chat.heard(&room, message.author, message.sequence, &message.data, fx.now) {
            Heard::New(line) => {
                fx.notify(Event::Chat(self.view(&room, &line)));
                Verdict::Accept
            }
            Heard::Known => Verdict::Ignore,
            Heard::TooFast => {
                fx.refuse("chat-too-fast");
                Verdict::Ignore
            }
            Heard::Bad(error) => {
                tracing::debug!(%room, from = %message.from, %error, "a chat message was refused");
                fx.refuse("chat-text");
                Verdict::Reject
            }
        };
        fx.judge(message.id, verdict);
    }

    /// A request on `/chat/1`.
    pub(super) fn asked(&mut self, fx: &mut Effects, id: InboundId, peer: PeerId, body: &[u8]) {
        if !fx.may(peer, Traffic::History, 0) {
            fx.push(Output::Refuse(id));
            return;
        }
        match self.chat.answer(body) {
            Ok(response) => fx.respond_at_cost(id, peer, Traffic::History, response),
            Err(error) => {
                tracing::debug!(%peer, %error, "a request for chat history was refused");
                fx.offend(peer, Offence::Malformed);
                fx.push(Output::Refuse(id));
            }
        }
    }

    /// An answer on `/chat/1`; a peer that cannot answer is nothing to worry about.
    pub(super) fn answered(
        &mut self,
        fx: &mut Effects,
        peer: PeerId,
        room: &Room,
        outcome: Result<Vec<u8>, RequestFailure>,
    ) {
        let Ok(body) = outcome else { return };
        match self.chat.told(room, peer, &body, fx.now.wall) {
            Ok(lines) => {
                for line in &lines {
                    fx.notify(Event::Chat(self.view(room, line)));
                }
            }
            Err(error) => {
                tracing::debug!(%peer, %room, %error, "an answer about chat history was refused");
                fx.offend(peer, Offence::Malformed);
            }
        }
    }

    pub(super) fn join(
        &mut self,
        fx: &mut Effects,
        room: Room,
        peers: &[PeerId],
    ) -> Result<(), CommandError> {
        if self.chat.join(room.clone()).map_err(|_| CommandError::TooManyRooms(MAX_ROOMS))? {
            peers.iter().take(TELLERS).for_each(|peer| ask(fx, *peer, &room));
            fx.push(Output::Subscribe(Topic::Chat(room)));
        }
        Ok(())
    }

    pub(super) fn leave(&mut self, fx: &mut Effects, room: &Room) {
        if self.chat.leave(room) {
            fx.push(Output::Unsubscribe(Topic::Chat(room.clone())));
        }
    }

    pub(super) fn say(
        &mut self,
        fx: &mut Effects,
        room: Room,
        text: String,
        peers: &[PeerId],
    ) -> Result<(), CommandError> {
        self.join(fx, room.clone(), peers)?;
        let line = self.chat.say(&room, &text, fx.now)?;
        fx.notify(Event::Chat(self.view(&room, &line)));
        fx.push(Output::Publish { topic: Topic::Chat(room), data: text.into_bytes() });
        Ok(())
    }

    pub(super) fn history(&self, room: &Room) -> Vec<ChatView> {
        self.chat.history(room).iter().map(|line| self.view(room, line)).collect()
    }

    pub(super) fn joined(&self) -> Vec<Room> {
        self.chat.joined().cloned().collect()
    }

    fn view(&self, room: &Room, line: &Line) -> ChatView {
        ChatView {
            room: room.clone(),
            author: line.author.to_string(),
            own: line.author == self.local,
            text: line.text.clone(),
            at: line.at.0,
            told_by: line.told_by.map(|teller| teller.to_string()),
        }
    }
}

fn ask(fx: &mut Effects, peer: PeerId, room: &Room) {
    fx.ask(peer, Protocol::Chat, Ask::History(room.clone()), ChatRooms::ask(room.clone()));
}

#[cfg(test)]
mod tests;
