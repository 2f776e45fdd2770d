//! Who plays in a live scenario, and what of it cannot be played.

use std::{collections::BTreeSet, fs, path::Path};

use weft::keyfile;
use weft_core::node::Role;

use super::{
    LiveError, NodeOptions, Ports, RelayOptions,
    actor::{Actor, Ground, Recipe},
    links::Door,
    missing_for_tabs,
};
use crate::{
    report::role_name,
    scenario::{BlockKind, GossipKind, NatKind, Scenario},
};

/// The most peers that are run at once.
const MOST_PEERS: usize = 100;
/// What every program logs: what is read from it is among it.
const LOG: &str = "info,weft_core::told=debug,weft_core::node::chain::propose=debug";
/// What mempools of programs hold, in MiB: native ones and relays, and tabs.
const MEMPOOL_MIB: (usize, usize) = (64, 4);

/// Refuses what programs cannot do at all.
pub(super) fn check(scenario: &Scenario, app: &Path) -> Result<(), LiveError> {
    let refuse = |words: String| Err(LiveError::Refused(words));
    if scenario.count() > MOST_PEERS {
        return refuse(format!(
            "it has {} peers, and at most {MOST_PEERS} real ones are run",
            scenario.count()
        ));
    }
    let wrong = scenario.peers.iter().find(|group| group.validators > 0 && group.role != Role::Native);
    if let Some(group) = wrong {
        let role = role_name(group.role);
        return refuse(format!(
            "peers {} are to propose, and no program with the role {role} does",
            group.name
        ));
    }
    let has = |role| scenario.peers.iter().any(|group| group.role == role);
    if !has(Role::Relay) && !has(Role::Native) {
        return refuse("it has no native peer".to_owned());
    }
    if has(Role::Browser) {
        if !has(Role::Relay) {
            return refuse("it has tabs, and no relay whose page they could open".to_owned());
        }
        let missing = missing_for_tabs(app);
        if !missing.is_empty() {
            return refuse(format!("it has tabs, and {}", missing.join("; ")));
        }
    }
    Ok(())
}

/// What the scenario says of its network and programs do not reproduce, in words.
pub(super) fn not_reproduced(scenario: &Scenario) -> Vec<String> {
    let groups = &scenario.peers;
    let mut words = vec!["delays between countries, and jitter: everything is on loopback".to_owned()];
    let mut say = |whether: bool, what: String| {
        if whether {
            words.push(what);
        }
    };
    let loss = scenario.network.loss * 100.0;
    say(loss > 0.0, format!("the loss of {loss} % of messages"));
    let limited = groups.iter().any(|group| group.up_mbit.is_some() || group.down_mbit.is_some());
    say(limited, "bandwidth".to_owned());
    let hidden = groups.iter().any(|group| group.nat != NatKind::Open);
    say(hidden, "NAT, beyond who dials whom".to_owned());
    let tabs = groups.iter().any(|group| group.role == Role::Browser);
    say(tabs, "who dials whom, for tabs: each knows one relay, and nobody dials it".to_owned());
    let (native, tab) = MEMPOOL_MIB;
    let held = |role| if role == Role::Browser { tab } else { native };
    let other = groups.iter().any(|group| group.mempool_mib != held(group.role));
    say(other, format!("the size of mempools: they hold {native} MiB, and {tab} MiB in a tab"));
    let ordinary =
        groups.iter().all(|group| group.role != Role::Browser || group.tx_mode == Default::default());
    say(!ordinary, "how tabs pass transactions on: they do it as usual".to_owned());
    say(scenario.gossip != GossipKind::Model, "another gossip than Weft's own".to_owned());
    say(scenario.blocks != BlockKind::Compact, "blocks that are announced whole".to_owned());
    let pays = scenario.wallets().iter().any(|ix| role(scenario, *ix) == Role::Browser);
    say(
        pays && scenario.rate() > 0.0,
        "transfers submitted at tabs: natives and relays take them instead".to_owned(),
    );
    words
}

fn role(scenario: &Scenario, ix: usize) -> Role {
    scenario.groups().nth(ix).map_or(Role::Native, |group| group.role)
}

