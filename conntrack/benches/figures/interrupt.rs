//! Ctrl-C and SIGTERM: a process that is killed by a signal runs no destructors, so the laboratories
//! are taken down here, with the processes in them.

use std::{
    process::{self, Command},
    thread,
};

use rustix::process::{Pid, Signal, kill_process};
use tokio::{
    runtime::Builder,
    signal::unix::{SignalKind, signal},
};

/// Takes down all laboratories when a signal ends this process.
pub(crate) fn handle() {
    thread::spawn(|| {
        let runtime = Builder::new_current_thread().enable_all().build().expect("a runtime");
        runtime.block_on(interrupted());
        take_down();
        process::exit(1);
    });
}

async fn interrupted() {
    let mut interrupt = signal(SignalKind::interrupt()).expect("signals");
    let mut terminate = signal(SignalKind::terminate()).expect("signals");
    tokio::select! {
        _ = interrupt.recv() => {}
        _ = terminate.recv() => {}
    }
}

/// The namespaces of this process's laboratories, which have its id in their names.
fn take_down() {
    let ours = format!("ct-{}-", process::id());
    let listed = ip_netns(&["list"]);
    let names = listed.lines().filter_map(|line| line.split(' ').next());
    for name in names.filter(|name| name.starts_with(&ours)) {
        let inside = ip_netns(&["pids", name]);
        for id in inside.lines().filter_map(|id| Pid::from_raw(id.trim().parse().ok()?)) {
            // It may have ended by the same signal.
            let _gone = kill_process(id, Signal::KILL);
        }
        ip_netns(&["delete", name]);
    }
}

/// The output of `ip netns`; empty if it fails.
fn ip_netns(arguments: &[&str]) -> String {
    let output = Command::new("ip").arg("netns").args(arguments).output();
    output.map_or_else(|_| String::new(), |output| String::from_utf8_lossy(&output.stdout).into())
}
