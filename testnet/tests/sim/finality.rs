//! What is final stays so, whatever becomes of the validators.

use weft_core::{
    chain::{Authority, Change, UnsignedHeader, Vote},
    gossip::{CompactBlock, Topic},
    node::{AuthoritiesView, Command, CommandError, Output, Reply},
    primitives::{Hash, Now, Slot, decode, encode},
};
use weft_testnet::{
    fixture::{address, key},
    sim::{Keep, NodeOptions, PeerIx, World},
};

use crate::town::{SLOT, Town, seeds};

fn finalised(world: &mut World, ix: PeerIx) -> u64 {
    world.chain(ix).finalised.0
}

pub(super) fn is_stalled(world: &World, ix: PeerIx) -> bool {
    world.seen(ix).alarms.iter().any(|alarm| alarm.starts_with("the chain grows but is not finalised"))
}

fn authorities(world: &mut World, ix: PeerIx) -> AuthoritiesView {
    match world.command(ix, Command::Authorities) {
        Ok(Reply::Authorities(view)) => view,
        other => panic!("{other:?}"),
    }
}

fn ask_for(world: &mut World, ix: PeerIx, change: &Change) -> Result<Reply, CommandError> {
    world.command(ix, Command::Propose(change.clone()))
}

impl Town {
    fn run_until_finalised(&mut self, height: u64, millis: u64) {
        let all = self.all();
        self.world.run_until(millis, |world| all.iter().all(|ix| finalised(world, *ix) >= height));
    }

    /// A validator that is no authority yet, and knows the others.
    fn newcomer(&mut self, index: u64) -> PeerIx {
        let bootstrap = self.validators.clone();
        let validator = Some(key("newcomer", index));
        let ix = self.world.add_node(NodeOptions { validator, bootstrap, ..self.options() });
        self.followers.push(ix);
        ix
    }
}

fn newcomer(index: u64) -> Authority {
    Authority { key: key("newcomer", index).public(), fee_address: address(&key("newcomer-fees", index)) }
}

#[test]
fn a_healthy_chain_finalises_two_checkpoints_behind() {
    for seed in seeds(4) {
        let mut town = Town::new(seed, 4, 2);
        town.world.run_for(120 * SLOT);
        for ix in town.all() {
            let chain = town.world.chain(ix);
            assert!(chain.height.0 - chain.finalised.0 <= 36, "{} of {}", chain.finalised, chain.height);
            assert!(chain.height.0 - chain.justified.0 <= 20, "{} of {}", chain.justified, chain.height);
            assert!(town.world.seen(ix).past_alarms.is_empty());
        }
        town.world.check_all();
    }
}

#[test]
fn with_a_third_silent_the_chain_grows_unfinalised_and_says_so_until_they_return() {
    for seed in seeds(2) {
        let mut town = Town::new(seed, 4, 2);
        town.world.run_for(60 * SLOT);
        let before = finalised(&mut town.world, town.followers[0]);
        assert!(before >= 16);
        let silent: Vec<PeerIx> = town.validators.split_off(2);
        silent.iter().for_each(|ix| town.world.kill(*ix));
        town.world.run_for(300 * SLOT);
        let stalled = town.world.chain(town.followers[0]);
        assert!(stalled.finalised.0 <= before + 32, "{} was final, {} is", before, stalled.finalised);
        assert!(stalled.height.0 > stalled.finalised.0 + 96);
        assert!(town.all().iter().all(|ix| is_stalled(&town.world, *ix)));

        // A peer can still join, and sees the same.
        let bootstrap = vec![town.followers[0]];
        let late = town.world.add_node(NodeOptions { bootstrap, ..town.options() });
        town.followers.push(late);
        town.converge(stalled.height.0, 60 * SLOT);
        assert_eq!(finalised(&mut town.world, late), stalled.finalised.0);

        for ix in silent {
            town.world.restart(ix, Keep::All).unwrap();
            town.validators.push(ix);
        }
        town.run_until_finalised(stalled.height.0, 200 * SLOT);
        assert!(!town.all().iter().any(|ix| is_stalled(&town.world, *ix)));
        town.world.check_all();
    }
}

#[test]
fn a_partition_heals_to_one_finalised_chain() {
    for seed in seeds(3) {
        for here in [2, 3] {
            let mut town = Town::new(seed, 4, 2);
            town.world.run_for(40 * SLOT);
            let sides = [town.validators[..here].to_vec(), town.validators[here..].to_vec()];
            let there = [sides[1].as_slice(), &town.followers].concat();
            town.world.split(&[&sides[0], &there]);
            town.world.run_for(120 * SLOT);
            let cut = finalised(&mut town.world, town.followers[0]);
            assert!(cut <= 48, "a minority finalises nothing");
            town.world.heal();
            town.run_until_finalised(150, 300 * SLOT);
            town.converge(150, 60 * SLOT);
            town.world.check_all();
        }
    }
}

