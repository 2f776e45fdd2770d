//! The model of links: how long a packet takes between two peers, and whether it arrives.

use std::sync::OnceLock;

use super::{
    dice::{Dice, derive},
    event::Micros,
    peer::PeerIx,
};

/// Round trips between countries; `data/README.md` says where they come from.
static RTT: &str = include_str!("../../data/country-rtt.csv");

/// How good the links are. Every pair of peers has a base delay of its own, from where in the world they are.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Network {
    /// The share of gossip copies, requests and responses that are lost.
    pub loss: f64,
    /// Up to this share of the base delay is added to each packet's.
    pub jitter: f64,
    /// How long a connection across a partition lasts before both sides give it up, in milliseconds.
    pub cut_after: u64,
    /// The base delay of every pair in microseconds, instead of that from where they are.
    pub flat_micros: Option<u64>,
}

impl Default for Network {
    fn default() -> Self {
        Self { loss: 0.0, jitter: 0.1, cut_after: 5_000, flat_micros: None }
    }
}

/// Mean and least round trip for each pair of countries, in microseconds.
struct Table {
    names: Vec<String>,
    countries: usize,
    rtt: Vec<(u64, u64)>,
}

fn table() -> &'static Table {
    static TABLE: OnceLock<Table> = OnceLock::new();
    TABLE.get_or_init(|| {
        let mut names = Vec::new();
        let mut rows = Vec::new();
        let mut index = |name: &str| {
            names.iter().position(|known| known == name).unwrap_or_else(|| {
                names.push(name.to_owned());
                names.len() - 1
            })
        };
        for line in RTT.lines().skip(1) {
            let mut cells = line.split(',');
            let mut cell = || cells.next().expect("the table has five columns");
            let (from, to) = (index(cell()), index(cell()));
            let mut micros = || (cell().parse::<f64>().expect("a number of milliseconds") * 1000.0) as u64;
            let (mean, least) = (micros(), micros());
            rows.push((from, to, (mean, least)));
        }
        let countries = names.len();
        let mut rtt = vec![(0, 0); countries * countries];
        for (from, to, row) in rows {
            rtt[from * countries + to] = row;
            rtt[to * countries + from] = row;
        }
        Table { names, countries, rtt }
    })
}

/// The country with this ISO 3166 code, for [`Access::country`](super::Access::country), if the table has it.
#[must_use]
pub fn country_named(code: &str) -> Option<usize> {
    table().names.iter().position(|name| name == code)
}

/// The country of a peer, as an index into the table.
pub(super) fn country(seed: u64, peer: PeerIx) -> usize {
    let bytes = derive(seed, "country", peer.0 as u64);
    usize::from(u16::from_le_bytes([bytes[0], bytes[1]])) % table().countries
}

/// The time one packet takes without jitter: half of a round trip drawn between least and mean, the same for the pair
/// in both directions throughout a run.
pub(super) fn base_delay(seed: u64, (a, at): (PeerIx, usize), (b, bt): (PeerIx, usize)) -> Micros {
    let (mean, least) = table().rtt[at * table().countries + bt];
    let pair = ((a.0.min(b.0) as u64) << 32) | a.0.max(b.0) as u64;
    let bytes = derive(seed, "pair", pair);
    let share = u64::from(u32::from_le_bytes([bytes[0], bytes[1], bytes[2], bytes[3]]));
    let rtt = least + ((mean.saturating_sub(least) * share) >> 32);
    // The table's least values are clipped to zero here and there; nothing on the Internet is that close.
    (rtt / 2).max(250)
}

/// `base` with jitter.
pub(super) fn jittered(base: Micros, network: &Network, dice: &mut Dice) -> Micros {
    base + dice.between(0, (base as f64 * network.jitter) as u64)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn delays_are_symmetric_and_between_the_tables_bounds() {
        for (a, b) in [(0, 1), (3, 9), (17, 400)] {
            let (a, b) = (PeerIx(a), PeerIx(b));
            let there = base_delay(7, (a, country(7, a)), (b, country(7, b)));
            let back = base_delay(7, (b, country(7, b)), (a, country(7, a)));
            assert_eq!(there, back);
            assert!((250..400_000).contains(&there), "{there}");
        }
        assert!(table().rtt.iter().all(|(mean, _)| *mean > 0), "every pair has a round trip");
    }
}
