//! Who we know, how we reach them, and what we think of them.
//!
//! Every part of the peer reports misbehaviour to one [`Ledger`] in the words of one enum, [`Offence`], and every part
//! asks that ledger. Who reports maps its own error to an offence, since only it knows whom to blame.

mod bucket;
mod dialer;
mod ledger;
mod node_list;
mod offence;
mod role;

pub use bucket::{Allowance, Bucket};
pub use dialer::Dialer;
pub use ledger::{Consequence, Ledger};
pub use node_list::{ListedPeer, MAX_NODE_LIST_BYTES, NodeList, NodeListError};
pub use offence::{Offence, Severity};
pub use role::Role;