#[test]
fn a_longer_branch_does_not_win_against_a_finalised_one() {
    // Three of four validators miss most of their slots, so the one left alone makes the longer chain.
    let mut town = Town::new(5, 4, 1);
    town.world.run_for(20 * SLOT);
    let alone = town.validators[3];
    town.world.split(&[&[alone, town.followers[0]], &town.validators[..3]]);
    town.world.run_for(60 * SLOT);
    let majority = town.world.chain(town.validators[0]);
    assert!(majority.finalised.0 >= 32);
    town.validators[..3].iter().for_each(|ix| town.world.kill(*ix));
    town.world.run_for(400 * SLOT);
    let lonely = town.world.chain(alone);
    assert!(lonely.height.0 > majority.height.0 + 20);
    for ix in town.validators[..3].iter().copied() {
        town.world.restart(ix, Keep::All).unwrap();
    }
    town.world.heal();
    // Long before the branch is the longer one, the proof that it is final brings everybody over.
    let all = town.all();
    town.world.run_until(30 * SLOT, |world| {
        let right = world.chain(all[0]).head;
        all.iter().all(|ix| world.chain(*ix).head == right)
    });
    assert!(town.world.chain(alone).height < lonely.height);
    town.run_until_finalised(majority.height.0, 300 * SLOT);
    town.world.check_all();
}

/// Two of four validators run twice, so that the chain is final on both sides of a split, differently.
struct Schism {
    town: Town,
    honest: [PeerIx; 2],
    sides: [Vec<PeerIx>; 2],
}

impl Schism {
    fn new(seed: u64) -> Self {
        let mut town = Town::new(seed, 4, 0);
        town.world.allow_blame();
        town.world.allow_conflicting_finality();
        for index in [2, 3] {
            town.world.kill(town.validators[index]);
        }
        let honest = [town.validators[0], town.validators[1]];
        let mut sides = [vec![honest[0]], vec![honest[1]]];
        for side in &mut sides {
            for index in [2, 3] {
                let ix = town.world.add_node(twin(&town, index, side, |output| vec![output]));
                side.push(ix);
            }
        }
        town.world.split(&[&sides[0], &sides[1]]);
        Self { town, honest, sides }
    }

    fn halted(&self, ix: PeerIx) -> Option<String> {
        let alarms = &self.town.world.seen(ix).alarms;
        alarms.iter().find(|alarm| alarm.starts_with("finality is broken")).cloned()
    }

    /// Everybody who is honest stops, and says who is to blame.
    fn all_halt(&mut self) {
        let honest = self.honest;
        for _ in 0..100 {
            if honest.iter().all(|ix| self.halted(*ix).is_some()) {
                break;
            }
            self.town.world.run_for(SLOT);
        }
        for ix in honest {
            let alarm = self.halted(ix).unwrap_or_else(|| panic!("{ix:?} goes on"));
            for (index, validator) in self.town.chain.validators.iter().enumerate() {
                assert_eq!(alarm.contains(&validator.public().to_string()), index >= 2, "{alarm}");
            }
        }
    }
}

/// A validator that runs on another machine as well, told only of these peers.
fn twin(
    town: &Town,
    index: usize,
    peers: &[PeerIx],
    mut tamper: impl FnMut(Output) -> Vec<Output> + 'static,
) -> NodeOptions {
    NodeOptions {
        validator: Some(town.chain.validators[index].clone()),
        bootstrap: peers.to_vec(),
        tamper: Some(Box::new(move |_: Now, output: Output| tamper(output))),
        ..town.options()
    }
}

#[test]
fn proof_of_conflicting_finality_halts_everybody_and_names_the_guilty() {
    let mut schism = Schism::new(9);
    schism.town.world.run_for(100 * SLOT);
    for ix in schism.honest {
        assert!(finalised(&mut schism.town.world, ix) >= 32, "each side finalises");
    }
    schism.town.world.heal();
    schism.all_halt();
    let Schism { honest, mut town, .. } = schism;
    let before = honest.map(|ix| (town.world.chain(ix).height, town.world.proposals(ix)));
    town.world.run_for(20 * SLOT);
    assert_eq!(honest.map(|ix| (town.world.chain(ix).height, town.world.proposals(ix))), before);

    // A restart does not make it forget.
    let alarms = town.world.seen(honest[0]).alarms.clone();
    town.world.restart(honest[0], Keep::All).unwrap();
    assert_eq!(town.world.seen(honest[0]).alarms, alarms);
    town.world.run_for(20 * SLOT);
    assert_eq!(honest.map(|ix| (town.world.chain(ix).height, town.world.proposals(ix))), before);
}

