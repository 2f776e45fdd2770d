//! What a relay does for others at most.
//!
//! One set of bounds for all: the library knows no tiers. They fit signalling and small messages, since bulk goes direct. Who
//! comes past one is told so by the relay protocol's own answers (`RESOURCE_LIMIT_EXCEEDED`, `RESERVATION_REFUSED`), and asks
//! elsewhere.

use std::{num::NonZeroU32, time::Duration};

use clap::{Args, builder::RangedU64ValueParser, value_parser};
use libp2p::relay;

/// The bounds of the circuit relay.
#[derive(Clone, Debug, PartialEq, Eq, Args)]
pub struct RelayLimits {
    /// Keep slots for so many peers at once.
    #[arg(long, value_name = "COUNT", default_value_t = 1024)]
    pub max_reservations: u32,

    /// For so many peers of one IP address, or one /64 of IPv6. Nobody in this machine's own network is counted: a proxy there speaks for all
    /// who come through it.
    #[arg(long, value_name = "COUNT", default_value_t = 128, value_parser = value_parser!(u32).range(1..))]
    pub max_reservations_per_ip: u32,

    /// How many seconds a slot lasts unless it is renewed.
    #[arg(long, value_name = "SECONDS", default_value_t = 3600, value_parser = value_parser!(u32).range(60..))]
    pub reservation_seconds: u32,

    /// Join so many pairs of peers at once.
    #[arg(long, value_name = "COUNT", default_value_t = 256)]
    pub max_circuits: u32,

    /// How many of those one peer may be part of when it asks for another.
    #[arg(long, value_name = "COUNT", default_value_t = 4, value_parser = value_parser!(u32).range(1..))]
    pub max_circuits_per_peer: u32,

    /// End a circuit after so many seconds.
    // 0 would end each at once.
    #[arg(long, value_name = "SECONDS", default_value_t = 120, value_parser = value_parser!(u32).range(1..))]
    pub circuit_seconds: u32,

    /// End a circuit after so many bytes, both directions together.
    // 0 would let it run without end.
    #[arg(long, value_name = "BYTES", default_value_t = 256 << 10, value_parser = RangedU64ValueParser::<u64>::new().range(1..))]
    pub circuit_bytes: u64,

    /// How many slots, and how many circuits, one peer may ask for at first; then it is one each in ten seconds.
    #[arg(long, value_name = "COUNT", default_value = "30")]
    pub asks_per_peer: NonZeroU32,

    /// How many slots, and how many circuits, one IP address may ask for at first; then it is one each a second. Many tabs share an
    /// address: a school, an office, all behind a proxy.
    #[arg(long, value_name = "COUNT", default_value = "256")]
    pub asks_per_ip: NonZeroU32,
}

impl RelayLimits {
    /// For how many peers of one host slots are kept.
    pub(crate) fn of_host(&self) -> usize {
        usize::try_from(self.max_reservations_per_ip).unwrap_or(usize::MAX)
    }

    /// The library's words for it.
    pub(crate) fn config(&self) -> relay::Config {
        let size = |count: u32| usize::try_from(count).unwrap_or(usize::MAX);
        let (per_peer, per_ip) = (Duration::from_secs(10), Duration::from_secs(1));
        let config = relay::Config {
            max_reservations: size(self.max_reservations),
            // One for each connection of a peer, of which it has few.
            max_reservations_per_peer: 4,
            reservation_duration: Duration::from_secs(self.reservation_seconds.into()),
            reservation_rate_limiters: Vec::new(),
            max_circuits: size(self.max_circuits),
            // The library refuses when there are more than so many already.
            max_circuits_per_peer: size(self.max_circuits_per_peer) - 1,
            max_circuit_duration: Duration::from_secs(self.circuit_seconds.into()),
            max_circuit_bytes: self.circuit_bytes,
            circuit_src_rate_limiters: Vec::new(),
        };
        config
            .reservation_rate_per_peer(self.asks_per_peer, per_peer)
            .reservation_rate_per_ip(self.asks_per_ip, per_ip)
            .circuit_src_per_peer(self.asks_per_peer, per_peer)
            .circuit_src_per_ip(self.asks_per_ip, per_ip)
    }
}
