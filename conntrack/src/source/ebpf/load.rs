//! Loading the programs into the kernel, and telling what it means when the kernel refuses.

use std::{error::Error, io, iter};

use aya::{
    Ebpf, EbpfLoader,
    maps::{Map, MapError},
    programs::{Program, ProgramError, ProgramType, SchedClassifier, Xdp, tc::TcError},
    sys::{BpfHelper, NetlinkError, is_helper_supported},
};
use conntrack_common::{pairs::Secret, wire::LinkLayer};
use rustix::{
    io::Errno,
    process::{Resource, Rlimit, getrlimit, setrlimit},
};

use crate::{
    host::{
        device::{Device, DeviceError},
        kernel,
    },
    source::{self, SourceError},
};

/// How the packets of a device are read, which the object has programs of its own for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// With an Ethernet header.
    Ethernet,
    /// Without a link header.
    Ip,
    /// From the network header on: others may stand before it.
    Tunnel,
}

impl Kind {
    /// That of a device.
    ///
    /// # Errors
    /// [`DeviceError::LinkLayer`] where its frames cannot be read.
    pub fn of(device: &Device) -> Result<Self, DeviceError> {
        Ok(match device.link_layer()? {
            _ if device.is_tunnel() => Self::Tunnel,
            LinkLayer::Ethernet => Self::Ethernet,
            _ => Self::Ip,
        })
    }

    /// Name of the TC classifier in the object.
    pub const fn classifier(self) -> &'static str {
        match self {
            Self::Ethernet => "conntrack",
            Self::Ip => "conntrack_ip",
            Self::Tunnel => "conntrack_tunnel",
        }
    }

    /// Name of the XDP program in the object. Tunnels have none of their own: it would not do for all of them.
    pub const fn xdp(self) -> &'static str {
        match self {
            Self::Ethernet => "conntrack_xdp",
            Self::Ip | Self::Tunnel => "conntrack_xdp_ip",
        }
    }
}

/// What programs are to know before they are loaded.
#[derive(Clone, Copy)]
pub(super) struct Constants {
    /// Entries in the flow map.
    pub(super) max_flows: u32,
    /// Whether packets are counted by device.
    pub(super) by_device: bool,
    /// Whether they say what they skip and lose.
    pub(super) says: bool,
}

/// Octets of the ring buffer for what the programs say: of each outcome once in an interval. The least
/// that there is, a page, where they say nothing.
const fn log_octets(says: bool) -> u32 {
    if says { 1 << 16 } else { 1 }
}

/// Puts maps into the kernel, for these programs to be loaded; nothing is attached yet.
///
/// # Errors
/// [`SourceError::Unsupported`] where this kernel cannot, [`SourceError::Refused`] where it may not,
/// [`SourceError::Exhausted`] where there is not enough of something.
pub(super) fn maps(constants: Constants) -> Result<Ebpf, SourceError> {
    maps_with(constants, &source::secret()?)
}

fn maps_with(constants: Constants, secret: &Secret) -> Result<Ebpf, SourceError> {
    let Constants { max_flows, by_device, says } = constants;
    raise_memlock();
    EbpfLoader::new()
        .override_global("BY_DEVICE", &u8::from(by_device), true)
        .override_global("WAKE_AT", &max_flows.div_ceil(2), true)
        .override_global("MAX_ELSE", &source::most_of_else(max_flows), true)
        .override_global("SECRET", secret, true)
        .override_global("SAYS", &u8::from(says), true)
        .override_global("ASKS_CGROUPS", &u8::from(tells_cgroups()), true)
        .map_max_entries("AYA_LOGS", log_octets(says))
        .map_max_entries("FLOWS", max_flows)
        .load(aya::include_bytes_aligned!(concat!(env!("OUT_DIR"), "/conntrack-ebpf")))
        .map_err(|error| refusal("loading the maps", error))
}

/// Whether this kernel has the helper that tells the control group of a packet's socket: one without control
/// groups for sockets (`CONFIG_SOCK_CGROUP_DATA`) does not. Where that cannot be told, loading tells.
fn tells_cgroups() -> bool {
    let tells =
        is_helper_supported(ProgramType::SchedClassifier, BpfHelper::BPF_FUNC_skb_cgroup_id);
    tells.unwrap_or(true)
}

