//! The native Weft peer: what a server or a desktop adds to the core that browsers share.

pub mod certificate;
pub mod cli;
pub mod config;
pub mod disk;
mod dns;
pub mod genesis;
pub mod keyfile;
mod lists;
pub mod peer;
mod private_file;
pub mod rpc;
pub mod transport;
