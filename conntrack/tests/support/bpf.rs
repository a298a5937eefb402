//! Programs of somebody else: each is only a verdict, and is attached as the first of its hook; and
//! taking links off a device, as `bpftool link detach` does. aya has none of it.
#![expect(unsafe_code, reason = "bpf(2) reads and writes through pointers in its argument")]

use std::{
    io,
    os::fd::{AsRawFd as _, FromRawFd as _, OwnedFd},
};

use aya::programs::loaded_links;

use super::lab::Namespace;

/// `enum bpf_cmd` (`include/uapi/linux/bpf.h`).
mod command {
    pub const PROG_LOAD: libc::c_int = 5;
    pub const PROG_QUERY: libc::c_int = 16;
    pub const LINK_CREATE: libc::c_int = 28;
    pub const LINK_GET_FD_BY_ID: libc::c_int = 30;
    pub const LINK_DETACH: libc::c_int = 34;
}

/// `BPF_F_BEFORE`: before all that are there.
const BEFORE: u32 = 1 << 3;

/// `BPF_F_XDP_HAS_FRAGS`: packets may be in several pieces, so that the MTU may be above a page.
const HAS_FRAGS: u32 = 1 << 5;

/// Where programs are attached.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Hook {
    Ingress,
    Egress,
    Xdp,
}

impl Hook {
    /// `enum bpf_prog_type`.
    pub const fn program_type(self) -> u32 {
        match self {
            Self::Ingress | Self::Egress => 3,
            Self::Xdp => 6,
        }
    }

    /// `enum bpf_attach_type`.
    const fn attach_type(self) -> u32 {
        match self {
            Self::Ingress => 46,
            Self::Egress => 47,
            Self::Xdp => 37,
        }
    }
}

/// What becomes of every packet.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// The next program is asked.
    Next,
    /// No other program is asked.
    Accept,
    /// It is dropped.
    Drop,
}

/// An attached program; dropping it detaches it.
pub struct Foreign {
    link: OwnedFd,
    _program: OwnedFd,
}

impl Verdict {
    /// `TC_ACT_*` (`include/uapi/linux/pkt_cls.h`), `enum xdp_action`.
    const fn number(self, hook: Hook) -> i32 {
        match (self, hook) {
            (Self::Next | Self::Accept, Hook::Xdp) => 2,
            (Self::Drop, Hook::Xdp) => 1,
            (Self::Next, _) => -1,
            (Self::Accept, _) => 0,
            (Self::Drop, _) => 2,
        }
    }
}

impl Foreign {
    /// A program on a device of a namespace, the first of its hook.
    #[track_caller]
    pub fn new(namespace: &Namespace, device: &str, hook: Hook, verdict: Verdict) -> Self {
        Self::try_new(namespace, device, hook, verdict).expect("attached")
    }

    /// The same; the kernel may refuse it.
    ///
    /// # Errors
    /// The kernel's refusal.
    pub fn try_new(
        namespace: &Namespace,
        device: &str,
        hook: Hook,
        verdict: Verdict,
    ) -> io::Result<Self> {
        let index = index(namespace, device);
        let program = load(hook, verdict);
        let link = namespace.enter(|| attach(&program, index, hook))?;
        Ok(Self { link, _program: program })
    }

    /// Takes it off its device.
    pub fn detach(&self) {
        detach(&self.link).expect("detached");
    }
}

/// Takes the link of the first program on a hook off its device.
#[track_caller]
pub fn detach_first(namespace: &Namespace, device: &str, hook: Hook) {
    let link = if hook == Hook::Xdp {
        let program = xdp_program(namespace, device);
        let mut links = loaded_links().filter_map(Result::ok);
        links.find(|link| link.program_id() == program).expect("an XDP link").id()
    } else {
        let index = index(namespace, device);
        *namespace.enter(|| links(index, hook)).expect("a list").first().expect("one")
    };
    detach(&link_by_id(link).expect("a link")).expect("detached");
}

/// How many programs are on a TCX hook.
pub fn number_on(namespace: &Namespace, device: &str, hook: Hook) -> usize {
    let index = index(namespace, device);
    namespace.enter(|| links(index, hook)).expect("a list").len()
}

fn xdp_program(namespace: &Namespace, device: &str) -> u32 {
    let shown = namespace.run("ip", &["-d", "link", "show", "dev", device]);
    let (_, id) = shown.split_once("prog/xdp id ").expect("an XDP program");
    id.split_whitespace().next().and_then(|id| id.parse().ok()).expect("a number")
}

fn index(namespace: &Namespace, device: &str) -> u32 {
    let shown = namespace.run("ip", &["-o", "link", "show", "dev", device]);
    shown.split(':').next().and_then(|index| index.trim().parse().ok()).expect("an index")
}

/// `struct bpf_insn`, without offset and source register.
#[repr(C)]
struct Instruction {
    code: u8,
    destination: u8,
    offset: i16,
    immediate: i32,
}

