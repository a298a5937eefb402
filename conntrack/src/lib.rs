//! Watches a network device and leaves a folder tree of who talks to whom.
//!
//! Data flows one way:
//!
//! | module | what it does |
//! |---|---|
//! | [`source`] | yields batches of distinct flow keys: eBPF, libpcap live, capture file |
//! | [`tracker`] | turns flow keys into connections: direction, UDP replies, folding |
//! | [`tree`] | makes connections visible as files |
//! | [`recording`] | reads a tree into records |
//! | [`rules`] | makes firewall rules of records, in no firewall's language |
//! | [`print`] | puts rules and records into a format |
//! | [`show`] | picks and sorts records for people |
//! | [`page`] | shows a recording as a page of HTML |
//! | [`diff`], [`audit`] | compare a recording with another one, or with rules |
//! | [`apply`] | puts rules in force, and takes them back unless somebody says yes |
//!
//! [`watch`] is the running collector and the only module that knows source, tracker and tree. [`cli`]
//! is what is typed; nothing here imports it. [`host`] is what this machine is, [`privilege`] what we
//! may do on it, [`doctor`] says what is missing, [`report`] tells how it goes, [`program`] what to type.

pub mod apply;
pub mod audit;
pub mod cli;
pub mod connection;
pub mod diff;
pub mod doctor;
pub mod dropped;
pub mod host;
mod local_time;
mod one_or_more;
pub mod page;
pub mod print;
pub mod privilege;
pub mod program;
pub mod record;
pub mod recording;
pub mod report;
pub mod rules;
pub mod show;
pub mod source;
pub mod tracker;
pub mod tree;
pub mod unit;
mod utc;
pub mod watch;
