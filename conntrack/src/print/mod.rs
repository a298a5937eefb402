//! Printers, one file for each format: rules for nftables and iptables, records as JSON, CSV and a table.
//!
//! Each output is a [`Display`](std::fmt::Display) of its own and depends on nothing but what it is
//! made from: the same tree gives the same bytes.

mod header;
pub mod iptables;
pub mod nftables;
pub mod records;
pub mod table;
