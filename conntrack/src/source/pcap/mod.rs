//! Frames that come to user space, from libpcap or out of a capture file: the same parser and rules as in
//! the kernel, on a flow cache of our own.

pub mod batches;
mod bound;
mod cache;
pub mod capture;
pub mod file;
mod filter;
mod link;
mod link_types;
pub mod live;