/// Puts maps and the programs for one kind of devices into the kernel; nothing is attached. To try them on
/// packets of one's own, with a known key for the hash of UDP pairs.
///
/// # Errors
/// As [`maps`].
pub fn programs(kind: Kind, max_flows: u32, secret: &Secret) -> Result<Ebpf, SourceError> {
    let constants = Constants { max_flows, by_device: false, says: false };
    let mut ebpf = maps_with(constants, secret)?;
    classifier(&mut ebpf, kind)?;
    xdp(&mut ebpf, kind)?;
    Ok(ebpf)
}

/// The TC classifier for this kind of devices, which is put into the kernel the first time.
///
/// # Errors
/// As [`maps`]; that the object has none.
pub(super) fn classifier(ebpf: &mut Ebpf, kind: Kind) -> Result<&mut SchedClassifier, SourceError> {
    let classifier: &mut SchedClassifier = program(ebpf, kind.classifier())?;
    if classifier.fd().is_err() {
        classifier.load().map_err(|error| refusal("loading the TC program", error))?;
    }
    Ok(classifier)
}

/// The XDP program, likewise.
///
/// # Errors
/// As [`classifier`].
pub(super) fn xdp(ebpf: &mut Ebpf, kind: Kind) -> Result<&mut Xdp, SourceError> {
    let xdp: &mut Xdp = program(ebpf, kind.xdp())?;
    if xdp.fd().is_err() {
        xdp.load().map_err(|error| refusal("loading the XDP program", error))?;
    }
    Ok(xdp)
}

