//! What is scripted in a world: peers that are not real, and what real ones say that is altered.
//!
//! Scripts may share what they know with whoever wrote them, so they stay with the thread that made the world. The half of a world
//! that another thread runs has [none](Unscripted).

use std::collections::BTreeMap;

use weft_core::{
    node::{Input, Output},
    primitives::Now,
};

use super::peer::{PeerIx, Puppet, Tamper};

/// The scripts of a world.
pub trait Scripts {
    /// A scripted peer takes an input; answers what it wants done.
    fn play(&mut self, ix: PeerIx, now: Now, input: Input) -> Vec<Output>;
    /// What is done instead of an output of a real node.
    fn alter(&mut self, ix: PeerIx, now: Now, output: Output) -> Vec<Output>;
}

/// Scripts by the peers that play them.
#[derive(Default)]
pub struct Scripted {
    pub(super) puppets: BTreeMap<PeerIx, Box<dyn Puppet>>,
    pub(super) tampers: BTreeMap<PeerIx, Tamper>,
}

impl Scripted {
    pub(super) fn is_empty(&self) -> bool {
        self.puppets.is_empty() && self.tampers.is_empty()
    }
}

impl Scripts for Scripted {
    fn play(&mut self, ix: PeerIx, now: Now, input: Input) -> Vec<Output> {
        let mut outputs = Vec::new();
        if let Some(puppet) = self.puppets.get_mut(&ix) {
            puppet.handle(now, input, &mut outputs);
        }
        outputs
    }

    fn alter(&mut self, ix: PeerIx, now: Now, output: Output) -> Vec<Output> {
        match self.tampers.get_mut(&ix) {
            Some(tamper) => tamper(now, output),
            None => vec![output],
        }
    }
}

/// No scripts.
pub(super) struct Unscripted;

impl Scripts for Unscripted {
    fn play(&mut self, _: PeerIx, _: Now, _: Input) -> Vec<Output> {
        Vec::new()
    }

    fn alter(&mut self, _: PeerIx, _: Now, output: Output) -> Vec<Output> {
        vec![output]
    }
}
