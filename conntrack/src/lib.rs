//! Watches a network device and leaves a folder tree of who talks to whom.
//!
//! Data flows one way, and only [`agent`] knows all three of its stations:
//!
//! | module | what it does |
//! |---|---|
//! | [`source`] | yields batches of distinct flow keys: eBPF, libpcap live, capture file |
//! | [`tracker`] | turns flow keys into connections: direction, UDP replies, folding |
//! | [`tree`] | makes connections visible as files |
//!
//! [`export`] starts where that ends: it reads a tree and prints firewall rules, records and
//! comparisons. It knows nothing of sources.
//!
//! Around them: [`cli`] is what was typed, [`config`] what was meant; [`device`], [`local_addrs`]
//! and [`privilege`] are what the machine has; [`stats`] is what was counted, and [`report`] tells it
//! while it runs; [`doctor`] says what is missing.

pub mod agent;
mod apart;
pub mod cli;
pub mod config;
pub mod connection;
pub mod device;
pub mod doctor;
pub mod export;
mod kernel;
pub mod local_addrs;
mod netlink;
pub mod privilege;
pub mod report;
pub mod source;
pub mod stats;
pub mod tracker;
pub mod tree;
