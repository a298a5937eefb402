//! What is to be applied.

use std::time::Duration;

/// Rules to be applied.
#[derive(Clone, Debug)]
pub struct Plan {
    /// For `nft -f`.
    pub rules: Vec<u8>,
    /// As messages name them.
    pub name: String,
    /// How long to learn which connections are open.
    pub learn: Duration,
    /// How long to wait for a yes.
    pub confirm: Duration,
}
