//! What a peer can do wrong, and how bad that is.

use std::fmt;

/// How much an offence costs.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Severity {
    /// 1 point: may happen to an honest peer now and then.
    Low,
    /// 5 points: should not happen to an honest peer.
    Mid,
    /// 10 points: cannot happen to an honest peer of this version.
    High,
    /// All points: proven malice.
    Fatal,
}

impl Severity {
    /// The points lost, of 100.
    #[must_use]
    pub const fn points(self) -> i32 {
        match self {
            Self::Low => 1,
            Self::Mid => 5,
            Self::High => 10,
            Self::Fatal => 100,
        }
    }
}

/// What a peer did wrong, as far as it is provable. Slowness is not among these: timeouts throttle, they never punish.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Offence {
    /// It claims this chain's protocols and names another genesis.
    WrongGenesis,
    /// It sent something whose signature is wrong; whoever passes things on checks them first.
    BadSignature,
    /// It sent a proof that proves nothing; whoever passes one on checks it first.
    BadProof,
    /// It sent a header or block that cannot follow its parent.
    InvalidBlock,
    /// It answered a request with a body that is not the one asked for.
    WrongBody,
    /// It sent bytes that are no message of the protocol.
    Malformed,
    /// It answered with something that was not asked for: too much, out of order, or not linked.
    Unrequested,
    /// It passed on a transaction that no state of the chain could make valid.
    InvalidTransaction,
    /// It announced a transaction with a size that is not the transaction's.
    FalseAnnouncement,
    /// It sent more in a time than anyone needs to.
    Flood,
}

impl Offence {
    /// All of them. Their places here are their codes on disk.
    pub const ALL: [Self; 10] = [
        Self::WrongGenesis,
        Self::BadSignature,
        Self::BadProof,
        Self::InvalidBlock,
        Self::WrongBody,
        Self::Malformed,
        Self::Unrequested,
        Self::InvalidTransaction,
        Self::FalseAnnouncement,
        Self::Flood,
    ];

    /// The number it is stored as.
    pub(super) fn code(self) -> u8 {
        let place = Self::ALL.iter().position(|other| *other == self).unwrap_or(Self::ALL.len());
        u8::try_from(place).expect("there are few of them")
    }

    /// The offence stored as this number.
    pub(super) fn of_code(code: u8) -> Option<Self> {
        Self::ALL.get(usize::from(code)).copied()
    }

    /// How bad it is.
    #[must_use]
    pub const fn severity(self) -> Severity {
        match self {
            Self::WrongGenesis | Self::BadSignature | Self::BadProof => Severity::Fatal,
            Self::InvalidBlock | Self::WrongBody | Self::Malformed => Severity::High,
            Self::Unrequested | Self::InvalidTransaction => Severity::Mid,
            Self::FalseAnnouncement | Self::Flood => Severity::Low,
        }
    }

    /// The name in metrics and JSON.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::WrongGenesis => "wrong-genesis",
            Self::BadSignature => "bad-signature",
            Self::BadProof => "bad-proof",
            Self::InvalidBlock => "invalid-block",
            Self::WrongBody => "wrong-body",
            Self::Malformed => "malformed",
            Self::Unrequested => "unrequested",
            Self::InvalidTransaction => "invalid-transaction",
            Self::FalseAnnouncement => "false-announcement",
            Self::Flood => "flood",
        }
    }
}

impl fmt::Display for Offence {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}
