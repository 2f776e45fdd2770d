//! Between a peer and the world: inputs in, outputs carried out, timers kept.

use std::collections::VecDeque;

use weft_core::{
    node::{Input, Output},
    peers::Whom,
};

use super::{
    event::{Event, Micros},
    peer::{Actor, PeerIx},
    scripts::Scripts,
    table::LOOKUP,
    world::World,
};

impl<S: Scripts> World<S> {
    /// Has the shell tell a peer something at a time.
    pub(super) fn tell(&mut self, ix: PeerIx, at: Micros, input: Input) {
        self.queue.push(at, ix, self.peers[ix.0].life, Event::Tell(Box::new(input)));
    }

    pub(super) fn deliver(&mut self, ix: PeerIx, input: Input) {
        self.trace.input(self.now, ix, &input);
        let now = self.now_of(ix);
        match &mut self.peers[ix.0].actor {
            Actor::Node(node) => {
                node.handle(now, input);
                self.drain(ix);
            }
            Actor::Scripted => {
                for output in self.scripts.play(ix, now, input) {
                    self.trace.output(self.now, ix, &output);
                    self.carry_out(ix, output);
                }
            }
            Actor::Down => {}
        }
    }

    /// Carries out all a node wants done, then sees to its timer and its disk.
    pub(super) fn drain(&mut self, ix: PeerIx) {
        let now = self.now_of(ix);
        let mut altered = VecDeque::new();
        loop {
            let peer = &mut self.peers[ix.0];
            let Actor::Node(node) = &mut peer.actor else { return };
            let output = match altered.pop_front() {
                Some(output) => output,
                None => match node.poll_output() {
                    None => break,
                    Some(output) if peer.is_altered => {
                        altered.extend(self.scripts.alter(ix, now, output));
                        continue;
                    }
                    Some(output) => output,
                },
            };
            self.trace.output(self.now, ix, &output);
            self.carry_out(ix, output);
        }
        self.schedule_commit(ix);
        self.schedule_wake(ix);
        self.check_step(ix);
    }

    fn schedule_wake(&mut self, ix: PeerIx) {
        let peer = &mut self.peers[ix.0];
        let Actor::Node(node) = &peer.actor else { return };
        let Some(due) = node.poll_timeout() else { return };
        let at = self.now.max(peer.started.saturating_add(due.0.saturating_mul(1000)));
        if peer.wake.is_none_or(|planned| at < planned) {
            peer.wake = Some(at);
            self.queue.push(at, ix, peer.life, Event::Wake);
        }
    }

    /// Does what a shell does with an output. Never calls back into a node: every answer goes through the queue.
    pub(super) fn carry_out(&mut self, ix: PeerIx, output: Output) {
        match output {
            Output::Disconnect(_) | Output::Ban(_) | Output::Score(..) if self.peers[ix.0].lenient => {}
            Output::Dial(address) => self.dial(ix, address),
            Output::Disconnect(peer) => {
                if let Some(&other) = self.by_id.get(&peer) {
                    self.disconnect(ix, other);
                }
            }
            Output::Close { peer, connection } => {
                if let Some(&other) = self.by_id.get(&peer) {
                    self.close(ix, other, connection);
                }
            }
            Output::Ban(Whom::Peer(peer)) => {
                if let Some(&other) = self.by_id.get(&peer) {
                    self.ban(ix, other);
                }
            }
            Output::Unban(Whom::Peer(peer)) => {
                if let Some(other) = self.by_id.get(&peer) {
                    self.peers[ix.0].banned.remove(other);
                }
            }
            // Those that are there already, the node shows out itself.
            Output::Ban(Whom::Range(range)) => {
                self.peers[ix.0].barred.insert(range);
            }
            Output::Unban(Whom::Range(range)) => {
                self.peers[ix.0].barred.remove(&range);
            }
            Output::Resolve(name) => {
                let records = self.dns.get(&name).cloned().ok_or_else(|| "there is no such name".to_owned());
                self.tell(ix, self.now, Input::Resolved { name, outcome: records });
            }
            Output::FetchList(url) => {
                let outcome = self.lists.get(&url).cloned().ok_or_else(|| "nobody answers".to_owned());
                self.tell(ix, self.now, Input::ListFetched { url, outcome });
            }
            Output::Release(_) => {}
            Output::Reserve { relay, .. } => {
                let reason = "there are no slots here".to_owned();
                self.tell(ix, self.now, Input::SlotLost { relay, reason });
            }
            Output::Dht(id, query) => {
                let outcome = self.look_up(ix, query);
                self.tell(ix, self.now + LOOKUP, Input::Dht(id, outcome));
            }
            Output::Routable { .. } | Output::ServeDht(_) => {}
            Output::Request { id, peer, protocol, body } => {
                let to = self.by_id.get(&peer).copied();
                self.request(ix, id, to, protocol, body);
            }
            Output::Respond { id, body } => self.respond(ix, id, Some(body)),
            Output::Refuse(id) => self.respond(ix, id, None),
            Output::Subscribe(topic) => {
                self.subscribe(ix, &topic);
            }
            Output::Unsubscribe(topic) => {
                self.unsubscribe(ix, &topic);
            }
            Output::Publish { topic, data } => self.publish(ix, &topic, data),
            Output::Judge { id, verdict } => self.judge(ix, id, verdict),
            Output::Score(peer, points) => {
                if let Some(&other) = self.by_id.get(&peer) {
                    self.take_points(ix, other, points);
                }
            }
            Output::Work(id, job) => self.work(ix, id, &job),
            Output::Archive(id, request) => self.ask_archive(ix, id, request),
            Output::Flush(seq) => self.flush(ix, seq),
            Output::Reply(id, reply) => {
                self.replies.insert(id, *reply);
            }
            Output::Notify(event) => {
                self.watch_event(ix, &event);
                self.peers[ix.0].seen.note(event);
            }
        }
    }
}
