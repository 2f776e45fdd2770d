//! The native Weft peer: what a server or a desktop adds to the core that browsers share.

pub mod disk;
pub mod keyfile;
