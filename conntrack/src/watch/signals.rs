//! Signals: SIGINT, SIGTERM, SIGHUP and SIGQUIT end a run, SIGUSR1 asks for a report.

use std::{fs, future::Future, io};

use tokio::{
    signal::unix::{Signal, SignalKind, signal},
    sync::mpsc,
};

/// Installs the handlers; returns a future that is ready when the run is to end, and a channel of
/// report requests.
///
/// SIGHUP and SIGQUIT stay ignored if they were ignored at the start, as by nohup(1).
///
/// # Errors
/// The kernel's refusal.
pub(super) fn take_over() -> io::Result<(impl Future<Output = ()>, mpsc::Receiver<()>)> {
    let mut interrupt = signal(SignalKind::interrupt())?;
    let mut terminate = signal(SignalKind::terminate())?;
    let mut hangup = unless_ignored(SignalKind::hangup())?;
    let mut quit = unless_ignored(SignalKind::quit())?;
    let shutdown = async move {
        tokio::select! {
            _ = interrupt.recv() => {}
            _ = terminate.recv() => {}
            Some(()) = next(&mut hangup) => {}
            Some(()) = next(&mut quit) => {}
        }
    };
    Ok((shutdown, report_requests()?))
}

fn report_requests() -> io::Result<mpsc::Receiver<()>> {
    let mut report = signal(SignalKind::user_defined1())?;
    let (sender, requests) = mpsc::channel(1);
    tokio::spawn(
        async move { while report.recv().await.is_some() && sender.send(()).await.is_ok() {} },
    );
    Ok(requests)
}

fn unless_ignored(kind: SignalKind) -> io::Result<Option<Signal>> {
    if is_ignored(kind) { Ok(None) } else { signal(kind).map(Some) }
}

async fn next(signal: &mut Option<Signal>) -> Option<()> {
    signal.as_mut()?.recv().await
}

/// Read from proc(5), because sigaction(2) cannot be called safely. Without /proc nothing counts as
/// ignored.
fn is_ignored(kind: SignalKind) -> bool {
    let status = fs::read_to_string("/proc/self/status").unwrap_or_default();
    let mask = status.lines().find_map(|line| line.strip_prefix("SigIgn:"));
    let mask = mask.and_then(|mask| u64::from_str_radix(mask.trim(), 16).ok());
    mask.is_some_and(|mask| mask & (1 << (kind.as_raw_value() - 1)) != 0)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Rust's runtime ignores SIGPIPE.
    #[test]
    fn what_is_ignored_is_told_by_the_kernel() {
        assert!(is_ignored(SignalKind::pipe()));
        assert!(!is_ignored(SignalKind::user_defined2()));
    }
}
