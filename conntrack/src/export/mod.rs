//! What a tree is for: reads one and makes firewall rules, records or comparisons of it. Knows the
//! tree and nothing of how it came about; writes no file and needs no privilege.
//!
//! | module | what it makes |
//! |---|---|
//! | [`recording`] | a tree, read into records |
//! | [`rule_set`] | records grouped to rules, in no firewall's language |
//! | [`nftables`], [`iptables`] | a rule set in theirs |
//! | [`records`], [`table`] | the records themselves: JSON, CSV, and for the eye |
//! | [`diff`] | what is different between two trees |
//! | [`audit`] | which records a file of rules accepts |
//!
//! Each output is a [`Display`](std::fmt::Display) of its own and depends on nothing but what it is
//! made from: the same tree gives the same bytes.

pub mod addresses;
pub mod args;
pub mod audit;
pub mod diff;
mod group;
mod header;
pub mod internet;
pub mod iptables;
pub mod nftables;
pub mod recording;
pub mod records;
pub mod rule_set;
pub mod table;
mod utc;
mod warnings;

#[cfg(test)]
mod tests;
