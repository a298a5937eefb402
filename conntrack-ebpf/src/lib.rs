//! Empty on purpose: it lets `conntrack` name this crate as a build dependency, so that cargo
//! rebuilds the agent when the programs change. The programs themselves are in `main.rs`.
#![no_std]
