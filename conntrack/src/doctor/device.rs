//! The device that is to be watched.

use super::check::{Check, Keeps};
use crate::{
    host::{
        device::{Device, DeviceError, State},
        list::Default,
        netlink::Connection,
    },
    privilege,
    watch::config::ANY,
};

const SUBJECT: &str = "device";

/// Without a name, of the one that would be watched then.
pub(super) fn checks(names: &[String]) -> Vec<Check> {
    match names {
        [] => of_default(),
        [name] => of(name),
        several => several
            .iter()
            .flat_map(|name| of(name).into_iter().map(|check| check.about(name)))
            .collect(),
    }
}

fn of_default() -> Vec<Check> {
    match Default::find() {
        Ok(device) => of(&device.name),
        // This machine may be fine all the same.
        Err(error) => {
            let found = format!("none is named, and without a default route: {error}");
            vec![Check::warn(SUBJECT, found, "name one of these with -d")]
        }
    }
}

fn of(name: &str) -> Vec<Check> {
    if name == ANY {
        let fix = "name a device, or use --mode pcap";
        return vec![Check::no(
            SUBJECT,
            Keeps::EBPF,
            "eBPF watches devices by their names, not any",
            fix,
        )];
    }
    let device = match Device::find(name) {
        Ok(device) => device,
        Err(error) => return vec![missing(&error)],
    };
    if let Err(error) = device.link_layer() {
        let fix = "watch the device that carries what you want to see";
        return vec![Check::no(SUBJECT, Keeps::BOTH, error.to_string(), fix)];
    }
    let now = Connection::to_route().and_then(|mut it| State::of(&mut it, name)).ok().flatten();
    let mut checks = vec![state(name, now.as_ref())];
    checks.extend(xdp(&device, now.as_ref()));
    checks.extend(tcx(&device.kernel_name));
    checks.extend(filters(&device));
    checks
}

fn missing(error: &DeviceError) -> Check {
    Check::no(SUBJECT, Keeps::BOTH, error.to_string(), "name one of these with -d")
}

fn state(name: &str, now: Option<&State>) -> Check {
    let modes = match (privilege::for_ebpf().is_ok(), privilege::for_pcap().is_ok()) {
        (true, true) => "",
        (true, false) => " with --mode ebpf",
        (false, true) => " with --mode pcap",
        (false, false) => {
            let found = format!("{name} is there, but this user cannot watch it");
            let fix = "run it as root, or give it the privilege for a mode";
            return Check::no(SUBJECT, Keeps::BOTH, found, fix);
        }
    };
    if now.is_some_and(|now| !now.is_up) {
        let found = format!("{name} is down, so there is nothing to see; every mode waits for it");
        return Check::warn(SUBJECT, found, format!("ip link set dev {name} up"));
    }
    Check::ok(SUBJECT, format!("{name} can be watched{modes}"))
}

/// Only one program can be there.
fn xdp(device: &Device, now: Option<&State>) -> Option<Check> {
    const SUBJECT: &str = "XDP on the device";
    let name = &device.name;
    if device.is_tunnel() {
        return Some(Check::warn(SUBJECT, format!("{name} is a tunnel"), "use --hook tc"));
    }
    let is_taken = !now?.xdp_programs.is_empty();
    is_taken.then(|| {
        let found = format!(
            "{name} has an XDP program already, so --hook xdp would be refused, \
             and what it drops is not seen"
        );
        Check::warn(SUBJECT, found, "use --hook tc")
    })
}

/// Asking takes privilege, which has a line of its own where it is missing.
#[cfg(feature = "ebpf")]
fn tcx(name: &str) -> Option<Check> {
    use aya::programs::{SchedClassifier, TcAttachType};
    let both = [TcAttachType::Ingress, TcAttachType::Egress];
    let [arriving, leaving] =
        both.map(|side| Some(SchedClassifier::query_tcx(name, side).ok()?.1.len()));
    let found = format!("{} programs on arriving packets, {} on leaving ones", arriving?, leaving?);
    Some(Check::ok("TCX on the device", format!("{found}; ours go first and let them run")))
}

#[cfg(not(feature = "ebpf"))]
fn tcx(_: &str) -> Option<Check> {
    None
}

/// What matters where filters are used: before TCX, and with `--tc-hook clsact`.
#[cfg(feature = "ebpf")]
fn filters(device: &Device) -> Option<Check> {
    const SUBJECT: &str = "TC filters on the device";
    let others = crate::source::ebpf::probe::others_on(device).ok()?;
    let name = &device.name;
    if let Some(kind) = others.qdisc.filter(|kind| kind != "clsact") {
        let found = format!("{name} has a qdisc of the kind `{kind}` in the place of clsact");
        return Some(Check::warn(SUBJECT, found, "use TCX (Linux 6.6), or --mode pcap"));
    }
    if others.before_us.is_empty() {
        return Some(Check::ok(SUBJECT, "ours go first"));
    }
    let found = format!(
        "{} comes before ours, and what it takes is not seen with clsact",
        others.before_us.join(" and ")
    );
    Some(Check::warn(SUBJECT, found, "give it a priority above 1, or use TCX (Linux 6.6)"))
}

#[cfg(not(feature = "ebpf"))]
fn filters(_: &Device) -> Option<Check> {
    None
}
