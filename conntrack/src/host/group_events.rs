//! Waits for what tells of new control groups.
#![expect(unsafe_code, reason = "tokio cannot know that the descriptor stays the same")]

use std::{io, os::fd::OwnedFd};

use tokio::io::unix::AsyncFd;

/// What gets readable when a group is made.
pub(crate) struct GroupEvents(AsyncFd<OwnedFd>);

impl GroupEvents {
    /// Of a descriptor that does not block. Within a runtime.
    ///
    /// # Errors
    /// That it cannot be waited for.
    pub(crate) fn of(descriptor: OwnedFd) -> io::Result<Self> {
        // SAFETY: the descriptor is owned, lives in the `AsyncFd` and is never replaced.
        let descriptor = unsafe { AsyncFd::register(descriptor) };
        Ok(Self(descriptor?))
    }

    /// Until there is something to read; whoever waits reads all of it.
    ///
    /// # Errors
    /// That the runtime ends.
    pub(crate) async fn happened(&self) -> io::Result<()> {
        self.0.readable().await?.clear_ready();
        Ok(())
    }
}