/// Takes a map out of the loaded object.
pub(super) fn map<M>(ebpf: &mut Ebpf, name: &'static str) -> Result<M, SourceError>
where
    M: TryFrom<Map, Error = MapError>,
{
    let map = ebpf.take_map(name);
    let map = map.ok_or_else(|| SourceError::failed(name, "is not in the object"))?;
    map.try_into().map_err(|error| refusal(name, error))
}

fn program<'a, P>(ebpf: &'a mut Ebpf, name: &'static str) -> Result<P, SourceError>
where
    P: TryFrom<&'a mut Program, Error = ProgramError>,
{
    let program = ebpf.program_mut(name);
    let program = program.ok_or_else(|| SourceError::failed(name, "is not in the object"))?;
    program.try_into().map_err(|error| SourceError::caused_by(name, error))
}

/// Before Linux 5.11 the memory of maps counts as locked memory. Where the limit cannot be raised,
/// loading tells.
fn raise_memlock() {
    let hard = getrlimit(Resource::Memlock).maximum;
    let unlimited = Rlimit { current: None, maximum: None };
    let _unless_privileged = setrlimit(Resource::Memlock, unlimited)
        .or_else(|_| setrlimit(Resource::Memlock, Rlimit { current: hard, maximum: hard }));
}

/// What a refusal of bpf(2) or rtnetlink means. EPERM is a matter of privilege. Too little memory or too
/// few descriptors are no reason to do without eBPF: they can be had. Everything else is a kernel that
/// cannot: no bpf(2) at all (ENOSYS), an unknown map, program or attach type, a verifier that knows less
/// (EINVAL, EACCES).
pub(super) fn refusal(
    what: &'static str,
    error: impl Error + Send + Sync + 'static,
) -> SourceError {
    log::debug!("{what}: {error}");
    let why = match errno(&error) {
        Some(Errno::PERM) => {
            let why = forbidden(kernel::version());
            return SourceError::Refused { what, why, source: error.into() };
        }
        // Of a program it is the verifier that gives up, after a million instructions.
        Some(Errno::TOOBIG) if is_of_program(&error) => {
            too_old(kernel::version()) + what + ": too complex for this kernel's verifier"
        }
        Some(errno) if let Some(advice) = missing_resource(errno) => {
            return SourceError::Exhausted { what, advice, source: error.into() };
        }
        Some(Errno::NOSYS) => "this kernel has no bpf(2)".to_owned(),
        _ => too_old(kernel::version()) + what + ": " + &one_line(&error),
    };
    SourceError::Unsupported { why, source: Some(error.into()) }
}

fn is_of_program(error: &(dyn Error + 'static)) -> bool {
    chain(error).any(<dyn Error + 'static>::is::<ProgramError>)
}

/// What to do where something is used up; `None` where the error is about something else.
fn missing_resource(errno: Errno) -> Option<&'static str> {
    match errno {
        Errno::NOMEM => Some(
            "not enough memory; lower --max-flows, or raise the limit of the control group \
             (systemd: MemoryMax=)",
        ),
        Errno::TOOBIG => Some("more flows than a map can hold; lower --max-flows"),
        Errno::MFILE => {
            Some("too many open files; raise the limit (ulimit -n, systemd: LimitNOFILE=)")
        }
        Errno::NFILE => Some("too many open files on this machine; raise fs.file-max"),
        _ => None,
    }
}

/// What EPERM can mean to who has the capabilities.
fn forbidden(version: (u32, u32)) -> &'static str {
    if version < kernel::MAPS_ARE_NOT_LOCKED {
        return "before Linux 5.11 maps are locked memory: run it as root, raise the limit (ulimit -l, \
                LimitMEMLOCK=), or use --mode pcap; nor may a seccomp filter or \
                lockdown forbid bpf(2)";
    }
    "CAP_BPF, CAP_NET_ADMIN and CAP_PERFMON must be held in the initial user namespace, and no seccomp \
     filter or lockdown forbid bpf(2); run it outside the container, or with --mode pcap"
}

/// What explains most of what an old kernel refuses, of which it says itself only that it is invalid.
fn too_old(version: (u32, u32)) -> String {
    let (major, minor) = kernel::EBPF;
    if version >= kernel::EBPF {
        return String::new();
    }
    format!("it takes Linux {major}.{minor}, this is {}.{}; ", version.0, version.1)
}

fn chain<'a>(error: &'a (dyn Error + 'static)) -> impl Iterator<Item = &'a (dyn Error + 'static)> {
    iter::successors(Some(error), |&error| error.source())
}

/// The system's error code, wherever aya has put it.
pub(super) fn errno(error: &(dyn Error + 'static)) -> Option<Errno> {
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

/// The error in a line. Of the verifier's log, which can be thousands of lines, it has what was wrong.
fn one_line(error: &(dyn Error + 'static)) -> String {
    if let Some(ProgramError::LoadError { io_error, verifier_log }) = error.downcast_ref() {
        let log = verifier_log.to_string();
        let objection = objection(&log).unwrap_or("nothing");
        return format!("{io_error}, and the verifier says: {objection}");
    }
    let words: Vec<_> = chain(error)
        .filter_map(|error| error.to_string().lines().next().map(str::to_owned))
        .collect();
    words.join(": ")
}

/// What the verifier says at the end of its log, before it sums up (`print_verification_stats`).
fn objection(log: &str) -> Option<&str> {
    const SUMS: [&str; 5] =
        ["verification time ", "stack depth ", "processed ", "insns processed ", "max_states_"];
    let mut lines = log.lines().rev().filter(|line| !line.trim().is_empty());
    lines.find(|line| !SUMS.iter().any(|sum| line.starts_with(sum)))
}

#[cfg(test)]
mod tests {
    use aya::sys::SyscallError;

    use super::*;

    #[test]
    fn what_is_used_up_is_no_reason_to_do_without_ebpf() {
        for errno in [Errno::NOMEM, Errno::TOOBIG, Errno::MFILE, Errno::NFILE] {
            let error = refusal("loading the maps", io::Error::from(errno));
            assert!(matches!(error, SourceError::Exhausted { .. }), "{error}");
            assert!(error.source().is_some());
        }
        let error = refusal("loading the maps", io::Error::from(Errno::INVAL));
        assert!(matches!(error, SourceError::Unsupported { .. }), "{error}");
    }

    #[test]
    fn a_program_that_is_too_complex_is_no_matter_of_flows() {
        let io_error = io::Error::from(Errno::TOOBIG);
        let call = "BPF_PROG_LOAD";
        let error = ProgramError::SyscallError(SyscallError { call, io_error });
        let error = refusal("loading the TC program", error);
        assert!(matches!(error, SourceError::Unsupported { .. }), "{error}");
        assert!(error.to_string().contains("too complex"), "{error}");
    }

    #[test]
    fn of_a_verifier_log_its_objection_is_told() {
        let log = "0: R1=ctx(off=0,imm=0) R10=fp0\n6742: (85) call bpf_skb_load_bytes#26\n\
                   R3 min value is outside of the allowed memory range\nverification time 35783 usec\n\
                   stack depth 104+56\nprocessed 755 insns (limit 1000000) max_states_per_insn 1\n\n";
        assert_eq!(objection(log), Some("R3 min value is outside of the allowed memory range"));
        assert_eq!(objection(""), None);
    }

    #[test]
    fn an_old_kernel_is_named() {
        assert_eq!(too_old((4, 19)), "it takes Linux 5.8, this is 4.19; ");
        assert_eq!(too_old((5, 8)), "");
    }

    #[test]
    fn where_maps_are_locked_memory_that_is_said() {
        assert!(forbidden((5, 10)).contains("LimitMEMLOCK="));
        assert!(!forbidden((5, 11)).contains("LimitMEMLOCK="));
    }
}
