//! Owner of a file, for messages.

use std::fmt;

use crate::privilege;

/// A user by id. The name is looked up when it is said.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Owner(pub u32);

impl fmt::Display for Owner {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&privilege::name_of(self.0))
    }
}
