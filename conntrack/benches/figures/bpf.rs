//! `BPF_PROG_TEST_RUN`, which runs a program many times and measures it, and which aya lacks.
#![expect(unsafe_code, reason = "bpf(2) reads and writes through pointers in its argument")]

use std::os::fd::{AsRawFd as _, BorrowedFd};

use super::support::bpf::bpf;

/// Of `enum bpf_cmd` (`include/uapi/linux/bpf.h`).
const PROG_TEST_RUN: libc::c_int = 10;

/// The `test` member of `union bpf_attr`.
#[repr(C)]
#[derive(Default)]
struct TestAttr {
    program: u32,
    verdict: u32,
    data_size_in: u32,
    data_size_out: u32,
    data_in: u64,
    data_out: u64,
    repeat: u32,
    duration: u32,
    context_size_in: u32,
    context_size_out: u32,
    context_in: u64,
    context_out: u64,
    flags: u32,
    cpu: u32,
    batch_size: u32,
    pad: u32,
}

/// Has the kernel run a program `repeat` times on a packet; returns nanoseconds per run, rounded down.
pub(crate) fn nanoseconds_per_run(program: BorrowedFd<'_>, packet: &[u8], repeat: u32) -> u32 {
    let mut attr = TestAttr {
        program: program.as_raw_fd().cast_unsigned(),
        data_size_in: u32::try_from(packet.len()).expect("a packet's length"),
        data_in: packet.as_ptr() as u64,
        repeat,
        ..TestAttr::default()
    };
    // SAFETY: the only pointer in `attr` is to the packet, of which the kernel reads the length that
    // is said.
    unsafe { bpf(PROG_TEST_RUN, &mut attr) }.expect("the kernel runs the program");
    attr.duration
}