#[test]
fn both_sides_halt_although_one_is_longer_and_further_final() {
    for (seed, restart) in [(9, false), (10, true)] {
        let mut schism = Schism::new(seed);
        schism.town.world.run_for(100 * SLOT);
        // One side stands still: nobody but the honest one is left there.
        let (left, rest) = schism.sides[1].split_first().unwrap();
        rest.iter().for_each(|ix| schism.town.world.kill(*ix));
        schism.town.world.run_for(200 * SLOT);
        let [ahead, behind] = schism.honest.map(|ix| finalised(&mut schism.town.world, ix));
        assert!(ahead > behind + 100 && behind >= 32, "{ahead} and {behind}");
        if restart {
            for ix in [schism.honest[0], *left] {
                schism.town.world.restart(ix, Keep::All).unwrap();
            }
        }
        schism.town.world.heal();
        schism.all_halt();
    }
}

/// Who signs on both sides of a split without making two things final, by what the twin on the smaller side says.
fn a_twin_is_put_out(said: Topic) {
    for seed in seeds(2) {
        let mut town = Town::new(seed, 4, 2);
        town.world.allow_blame();
        town.world.kill(town.validators[3]);
        let (majority, minority) = (town.validators[..2].to_vec(), vec![town.validators[2]]);
        let both = twin(&town, 3, &majority, |output| vec![output]);
        let here = town.world.add_node(both);
        let said = said.clone();
        let only = move |output: Output| match &output {
            Output::Publish { topic, .. } if *topic != said => Vec::new(),
            _ => vec![output],
        };
        let there = town.world.add_node(twin(&town, 3, &minority, only));
        town.validators.pop();
        let larger = [majority.as_slice(), &town.followers, &[here]].concat();
        town.world.split(&[&larger, &[minority[0], there]]);
        town.world.run_for(100 * SLOT);
        assert!(finalised(&mut town.world, majority[0]) >= 48);
        assert_eq!(authorities(&mut town.world, majority[0]).set_id, 0, "nobody has seen both sides");
        town.world.kill(here);
        town.world.kill(there);
        town.world.heal();
        let all = town.all();
        town.world.run_until(300 * SLOT, |world| all.iter().all(|ix| authorities(world, *ix).set_id == 1));
        let set = authorities(&mut town.world, all[0]).authorities;
        assert!(set.iter().all(|one| one.key != town.chain.validators[3].public()));
        town.world.check_all();
    }
}

#[test]
fn who_proposed_on_both_sides_of_a_split_is_put_out_once_it_heals() {
    a_twin_is_put_out(Topic::Block);
}

#[test]
fn who_voted_on_both_sides_of_a_split_is_put_out_once_it_heals() {
    a_twin_is_put_out(Topic::Vote);
}

#[test]
fn an_authority_is_let_in_by_ballots_and_put_out_again() {
    for seed in seeds(2) {
        let mut town = Town::new(seed, 4, 1);
        let new = town.newcomer(0);
        town.world.run_for(10 * SLOT);
        let add = Change::Add(newcomer(0));
        assert_eq!(ask_for(&mut town.world, new, &add), Err(CommandError::NoAuthority));
        let already = Change::Remove(key("newcomer", 0).public());
        assert_eq!(ask_for(&mut town.world, town.validators[0], &already), Err(CommandError::NoSuchChange));
        for ix in &town.validators[..2] {
            assert_eq!(ask_for(&mut town.world, *ix, &add), Ok(Reply::Done));
        }
        town.world.run_for(10 * SLOT);
        let open = authorities(&mut town.world, town.followers[0]);
        assert_eq!((open.ballots.len(), open.pending.len()), (2, 0), "two of four decide nothing");
        assert_eq!(ask_for(&mut town.world, town.validators[2], &add), Ok(Reply::Done));
        let all = town.all();
        town.world.run_until(100 * SLOT, |world| {
            all.iter().all(|ix| {
                let view = authorities(world, *ix);
                view.set_id == 1 && view.outgoing.is_empty()
            })
        });
        town.world.run_for(10 * SLOT);
        assert!(town.world.proposals(new) > 0, "it takes its turn");
        let voters: Vec<PeerIx> = [town.validators.as_slice(), &[new]].concat();

        let remove = Change::Remove(town.chain.validators[0].public());
        for ix in &voters[1..] {
            assert_eq!(ask_for(&mut town.world, *ix, &remove), Ok(Reply::Done));
        }
        town.world.run_until(100 * SLOT, |world| authorities(world, voters[1]).set_id == 2);
        let (before, now) = (town.world.proposals(voters[0]), town.world.chain(new).height.0);
        town.run_until_finalised(now + 32, 100 * SLOT);
        assert!(town.world.proposals(voters[0]) <= before + 1, "it has no turn any more");
        let all = town.all();
        let late = town.world.add_node(NodeOptions { bootstrap: vec![all[4]], ..town.options() });
        town.followers.push(late);
        town.converge(now, 60 * SLOT);
        assert_eq!(authorities(&mut town.world, late).set_id, 2);
        town.world.check_all();
    }
}

