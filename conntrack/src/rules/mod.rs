//! What a firewall has to accept so that everything recorded still works, in no firewall's language.
//!
//! | module | what it does |
//! |---|---|
//! | [`vocabulary`] | chain, rule, side, ports |
//! | `choosing` | which records have a rule |
//! | [`data`] | data connections, which helpers of connection tracking let through |
//! | `doubtful`, [`doubts`] | warnings about single rules |
//! | `grouping` | the fewest rules for them |
//! | [`omissions`] | the others, folded |
//! | [`warnings`] | what the user has to know before the rules are in force |
//! | [`rule_set`] | all of it together |
//! | [`answers`] | answers to multicast and broadcast |
//! | [`essentials`] | what every host needs besides |
//! | [`addresses`], [`internet`] | sets of addresses, and what `INTERNET` stands for |
//!
//! [`crate::print`] puts a rule set into a firewall's language.

pub mod addresses;
pub mod answers;
pub(crate) mod choosing;
pub mod data;
mod doubtful;
pub mod doubts;
pub(crate) mod ephemeral;
pub mod essentials;
mod grouping;
pub mod internet;
pub mod omissions;
pub mod rule_set;
pub mod vocabulary;
pub mod warnings;

#[cfg(test)]
mod tests;
