//! What a batch showed, for who wants to have connections one by one.

use std::time::SystemTime;

use crate::connection::Sighting;

/// Connections of a batch, as far as they are told one by one.
#[derive(Clone, Copy, Debug)]
pub struct Told<'a> {
    /// Those that are new.
    pub new: &'a [Sighting],
    /// Those whose evidence changed, with what it is now.
    pub changed: &'a [Sighting],
    /// When they were last seen, if not now.
    pub seen: Option<SystemTime>,
}
