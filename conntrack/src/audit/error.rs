//! Why there is no judgement.

use std::io;

use super::ruleset::RulesetError;

/// Why there is no judgement.
#[derive(Debug, thiserror::Error)]
pub enum AuditError {
    /// Not allowed.
    #[error(
        "cannot make a network namespace to try rules in: {0}; run it as root, or allow user namespaces"
    )]
    Namespace(io::Error),
    /// The host cannot be made.
    #[error("cannot set up a network namespace to try rules in: {0}")]
    SetUp(io::Error),
    /// It failed later on.
    #[error("cannot send packets through the rules: {0}")]
    Trial(io::Error),
    /// The rules.
    #[error(transparent)]
    Ruleset(#[from] RulesetError),
}
