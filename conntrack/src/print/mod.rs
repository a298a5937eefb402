//! Printers, one file for each format: rules for nftables, iptables, ufw and firewalld, drop-ins for systemd, records
//! as JSON, JSON lines, CSV and a table.
//!
//! Each output is a [`Display`](std::fmt::Display) and depends on nothing but what it is made from:
//! the same tree gives the same bytes.

pub mod audit;
pub mod csv;
pub(crate) mod ends;
mod fields;
pub mod firewalld;
mod header;
pub mod iptables;
pub mod json;
pub mod jsonl;
mod multiport;
mod networks;
pub mod nftables;
pub mod systemd;
pub mod table;
pub mod ufw;
pub(crate) mod words;
