//! What libpcap hands over, live or from a file: the same parser and rules as in the kernel, on a
//! flow cache of our own.

mod cache;
pub mod file;
mod link;
pub mod live;
