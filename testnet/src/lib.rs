//! Many Weft peers at once: in virtual time, as processes, and in browser tabs.

pub mod attacks;
pub mod fixture;
pub mod live;
pub mod measure;
mod play;
pub mod report;
pub mod rogue;
pub mod scenario;
pub mod sim;
