//! What a firewall has to accept so that everything recorded still works, in no firewall's language.
//!
//! | module | what it does |
//! |---|---|
//! | [`rule_set`] | chooses records and makes chains of rules of them |
//! | [`addresses`], [`internet`] | sets of addresses, and what `INTERNET` stands for |
//!
//! [`crate::print`] puts a rule set into a firewall's language.

pub mod addresses;
mod group;
pub mod internet;
pub mod rule_set;
mod warnings;

#[cfg(test)]
mod tests;