/// The beginning of the argument of `BPF_PROG_LOAD`.
#[repr(C)]
struct LoadAttr {
    program_type: u32,
    instruction_count: u32,
    instructions: u64,
    license: u64,
    log_level: u32,
    log_size: u32,
    log: u64,
    kernel_version: u32,
    flags: u32,
}

/// The argument of `BPF_LINK_CREATE`.
#[repr(C)]
#[derive(Default)]
struct LinkAttr {
    program: u32,
    index: u32,
    attach_type: u32,
    flags: u32,
    relative: u32,
    padding: u32,
    revision: u64,
}

/// The argument of `BPF_PROG_QUERY`.
#[repr(C)]
#[derive(Default)]
struct QueryAttr {
    index: u32,
    attach_type: u32,
    flags: u32,
    attach_flags: u32,
    programs: u64,
    count: u32,
    padding: u32,
    program_flags: u64,
    links: u64,
    link_flags: u64,
    revision: u64,
}

/// Loads a program of two instructions.
pub fn load(hook: Hook, verdict: Verdict) -> OwnedFd {
    const MOVE_TO_R0: u8 = 0xb7;
    const EXIT: u8 = 0x95;
    let instruction = |code, immediate| Instruction { code, destination: 0, offset: 0, immediate };
    let program = [instruction(MOVE_TO_R0, verdict.number(hook)), instruction(EXIT, 0)];
    let mut attr = LoadAttr {
        program_type: hook.program_type(),
        instruction_count: 2,
        instructions: program.as_ptr() as u64,
        license: c"GPL".as_ptr() as u64,
        log_level: 0,
        log_size: 0,
        log: 0,
        kernel_version: 0,
        flags: if hook == Hook::Xdp { HAS_FRAGS } else { 0 },
    };
    // SAFETY: the pointers in `attr` are to two instructions and a string, which outlive the call.
    let loaded = unsafe { bpf(command::PROG_LOAD, &mut attr) }.expect("a verdict is a program");
    // SAFETY: the kernel has just made this descriptor for us.
    unsafe { OwnedFd::from_raw_fd(loaded) }
}

fn attach(program: &OwnedFd, index: u32, hook: Hook) -> io::Result<OwnedFd> {
    let mut attr = LinkAttr {
        program: program.as_raw_fd().cast_unsigned(),
        index,
        attach_type: hook.attach_type(),
        flags: if hook == Hook::Xdp { 0 } else { BEFORE },
        ..LinkAttr::default()
    };
    // SAFETY: there is no pointer in `attr`.
    let link = unsafe { bpf(command::LINK_CREATE, &mut attr) }?;
    // SAFETY: the kernel has just made this descriptor for us.
    Ok(unsafe { OwnedFd::from_raw_fd(link) })
}

/// Links on a TCX hook, first to last.
fn links(index: u32, hook: Hook) -> io::Result<Vec<u32>> {
    let mut links = [0_u32; 64];
    let mut programs = [0_u32; 64];
    let mut attr = QueryAttr {
        index,
        attach_type: hook.attach_type(),
        programs: programs.as_mut_ptr() as u64,
        count: 64,
        links: links.as_mut_ptr() as u64,
        ..QueryAttr::default()
    };
    // SAFETY: the pointers in `attr` are to room for as many numbers as it says.
    unsafe { bpf(command::PROG_QUERY, &mut attr) }?;
    Ok(links[..attr.count as usize].to_vec())
}

fn link_by_id(id: u32) -> io::Result<OwnedFd> {
    // The identifier, the next one, and flags to open it with.
    let mut attr = [id, 0, 0];
    // SAFETY: there is no pointer in `attr`.
    let link = unsafe { bpf(command::LINK_GET_FD_BY_ID, &mut attr) }?;
    // SAFETY: the kernel has just made this descriptor for us.
    Ok(unsafe { OwnedFd::from_raw_fd(link) })
}

fn detach(link: &OwnedFd) -> io::Result<()> {
    let mut attr = [link.as_raw_fd().cast_unsigned()];
    // SAFETY: there is no pointer in `attr`.
    unsafe { bpf(command::LINK_DETACH, &mut attr) }.map(|_zero| ())
}

/// bpf(2); what it returns, a descriptor for some commands.
///
/// # Errors
/// The kernel's.
///
/// # Safety
/// `T` is the command's argument, and its pointers are valid for what the command does with them.
pub unsafe fn bpf<T>(command: libc::c_int, attr: &mut T) -> io::Result<libc::c_int> {
    let attr = std::ptr::from_mut(attr);
    // SAFETY: `attr` is one `T`, of the size that is passed; the caller vouches for what is in it.
    let result = unsafe { libc::syscall(libc::SYS_bpf, command, attr, size_of::<T>()) };
    match libc::c_int::try_from(result) {
        Ok(result) if result >= 0 => Ok(result),
        _ => Err(io::Error::last_os_error()),
    }
}
