//! Loading the programs into the kernel, and telling what it means when the kernel refuses.

use std::{error::Error, io, iter};

use aya::{
    Ebpf, EbpfLoader,
    programs::{ProgramError, SchedClassifier, tc::TcError},
    sys::NetlinkError,
};
use conntrack_common::wire::LinkLayer;
use rustix::{
    io::Errno,
    process::{Resource, Rlimit, getrlimit, setrlimit},
};

use crate::source::SourceError;

/// Name of the TC classifier in the object, and of its filters on a device.
pub(super) const CLASSIFIER: &str = "conntrack";

/// Puts programs and maps into the kernel; nothing is attached yet.
pub(super) fn programs(link: LinkLayer, max_flows: u32) -> Result<Ebpf, SourceError> {
    raise_memlock();
    let mut ebpf = EbpfLoader::new()
        .override_global("LINK_LAYER", &(link as u8), true)
        .map_max_entries("FLOWS", max_flows)
        .load(aya::include_bytes_aligned!(concat!(env!("OUT_DIR"), "/conntrack-ebpf")))
        .map_err(|error| refusal("loading the maps", &error))?;
    classifier(&mut ebpf)?.load().map_err(|error| refusal("loading the program", &error))?;
    Ok(ebpf)
}

/// The TC classifier.
pub(super) fn classifier(ebpf: &mut Ebpf) -> Result<&mut SchedClassifier, SourceError> {
    let program = ebpf.program_mut(CLASSIFIER).ok_or("is not in the object".to_owned());
    let program =
        program.and_then(|program| program.try_into().map_err(|error| format!("{error}")));
    program.map_err(|why| SourceError::failed(CLASSIFIER, why))
}

/// Before Linux 5.11 the memory of maps counts as locked memory. Where the limit cannot be raised,
/// loading tells.
fn raise_memlock() {
    let hard = getrlimit(Resource::Memlock).maximum;
    let unlimited = Rlimit { current: None, maximum: None };
    let _unless_privileged = setrlimit(Resource::Memlock, unlimited)
        .or_else(|_| setrlimit(Resource::Memlock, Rlimit { current: hard, maximum: hard }));
}

/// What a refusal of bpf(2) means. EPERM is a matter of privilege; everything else is a kernel
/// that cannot: no bpf(2) at all (ENOSYS), an unknown map, program or attach type, a verifier that
/// knows less (EINVAL, EACCES).
pub(super) fn refusal(what: &'static str, error: &(dyn Error + 'static)) -> SourceError {
    match errno(error) {
        Some(Errno::PERM) => SourceError::Refused {
            what,
            why: "CAP_BPF, CAP_NET_ADMIN and CAP_PERFMON must be held in the initial user \
                  namespace, and no seccomp filter or lockdown forbid bpf(2); run it outside the \
                  container, or with --mode pcap",
        },
        Some(Errno::NOSYS) => SourceError::Unsupported("this kernel has no bpf(2)".to_owned()),
        _ => SourceError::Unsupported(format!("{what}: {}", one_line(error))),
    }
}

fn chain<'a>(error: &'a (dyn Error + 'static)) -> impl Iterator<Item = &'a (dyn Error + 'static)> {
    iter::successors(Some(error), |&error| error.source())
}

fn errno(error: &(dyn Error + 'static)) -> Option<Errno> {
    let code = chain(error).find_map(|error| {
        let io = error.downcast_ref::<io::Error>();
        io.map_or_else(|| netlink_error(error)?.raw_os_error(), io::Error::raw_os_error)
    });
    code.map(Errno::from_raw_os_error)
}

/// aya's netlink errors are not in the chain of sources that their wrappers give.
fn netlink_error<'a>(error: &'a (dyn Error + 'static)) -> Option<&'a NetlinkError> {
    let tc = match error.downcast_ref::<ProgramError>() {
        Some(ProgramError::NetlinkError(error)) => return Some(error),
        Some(ProgramError::TcError(error)) => Some(error),
        _ => error.downcast_ref::<TcError>(),
    };
    match tc {
        Some(TcError::NetlinkError(error)) => Some(error),
        _ => None,
    }
}

/// The error without the verifier's log, which can be thousands of lines.
fn one_line(error: &(dyn Error + 'static)) -> String {
    let words: Vec<_> = chain(error)
        .filter_map(|error| error.to_string().lines().next().map(str::to_owned))
        .collect();
    words.join(": ")
}
