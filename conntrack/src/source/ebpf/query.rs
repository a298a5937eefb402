//! `BPF_PROG_QUERY` on a device's TCX hooks (Linux 6.6): which programs are there, first to last. aya
//! tells too, but opens each program, which takes more rights than we keep.
#![expect(unsafe_code, reason = "bpf(2) reads and writes through pointers in its argument")]

use std::{fmt, io};

use super::{
    path::TcPath,
    syscalls::{Command, bpf},
};

/// Programs that a hook has room for (`BPF_MPROG_MAX` in the kernel's `include/linux/bpf_mprog.h`).
const PROGRAMS: usize = 64;

/// `enum bpf_attach_type` (`include/uapi/linux/bpf.h`).
const TCX_INGRESS: u32 = 46;
const TCX_EGRESS: u32 = 47;

/// The `query` member of `union bpf_attr` (`include/uapi/linux/bpf.h`).
#[repr(C)]
struct QueryAttr {
    target_ifindex: u32,
    attach_type: u32,
    query_flags: u32,
    attach_flags: u32,
    prog_ids: u64,
    count: u32,
    padding: u32,
    prog_attach_flags: u64,
    link_ids: u64,
    link_attach_flags: u64,
    revision: u64,
}

/// A program on a hook.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Attached {
    pub(super) path: TcPath,
    pub(super) program: u32,
    /// 0 where it is attached without one.
    pub(super) link: u32,
}

/// In words, for a message.
impl fmt::Display for Attached {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "the TCX program with id {} on {}", self.program, self.path)
    }
}

/// The programs on the TCX hook of a device, first to last.
///
/// # Errors
/// The kernel's, also that it has no TCX (EINVAL).
pub(super) fn tcx(index: u32, path: TcPath) -> io::Result<Vec<Attached>> {
    let mut programs = [0_u32; PROGRAMS];
    let mut links = [0_u32; PROGRAMS];
    let mut attr = QueryAttr {
        target_ifindex: index,
        attach_type: match path {
            TcPath::Ingress => TCX_INGRESS,
            TcPath::Egress => TCX_EGRESS,
        },
        query_flags: 0,
        attach_flags: 0,
        prog_ids: programs.as_mut_ptr() as u64,
        count: u32::try_from(PROGRAMS).unwrap_or_default(),
        padding: 0,
        prog_attach_flags: 0,
        link_ids: links.as_mut_ptr() as u64,
        link_attach_flags: 0,
        revision: 0,
    };
    // SAFETY: the pointers in `attr` are to arrays with room for `count` numbers each.
    unsafe { bpf(Command::QueryPrograms, &mut attr)? };
    let count = PROGRAMS.min(attr.count as usize);
    let attached = programs.into_iter().zip(links).take(count);
    Ok(attached.map(|(program, link)| Attached { path, program, link }).collect())
}