/// Where transfers are submitted: of the peers that the scenario names those that are programs, or else all that are.
pub(super) fn wallets(scenario: &Scenario) -> Vec<usize> {
    let programs = |mut peers: Vec<usize>| {
        peers.retain(|ix| role(scenario, *ix) != Role::Browser);
        peers
    };
    let named = programs(scenario.wallets());
    if named.is_empty() { programs((0..scenario.count()).collect()) } else { named }
}

/// Whom each program dials: as the scenario says, with a relay in the place of a tab, and so that all are connected.
fn dials(scenario: &Scenario) -> Vec<BTreeSet<usize>> {
    let roles: Vec<Role> = scenario.groups().map(|group| group.role).collect();
    let programs: Vec<usize> = (0..roles.len()).filter(|ix| roles[*ix] != Role::Browser).collect();
    let relays: Vec<usize> = (0..roles.len()).filter(|ix| roles[*ix] == Role::Relay).collect();
    let mut dials = vec![BTreeSet::new(); roles.len()];
    for (from, targets) in scenario.dials().into_iter().enumerate() {
        for (turn, to) in targets.into_iter().enumerate() {
            let to = match roles[to] {
                Role::Browser if relays.is_empty() => continue,
                Role::Browser => relays[(from + turn) % relays.len()],
                _ => to,
            };
            if roles[from] != Role::Browser && from != to && !dials[to].contains(&from) {
                dials[from].insert(to);
            }
        }
    }
    let Some(&hub) = relays.first().or(programs.first()) else { return dials };
    let mut reached = BTreeSet::from([hub]);
    while reached.len() < programs.len() {
        let next = programs.iter().copied().find(|ix| {
            let ahead = dials[*ix].iter().any(|to| reached.contains(to));
            !reached.contains(ix) && (ahead || reached.iter().any(|from| dials[*from].contains(ix)))
        });
        let next = next.or_else(|| {
            let alone = programs.iter().copied().find(|ix| !reached.contains(ix))?;
            dials[alone].insert(hub);
            Some(alone)
        });
        reached.extend(next);
    }
    dials
}

/// All peers of the scenario, none of them started.
pub(super) fn cast(scenario: &Scenario, ground: &Ground, app: &Path) -> Result<Vec<Actor>, LiveError> {
    let plain = |c: char| if c.is_ascii_alphanumeric() { c } else { '-' };
    let named = scenario.groups().enumerate().map(|(ix, group)| {
        let name: String = group.name.chars().take(32).map(plain).collect();
        format!("{ix}-{name}")
    });
    let names: Vec<String> = named.collect();
    let mut ids = Vec::new();
    for (name, group) in names.iter().zip(scenario.groups()) {
        let file = match group.role {
            Role::Relay => "peer.key",
            Role::Native => "peer-key.json",
            Role::Browser => {
                ids.push(String::new());
                continue;
            }
        };
        let data = ground.chain.data(name);
        fs::create_dir_all(&data).map_err(LiveError::system(data.display().to_string()))?;
        let key = keyfile::load_or_create_peer_key(&data.join(file))
            .map_err(|error| LiveError::Answer(format!("making the key of {name}: {error}")))?;
        ids.push(key.public().to_peer_id().to_string());
    }
    let tabs = scenario.peers.iter().any(|group| group.role == Role::Browser);
    let dials = dials(scenario);
    let (mut actors, mut pages, mut validators) = (Vec::new(), Vec::new(), 0);
    for (ix, (group, proposes)) in scenario.groups().zip(scenario.proposing()).enumerate() {
        if group.role == Role::Relay {
            let ports = Ports::free()?;
            ground.links.door(ports.http, Door::Page);
            ground.links.door(ports.websocket, Door::Peer(ix));
            pages.push((ix, ports));
        }
        let listening = LiveError::system("listening on loopback");
        let edge = |to: &usize| {
            let address = ground.links.edge(ix, *to)?;
            Ok(format!("/ip4/127.0.0.1/tcp/{}/p2p/{}", address.port(), ids[*to]))
        };
        let bootstrap = dials[ix].iter().map(edge).collect::<std::io::Result<_>>().map_err(listening)?;
        // Whom they found besides would be reached past the links.
        let (tx_mode, log, bootstrap_only) = (group.tx_mode, Some(LOG.to_owned()), true);
        let recipe = match group.role {
            Role::Native => {
                let validator = proposes.then_some(validators);
                validators += usize::from(proposes);
                Recipe::Native(NodeOptions {
                    validator,
                    bootstrap,
                    bootstrap_only,
                    tx_mode,
                    log,
                    ..NodeOptions::default()
                })
            }
            Role::Relay => {
                let ports = pages.last().map(|(_, ports)| *ports).unwrap_or_default();
                let app = tabs.then(|| app.to_owned());
                Recipe::Relay(RelayOptions {
                    proxy: None,
                    webrtc_direct: None,
                    app,
                    ports,
                    host: None,
                    bootstrap,
                    bootstrap_only,
                    tx_mode,
                    log,
                    certificate: None,
                })
            }
            Role::Browser => tab(ix, ground)?,
        };
        actors.push(Actor::new(ix, names[ix].clone(), recipe));
    }
    // Relays may come after tabs in the file.
    let mut turn = pages.iter().cycle();
    for actor in &mut actors {
        if actor.role() == Role::Browser
            && let Some((_, ports)) = turn.next()
        {
            actor.opens(format!("http://127.0.0.1:{}/?log=told", ports.http));
        }
    }
    Ok(actors)
}

