//! Which connections of a batch are told one by one, besides being shown.

/// Which connections are told one by one.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Telling {
    /// None.
    Nothing,
    /// Those that are new.
    New,
    /// Those, too, whose evidence changes.
    Changed,
}
