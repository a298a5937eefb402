//! What kernel and user space share: the packet parser, the rules that say which packets open a
//! conversation and whose it is, and what crosses the border between the two: flow keys, counters,
//! the policy.
//!
//! One parser and one set of rules run in both worlds, so that both see the same flows in the
//! same frames. Nothing here allocates, does I/O or knows of maps or files.
#![cfg_attr(target_arch = "bpf", feature(asm_experimental_arch))]
#![no_std]

pub mod address;
mod branchless;
pub mod counters;
pub mod flow;
pub mod pairs;
#[cfg(feature = "user")]
mod pod;
pub mod policy;
pub mod rules;
pub mod seen;
pub mod wire;