/// A tab whose browser reaches relays and nothing else; its page is chosen later.
fn tab(ix: usize, ground: &Ground) -> Result<Recipe, LiveError> {
    let proxy = ground.links.proxy(ix).map_err(LiveError::system("listening on loopback"))?;
    // Without the second, browsers reach loopback without their proxy.
    let arguments =
        vec![format!("--proxy-server=socks5://{proxy}"), "--proxy-bypass-list=<-loopback>".to_owned()];
    Ok(Recipe::Tab { url: String::new(), arguments })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn scenario(peers: &str) -> Scenario {
        Scenario::parse(&format!("name = \"t\"\nseconds = 60\nslot-millis = 500\n{peers}")).unwrap()
    }

    const MIXED: &str = "[[peers]]\nname = \"tabs\"\nrole = \"browser\"\ncount = 9\nnat = \"signalled\"\nup-mbit = 1.0\n\
                         [[peers]]\nname = \"natives\"\nrole = \"native\"\ncount = 4\nvalidators = 3\ndials = 2\n\
                         [[peers]]\nname = \"relay\"\nrole = \"relay\"\ncount = 1\ndials = 0\n\
                         [workload]\ntransfers-per-second = 1.0\nat = [\"tabs\"]\n";

    #[test]
    fn programs_dial_no_tab_and_all_are_connected() {
        for seed in 0..20 {
            let scenario = Scenario { seed, ..scenario(MIXED) };
            let dials = dials(&scenario);
            assert!(dials[..9].iter().all(BTreeSet::is_empty), "{dials:?}");
            assert!(dials.iter().flatten().all(|to| (9..14).contains(to)), "{dials:?}");
            let mut reached = BTreeSet::from([13]);
            for _ in 0..5 {
                let near = |ix: &usize| {
                    dials[*ix].iter().any(|to| reached.contains(to))
                        || reached.iter().any(|from| dials[*from].contains(ix))
                };
                let more: Vec<usize> = (9..14).filter(near).collect();
                reached.extend(more);
            }
            assert_eq!(reached.len(), 5, "{dials:?}");
            assert_eq!(wallets(&scenario), [9, 10, 11, 12, 13]);
        }
    }

    #[test]
    fn what_programs_cannot_do_is_said() {
        let told = not_reproduced(&scenario(MIXED)).join("; ");
        for part in ["delays", "bandwidth", "NAT", "for tabs", "mempools", "submitted at tabs"] {
            assert!(told.contains(part), "{told}");
        }
        assert!(!told.contains("loss") && !told.contains("gossip"), "{told}");
        let nowhere = Path::new("/nonexistent");
        for (peers, reason) in [
            (MIXED.to_owned(), "cargo xtask app"),
            (MIXED.replace("\"relay\"\ncount", "\"native\"\ncount"), "no relay whose page"),
            (MIXED.replace("count = 4", "count = 400"), "at most 100"),
            (MIXED.replace("count = 1\n", "count = 1\nvalidators = 1\n"), "no program with the role relay"),
        ] {
            let error = check(&scenario(&peers), nowhere).unwrap_err().to_string();
            assert!(error.contains(reason), "{error}");
        }
    }
}
