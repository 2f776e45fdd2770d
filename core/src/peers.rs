//! Who we know, how we reach them, and what we think of them.
//!
//! Every part of the peer reports misbehaviour to one [`Ledger`] in the words of one enum, [`Offence`], and every part
//! asks that ledger. Who reports maps its own error to an offence, since only it knows whom to blame.

mod book;
mod bucket;
mod dialer;
mod doh;
mod exchange;
mod found;
mod guards;
mod identity;
mod invite;
mod ledger;
mod list_sources;
mod names;
mod node_list;
mod offence;
mod quotas;
mod range;
mod reach;
mod record;
mod relays;
mod remembered;
mod role;
mod service;
mod slots;
mod uploads;

pub use book::{Book, BookShape, Row, Rumour};
pub use bucket::{Allowance, Bucket};
pub use dialer::Dialer;
pub use doh::{texts_in, texts_question};
pub use exchange::{
    EXCHANGE_ALLOWANCE, EXCHANGE_COST, MAX_RECORDS, PeersRequest, PeersResponse, verify_records,
};
pub use found::Found;
pub use guards::Guards;
pub(crate) use identity::peer_id;
pub use invite::{Invite, InviteError, MAX_INVITE_BYTES};
pub use ledger::{
    Ban, Cause, Consequence, Deed, Ledger, MAX_BAN_MILLIS, Stored, StoredStrikes, TooMany, Whom,
};
pub use list_sources::{Believed, ListSource, ListSourceError, ListSources, MAX_LIST_SOURCES};
pub use names::{MAX_TEXT_BYTES, MAX_TEXTS, NameError, Names, is_name};
pub use node_list::{ListedPeer, MAX_NODE_LIST_BYTES, NodeList, NodeListError};
pub use offence::{Offence, Severity};
pub use quotas::{OVERRUNS, Quota, Quotas, Traffic};
pub use range::{AddressRange, RangeError};
pub use reach::{
    Group, Scope, can_dial, can_dial_through, circuit_of, has_name, is_believable, is_circuit, is_signalled,
    is_webrtc_direct, without_host,
};
pub use record::{MAX_RECORD_ADDRESSES, PeerRecord, RECORD_LIFETIME_MILLIS};
pub use relays::{MAX_RELAYS, RelaySlots, SlotStep};
pub use remembered::Remembered;
pub use role::Role;
pub use service::Service;
pub use slots::{Guest, to_leave};
pub use uploads::{Spent, Uploads};
