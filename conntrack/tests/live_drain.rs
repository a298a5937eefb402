//! Draining the flow map and reading its counters where the kernel, or what stands between it and the
//! program, does not answer as usual. Needs root.

use crate::support::{
    Files,
    collector::Collector,
    frames::{Wire, udp},
    lab::Lab,
    usual::{EBPF, HOST, XDP, end},
};

/// Flows of others, each a file of its own.
fn send(wire: &mut Wire, flows: u16) -> Files {
    let mut expected = Files::new();
    for port in 1..=flows {
        wire.arrive(&udp(end("10.1.0.1:5000"), end(&format!("10.2.0.1:{port}"))));
        expected.insert(format!("else/udp/10.1.0.1-5000-10.2.0.1-{port}"));
    }
    expected
}

/// What hides the kernel's list of CPUs, or has it say less than there are.
const LISTS: [&str; 2] = [
    "mount -t tmpfs none /sys",
    "mount -t tmpfs none /mnt && echo 0 > /mnt/list && \
     mount --bind /mnt/list /sys/devices/system/cpu/possible",
];

#[test]
fn packets_are_counted_whatever_sys_says_of_cpus() {
    const FLOWS: u16 = 34;
    const ROOM: u16 = 4;
    let flows = u64::from(FLOWS);
    for (hide, mode) in LISTS.into_iter().flat_map(|hide| [(hide, EBPF), (hide, XDP)]) {
        let lab = Lab::new(&[HOST]);
        let mut wire = Wire::of(&lab);
        let script = format!("{hide} && exec \"$@\"");
        let command = ["unshare", "--mount", "sh", "-c", &script, "sh"];
        let room = ROOM.to_string();
        let arguments = [mode, &["--max-flows", &room, "--interval", "1h"]].concat();
        let collector = Collector::start_through(&lab.host, &command, &arguments);
        send(&mut wire, FLOWS);
        let ended = collector.stop();
        assert!(ended.status.success(), "{hide}: {}", ended.said);
        let others = ended.files.iter().filter(|file| file.starts_with("else/udp/10.1.0.1"));
        let shown = others.count() as u64;
        assert!(ended.reported("packets seen") >= flows, "{hide}: {}", ended.said);
        assert_eq!(shown + ended.reported("lost"), flows, "{hide}: {}", ended.said);
        assert!(ended.reported("lost") > 0, "{hide}: {}", ended.said);
    }
}

#[cfg(target_arch = "x86_64")]
mod traced {
    use std::{
        sync::atomic::{AtomicBool, AtomicU32, Ordering},
        thread,
    };

    use nix::{
        errno::Errno,
        sys::{
            ptrace::{self, Options},
            wait::{WaitStatus, waitpid},
        },
        unistd::Pid,
    };

    use super::*;
    use crate::support::{PATIENCE, wait_until};

    const BPF: u64 = 321;
    const LOOKUP_AND_DELETE_BATCH: u64 = 25;
    /// Where `count` is in the argument of a batch.
    const COUNT: u64 = 32;

    /// The kernel takes entries out of the map and hands them over, and then the call fails.
    #[test]
    fn what_was_handed_out_is_kept_whatever_the_call_says() {
        for errno in [Errno::EBUSY, Errno::ENOMEM, Errno::EFAULT, Errno::EAGAIN] {
            let lab = Lab::new(&[HOST]);
            let mut wire = Wire::of(&lab);
            let collector = Collector::start(&lab.host, EBPF);
            let process = Pid::from_raw(collector.id().cast_signed());
            let changed = AtomicU32::new(0);
            let is_over = AtomicBool::new(false);
            thread::scope(|scope| {
                scope.spawn(|| change_results(process, errno, &changed, &is_over));
                for round in 0..3 {
                    let expected = send(&mut wire, 10 * (round + 1));
                    collector.wait_for_files(&expected);
                }
                let was_changed = || changed.load(Ordering::Relaxed) >= 2;
                assert!(wait_until(PATIENCE, was_changed), "{errno}: no call was changed");
                is_over.store(true, Ordering::Relaxed);
            });
            let ended = collector.stop();
            assert!(ended.status.success(), "{errno}: {}", ended.said);
            assert_eq!(ended.reported("lost"), 0, "{errno}: {}", ended.said);
        }
    }

    /// Has calls that hand something out return this, two times.
    fn change_results(process: Pid, errno: Errno, changed: &AtomicU32, is_over: &AtomicBool) {
        ptrace::seize(process, Options::PTRACE_O_TRACESYSGOOD).expect("seized");
        ptrace::interrupt(process).expect("interrupted");
        let mut is_entered = false;
        while !is_over.load(Ordering::Relaxed) {
            let signal = match waitpid(process, None).expect("a traced process") {
                WaitStatus::PtraceSyscall(_) => {
                    is_entered = !is_entered;
                    if !is_entered && changed.load(Ordering::Relaxed) < 2 {
                        let is_changed = change_result(process, errno);
                        changed.fetch_add(u32::from(is_changed), Ordering::Relaxed);
                    }
                    None
                }
                WaitStatus::Stopped(_, signal) => Some(signal),
                WaitStatus::Exited(..) | WaitStatus::Signaled(..) => return,
                _ => None,
            };
            ptrace::syscall(process, signal).expect("goes on");
        }
        ptrace::interrupt(process).expect("interrupted");
        waitpid(process, None).expect("stopped");
        ptrace::detach(process, None).expect("detached");
    }

    fn change_result(process: Pid, errno: Errno) -> bool {
        let mut registers = ptrace::getregs(process).expect("registers");
        if (registers.orig_rax, registers.rdi) != (BPF, LOOKUP_AND_DELETE_BATCH) {
            return false;
        }
        let at = (registers.rsi + COUNT) as ptrace::AddressType;
        let word = ptrace::read(process, at).expect("the argument");
        // The lower half of the word.
        if word.trailing_zeros() >= u32::BITS {
            return false;
        }
        if errno == Errno::EFAULT {
            // As the kernel leaves it then.
            ptrace::write(process, at, word & !0xffff_ffff).expect("written");
        }
        registers.rax = (-(errno as i64)).cast_unsigned();
        ptrace::setregs(process, registers).expect("set");
        true
    }
}
