//! Shutdown and report requests, also while a batch is being shown.

use std::{future::Future, mem, pin::Pin, time::Duration};

use tokio::{sync::mpsc, task::yield_now, time::Instant};

/// Time to write the last batches after a shutdown request. Together with detaching, less than a second.
const PATIENCE: Duration = Duration::from_millis(700);

/// How much longer that may take, if it will be done by then.
const GRACE: Duration = Duration::from_secs(4);

pub(super) struct Interruptions<'a, F> {
    shutdown: Pin<&'a mut F>,
    report_requests: mpsc::Receiver<()>,
    /// When writing stops.
    deadline: Option<Instant>,
    /// Whether it was said that it takes longer.
    is_late: bool,
}

/// A shutdown or report request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Interruption {
    /// End the run.
    Shutdown,
    /// Print the counters.
    ReportRequest,
}

impl<'a, F: Future<Output = ()>> Interruptions<'a, F> {
    pub(super) fn new(shutdown: Pin<&'a mut F>, report_requests: mpsc::Receiver<()>) -> Self {
        Self { shutdown, report_requests, deadline: None, is_late: false }
    }

    /// Waits for the next one.
    pub(super) async fn next(&mut self) -> Interruption {
        tokio::select! {
            biased;
            () = &mut self.shutdown, if self.deadline.is_none() => {
                self.deadline = Some(Instant::now() + PATIENCE);
                Interruption::Shutdown
            }
            Some(()) = self.report_requests.recv() => Interruption::ReportRequest,
            else => std::future::pending().await,
        }
    }

    /// Yields to other tasks, such as the watchdog; returns a request that arrived.
    pub(super) async fn between(&mut self) -> Option<Interruption> {
        tokio::select! {
            biased;
            interruption = self.next() => Some(interruption),
            () = yield_now() => None,
        }
    }

    /// Whether it was to end, and there is no time for the connections that are left. A file system that
    /// is quick enough gets some more; that is said.
    pub(super) fn is_time_up(&mut self, left: usize, for_each: Duration) -> bool {
        let Some(deadline) = self.deadline else { return false };
        let late = Instant::now().saturating_duration_since(deadline);
        if late.is_zero() {
            return false;
        }
        let expected = for_each.saturating_mul(u32::try_from(left).unwrap_or(u32::MAX));
        if late + expected > GRACE {
            return true;
        }
        if !mem::replace(&mut self.is_late, true) {
            log::info!("ending; {left} connections are still to be written");
        }
        false
    }
}
