//! Carrying out what people ask for.

use super::{Command, CommandError, CommandId, DhtQuery, Node, Reply, StatusView, metrics::Snapshot};
use crate::peers::is_name;

impl Node {
    pub(super) fn command(&mut self, id: CommandId, command: Command) {
        let reply = match command {
            Command::Status => Ok(Reply::Status(Box::new(self.status()))),
            Command::Peers => {
                let height = |peer: &_| self.chain.as_ref()?.height_of(peer);
                Ok(Reply::Peers(self.connections.views(&self.fx, &self.finding, &self.reaching, height)))
            }
            Command::Metrics => Ok(Reply::Metrics(Box::new(self.measure()))),
            Command::Dial(address) if is_name(&address) => match self.seeds.add(&self.fx, &address) {
                Ok(()) => Ok(Reply::Done),
                Err(error) => Err(error.into()),
            },
            Command::Dial(address) => {
                self.connections.dial(&mut self.fx, address);
                Ok(Reply::Done)
            }
            Command::Dht(query) => {
                if let DhtQuery::Provide(key) = &query {
                    self.contents.pin(&mut self.fx, key);
                }
                return self.dht.command(&mut self.fx, id, query);
            }
            Command::Content(command) => {
                let parts = (&self.offers, &mut self.seeking);
                return self.contents.command(&mut self.fx, parts, &self.connections, id, command);
            }
            Command::Standing(command) => return self.connections.decide(&mut self.fx, id, command),
            Command::Bans => Ok(Reply::Bans(self.connections.bans(self.fx.now))),
            // The driver fills it in.
            Command::RoutingTable => Ok(Reply::RoutingTable(Vec::new())),
            Command::Join(room) => {
                let peers: Vec<_> = self.connections.direct().collect();
                self.rooms.join(&mut self.fx, room, &peers).map(|()| Reply::Done)
            }
            Command::Leave(room) => {
                self.rooms.leave(&mut self.fx, &room);
                Ok(Reply::Done)
            }
            Command::Say(room, text) => {
                let peers: Vec<_> = self.connections.direct().collect();
                self.rooms.say(&mut self.fx, room, text, &peers).map(|()| Reply::Done)
            }
            Command::History(room) => Ok(Reply::History(self.rooms.history(&room))),
            Command::Rooms => Ok(Reply::Rooms(self.rooms.joined())),
            Command::Submit(_)
            | Command::Account(_)
            | Command::Transaction(_)
            | Command::Block(_)
            | Command::RecentBlocks(_)
            | Command::Mempool(_)
            | Command::Authorities
            | Command::Propose(_) => {
                let Some(chain) = &mut self.chain else {
                    self.fx.reply(id, Err(CommandError::NoChain));
                    return;
                };
                match command {
                    Command::Submit(transaction) => return chain.submit(&mut self.fx, id, transaction),
                    Command::Block(which) => return chain.show_block(&mut self.fx, id, which),
                    Command::Propose(change) => return chain.wish(&mut self.fx, id, change),
                    Command::Authorities => Ok(Reply::Authorities(chain.authorities_view())),
                    Command::Account(address) => return chain.show_account(&mut self.fx, id, address),
                    Command::Transaction(which) => {
                        return chain.show_transaction(&mut self.fx, id, which);
                    }
                    Command::RecentBlocks(count) => Ok(Reply::Blocks(chain.recent_blocks(count))),
                    Command::Mempool(count) => Ok(Reply::Mempool(chain.mempool_view(&self.fx, count))),
                    _ => Ok(Reply::Done),
                }
            }
        };
        self.fx.reply(id, reply);
    }

    pub(super) fn measure(&self) -> Snapshot {
        let mut snapshot = Snapshot {
            verdicts: self.fx.verdicts,
            asked: self.fx.asked.len() as u64,
            refusals: self.fx.refusals.clone(),
            alarms: self.fx.alarms().len() as u64,
            chain: self.chain.as_ref().map(|chain| chain.measure(&self.fx)),
            held: self.held().collect(),
            ..Snapshot::default()
        };
        self.connections.measure(&mut snapshot);
        self.reaching.measure(&mut snapshot);
        let (new, tried) = self.finding.known();
        snapshot.known_peers = [new as u64, tried as u64];
        snapshot.content = self.contents.measure();
        snapshot
    }

    fn status(&self) -> StatusView {
        StatusView {
            peer: self.local.to_string(),
            role: self.role,
            version: env!("CARGO_PKG_VERSION").to_owned(),
            peers: self.connections.count(),
            addresses: self.connections.addresses.iter().map(ToString::to_string).collect(),
            reach: self.reaching.view(self.fx.now.mono),
            chain: self.chain.as_ref().map(|chain| chain.chain_view(&self.fx)),
            alarms: self.fx.alarms().to_vec(),
            refusals: self.fx.refusals.iter().map(|(reason, count)| ((*reason).to_owned(), *count)).collect(),
        }
    }
}
