//! Two commands of bpf(2) that aya lacks: loading a program that is only a verdict, and
//! `BPF_PROG_TEST_RUN`, which runs a program many times and measures it.
#![expect(unsafe_code, reason = "bpf(2) reads and writes through pointers in its argument")]

use std::{
    io,
    os::fd::{AsRawFd as _, BorrowedFd, FromRawFd as _, OwnedFd},
};

/// Where a program is attached.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Hook {
    Tc,
    Xdp,
}

impl Hook {
    /// `enum bpf_prog_type` (`include/uapi/linux/bpf.h`).
    pub(crate) const fn program_type(self) -> u32 {
        match self {
            Self::Tc => 3,
            Self::Xdp => 6,
        }
    }

    /// `TC_ACT_UNSPEC` (`include/uapi/linux/pkt_cls.h`) and `XDP_PASS`.
    const fn verdict(self) -> i32 {
        match self {
            Self::Tc => -1,
            Self::Xdp => 2,
        }
    }
}

/// `enum bpf_cmd` (`include/uapi/linux/bpf.h`).
const PROG_LOAD: libc::c_int = 5;
const PROG_TEST_RUN: libc::c_int = 10;

/// `struct bpf_insn` (`include/uapi/linux/bpf.h`), without offset and source register.
#[repr(C)]
struct Instruction {
    code: u8,
    destination: u8,
    offset: i16,
    immediate: i32,
}

/// The beginning of the first unnamed `struct` for `BPF_PROG_LOAD` in `union bpf_attr`.
#[repr(C)]
struct LoadAttr {
    program_type: u32,
    instruction_count: u32,
    instructions: u64,
    license: u64,
    log_level: u32,
    log_size: u32,
    log: u64,
}

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

/// Loads a program of two instructions, which lets packets pass.
pub(crate) fn empty_program(hook: Hook) -> OwnedFd {
    const MOVE_TO_R0: u8 = 0xb7;
    const EXIT: u8 = 0x95;
    let instruction = |code, immediate| Instruction { code, destination: 0, offset: 0, immediate };
    let program = [instruction(MOVE_TO_R0, hook.verdict()), instruction(EXIT, 0)];
    let mut attr = LoadAttr {
        program_type: hook.program_type(),
        instruction_count: 2,
        instructions: program.as_ptr() as u64,
        license: c"GPL".as_ptr() as u64,
        log_level: 0,
        log_size: 0,
        log: 0,
    };
    // SAFETY: the pointers in `attr` are to two instructions and a string, which outlive the call.
    let loaded = unsafe { bpf(PROG_LOAD, &mut attr) }.expect("the kernel takes an empty program");
    // SAFETY: the kernel has just made this descriptor for us.
    unsafe { OwnedFd::from_raw_fd(loaded) }
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

/// # Safety
/// `T` is the command's argument, and its pointers are valid for what the command does with them.
unsafe fn bpf<T>(command: libc::c_int, attr: &mut T) -> io::Result<libc::c_int> {
    let attr = std::ptr::from_mut(attr);
    // SAFETY: `attr` is one `T`, of the size that is passed; the caller vouches for what is in it.
    let result = unsafe { libc::syscall(libc::SYS_bpf, command, attr, size_of::<T>()) };
    match libc::c_int::try_from(result) {
        Ok(result) if result >= 0 => Ok(result),
        _ => Err(io::Error::last_os_error()),
    }
}
