//! What kind of peer one is.

use serde::{Deserialize, Serialize};

/// What kind of peer this is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Role {
    /// A server or desktop.
    Native,
    /// A circuit relay.
    Relay,
    /// A browser tab.
    Browser,
}
