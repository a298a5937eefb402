//! What may come in between while connections are shown: the end, and requests for a report.

use std::{future::Future, pin::Pin, time::Duration};

use tokio::{sync::mpsc, task::yield_now, time::Instant};

/// How long what was seen last is written once the end was asked for: it ends within a second, and
/// detaching takes some of that.
const PATIENCE: Duration = Duration::from_millis(700);

pub(super) struct Interruptions<'a, F> {
    shutdown: Pin<&'a mut F>,
    report_requests: mpsc::Receiver<()>,
    /// When nothing more is written.
    deadline: Option<Instant>,
}

/// Something that came in between.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Interruption {
    /// It is to end.
    Shutdown,
    /// Somebody wants a report.
    ReportRequest,
}

impl<'a, F: Future<Output = ()>> Interruptions<'a, F> {
    pub(super) fn new(shutdown: Pin<&'a mut F>, report_requests: mpsc::Receiver<()>) -> Self {
        Self { shutdown, report_requests, deadline: None }
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

    /// Lets everything else have its turn, such as the watchdog; what came in between.
    pub(super) async fn between(&mut self) -> Option<Interruption> {
        tokio::select! {
            biased;
            interruption = self.next() => Some(interruption),
            () = yield_now() => None,
        }
    }

    /// Whether it was to end, and there is no time left.
    pub(super) fn is_time_up(&self) -> bool {
        self.deadline.is_some_and(|deadline| Instant::now() >= deadline)
    }
}
