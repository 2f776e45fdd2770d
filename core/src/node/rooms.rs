//! Chat rooms.
use super::{effects::Effects, *};
use crate::gossip::Room;
use libp2p::PeerId;
pub(super) struct Rooms;
impl Rooms {
    pub(super) fn new(_: PeerId) -> Self {
        Self
    }
    pub(super) fn published_to_nobody(&mut self, _: &mut Effects, _: &Topic) {}
    pub(super) fn peer_arrived(&mut self, _: &mut Effects, _: PeerId) {}
    pub(super) fn heard(&mut self, _: &mut Effects, _: GossipMessage) {}
    pub(super) fn asked(&mut self, _: &mut Effects, _: InboundId, _: PeerId, _: &[u8]) {}
    pub(super) fn answered(
        &mut self,
        _: &mut Effects,
        _: PeerId,
        _: &Room,
        _: Result<Vec<u8>, RequestFailure>,
    ) {
    }
    pub(super) fn join(&mut self, _: &mut Effects, _: Room, _: &[PeerId]) -> Result<(), CommandError> {
        Ok(())
    }
    pub(super) fn leave(&mut self, _: &mut Effects, _: &Room) {}
    pub(super) fn say(
        &mut self,
        _: &mut Effects,
        _: Room,
        _: String,
        _: &[PeerId],
    ) -> Result<(), CommandError> {
        Ok(())
    }
    pub(super) fn history(&self, _: &Room) -> Vec<ChatView> {
        Vec::new()
    }
    pub(super) fn joined(&self) -> Vec<Room> {
        Vec::new()
    }
}
