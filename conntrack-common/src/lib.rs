//! What kernel and user space share: the packet parser, the rules that say which packets open a
//! conversation, the flow key that crosses the border between the two, and the counters.
//!
//! One parser and one set of rules run in both worlds, so that both see the same flows in the
//! same frames. Nothing here allocates, does I/O or knows of maps, files or directions.
#![no_std]

pub mod counters;
pub mod flow;
#[cfg(feature = "user")]
mod pod;
pub mod rules;
pub mod wire;
