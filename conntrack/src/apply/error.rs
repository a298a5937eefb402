//! Why rules are not applied, or not taken back.

use std::io;

use crate::{audit::AuditError, host::programs::ProgramError, print::nftables::TABLE};

/// Why rules are not applied.
#[derive(Debug, thiserror::Error)]
pub enum ApplyError {
    /// `nft` does not do it.
    #[error("cannot apply {name}: {error}")]
    Load {
        /// Which rules.
        name: String,
        /// Why.
        error: ProgramError,
    },
    /// The rules of this machine cannot be read.
    #[error("cannot list the rules of this machine: {0}")]
    List(ProgramError),
    /// The rules are not ours alone.
    #[error("{name} changes more than the table {TABLE}: load it with nft -f")]
    OtherTables {
        /// Which rules.
        name: String,
    },
    /// The rules do nothing.
    #[error("{name} has no table {TABLE}")]
    NoTable {
        /// Which rules.
        name: String,
    },
    /// They cannot be tried.
    #[error(transparent)]
    Check(#[from] AuditError),
    /// What goes back cannot be made ready.
    #[error("cannot make sure that the rules are taken back: {0}")]
    Guard(io::Error),
    /// It could not be taken back.
    #[error("cannot take the rules back: {0}; do it with: nft delete table {TABLE}")]
    Undo(ProgramError),
}
