//! Scenarios in virtual time. Each prints its seed when it fails, and the seed replays it.

mod agreement;
mod backfill;
mod bad_blocks;
mod compact;
mod crashes;
mod faults;
mod finality;
mod flips;
mod floods;
mod gossipsub;
mod harness;
mod hostile;
mod late;
mod links;
mod lookups;
mod made;
mod measured;
mod payments;
mod pruning;
mod relaying;
mod scenarios;
mod serving;
mod siege;
mod strategies;
mod tip;
mod town;