/// Signs a second header for each of its slots, and shows everybody both.
fn equivocate(town: &Town, index: usize) -> NodeOptions {
    let (secret, chain) = (town.chain.validators[index].clone(), town.chain.hash());
    let tamper = move |_: Now, output: Output| match &output {
        Output::Publish { topic: Topic::Block, data } => {
            let block: CompactBlock = decode(data, 1 << 20).expect("it proposes blocks");
            let content = block.header.content.clone();
            let roots = [
                content.tx_root,
                content.system_root,
                Hash([9; 32]),
                content.diff_root,
                content.consensus_root,
                content.mmr_root,
            ];
            let other = UnsignedHeader::new(
                content.height,
                content.slot,
                content.parent,
                roots,
                content.set_id,
                content.proposer,
            );
            let other = CompactBlock { header: other.sign(&secret, &chain), ..block };
            vec![output, Output::Publish { topic: Topic::Block, data: encode(&other) }]
        }
        _ => vec![output],
    };
    NodeOptions {
        validator: Some(town.chain.validators[index].clone()),
        tamper: Some(Box::new(tamper)),
        ..town.options()
    }
}

#[test]
fn who_signs_two_headers_for_a_slot_is_put_out() {
    for seed in seeds(2) {
        let mut town = Town::new(seed, 4, 2);
        town.world.run_for(5 * SLOT);
        town.world.kill(town.validators[3]);
        let bootstrap = town.validators[..3].to_vec();
        let evil = town.world.add_node(NodeOptions { bootstrap, ..equivocate(&town, 3) });
        town.validators.pop();
        town.world.allow_blame();
        let all = town.all();
        town.world.run_until(150 * SLOT, |world| all.iter().all(|ix| authorities(world, *ix).set_id == 1));
        let set = authorities(&mut town.world, all[0]).authorities;
        assert_eq!(set.len(), 3);
        assert!(set.iter().all(|one| one.key != town.chain.validators[3].public()));
        let (height, proposed) = (town.world.chain(all[0]).height.0, town.world.proposals(evil));
        town.run_until_finalised(height + 16, 100 * SLOT);
        assert_eq!(town.world.proposals(evil), proposed);
    }
}

/// Votes a second time for each height, for a block that nobody has.
#[test]
fn who_votes_twice_for_one_height_is_put_out() {
    let mut town = Town::new(7, 4, 2);
    town.world.run_for(5 * SLOT);
    town.world.kill(town.validators[3]);
    let (secret, chain) = (town.chain.validators[3].clone(), town.chain.hash());
    let tamper = move |_: Now, output: Output| match &output {
        Output::Publish { topic: Topic::Vote, data } => {
            let vote: Vote = decode(data, Vote::LEN).expect("it votes");
            let mut link = vote.link;
            link.target.hash = Hash([7; 32]);
            let other = encode(&Vote::sign(link, &secret, &chain));
            vec![output, Output::Publish { topic: Topic::Vote, data: other }]
        }
        _ => vec![output],
    };
    let options = NodeOptions {
        validator: Some(town.chain.validators[3].clone()),
        bootstrap: town.validators[..3].to_vec(),
        tamper: Some(Box::new(tamper)),
        ..town.options()
    };
    town.world.add_node(options);
    town.validators.pop();
    let all = town.all();
    town.world
        .run_until(150 * SLOT, |world| all.iter().all(|ix| authorities(world, *ix).authorities.len() == 3));
    town.world.check_all();
}

#[test]
fn a_validator_killed_again_and_again_never_contradicts_its_votes() {
    for seed in seeds(3) {
        let mut town = Town::new(seed, 4, 0);
        for round in 0..12 {
            town.world.run_for((13 + seed + round) * SLOT + 170 * round);
            let victim = town.validators[usize::try_from(round % 4).unwrap()];
            let keep = if round % 2 == 0 { Keep::All } else { Keep::Prefix(0) };
            town.world.restart(victim, keep).unwrap();
        }
        let height = town.world.chain(town.validators[0]).height.0;
        town.run_until_finalised(height, 100 * SLOT);
        assert!(town.world.chain(town.validators[0]).slot > Slot(height));
        town.world.check_all();
    }
}
