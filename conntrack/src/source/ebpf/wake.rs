//! The programs' way to wake the agent before its time, when the flow map gets full. Without it, on a
//! kernel that has no ring buffers, flows wait for their interval.
#![expect(unsafe_code, reason = "tokio cannot know that the descriptor stays the same")]

use aya::{
    Ebpf,
    maps::{MapData, RingBuf},
};
use tokio::io::{Interest, unix::AsyncFd};

use super::load::map;
use crate::source::SourceError;

pub(super) struct Wake(AsyncFd<RingBuf<MapData>>);

impl Wake {
    /// Takes the ring buffer out of the loaded object.
    pub(super) fn new(ebpf: &mut Ebpf) -> Result<Self, SourceError> {
        let ring: RingBuf<MapData> = map(ebpf, "WAKE")?;
        // SAFETY: the ring buffer owns its descriptor, names no other as long as it lives, and lives
        // in the `AsyncFd`.
        let ring = unsafe { AsyncFd::register_with_interest(ring, Interest::READABLE) };
        ring.map(Self).map_err(|error| SourceError::failed("the ring buffer", error))
    }

    /// Waits until the programs call.
    pub(super) async fn called(&mut self) -> Result<(), SourceError> {
        let ready = self.0.readable_mut().await;
        let mut ready = ready.map_err(|error| SourceError::failed("the ring buffer", error))?;
        while ready.get_inner_mut().next().is_some() {}
        ready.clear_ready();
        Ok(())
    }
}
