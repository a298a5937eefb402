//! What libpcap hands over, live or from a file: the same parser and rules as in the kernel, on a
//! flow cache of our own.

mod bound;
mod cache;
pub mod file;
mod filter;
mod link;
pub mod live;

/// libpcap's own words, without the crate's before them.
fn words(error: &pcap::Error) -> String {
    match error {
        pcap::Error::PcapError(words) => words.clone(),
        other => other.to_string(),
    }
}
