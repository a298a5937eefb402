//! Frames in user space, from libpcap or a capture file: same parser and rules as in the kernel, with a flow
//! cache in place of the kernel's maps.

pub mod batches;
mod bound;
mod cache;
pub mod capture;
pub mod file;
mod filter;
mod link;
mod link_types;
pub mod live;
mod merged;
mod version;

pub use version::version;
