//! Whether a recording is of this machine, and what programs here listen to then.

use std::{collections::BTreeSet, io, net::SocketAddr};

use crate::{
    host::{self, addresses, device::Device, joined, netlink::Connection},
    recording::Recording,
    tree::Provenance,
};

/// Whether a recorded device is here, and the machine has no other name.
pub(super) fn has_device(provenance: Option<&Provenance>) -> bool {
    let is_here = |it: &Provenance| {
        let device = it.devices.iter().any(|name| Device::find(name).is_ok());
        device && !is_of_another(it)
    };
    provenance.is_some_and(is_here)
}

/// Whether it was recorded on a machine that has another name.
fn is_of_another(provenance: &Provenance) -> bool {
    provenance.host.is_some() && provenance.host != host::name()
}

/// Groups and ports that programs here listen to, if the recording is of this machine. What cannot be asked for
/// is not known.
pub(super) fn listened_to(recording: &Recording) -> BTreeSet<SocketAddr> {
    let is_of_here =
        has_device(recording.provenance.as_ref()) && has_own_address(recording).unwrap_or_default();
    let listened_to = is_of_here.then(joined::listened_to);
    listened_to.and_then(Result::ok).unwrap_or_default()
}

/// Whether an address of this machine was recorded as its own.
fn has_own_address(recording: &Recording) -> io::Result<bool> {
    let addresses = addresses::of_all_devices(&mut Connection::to_route()?)?;
    let mut own = recording.records.iter().filter_map(|it| it.connection.own_address());
    Ok(own.any(|address| addresses.contains(&address)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_recording_of_another_machine_is_not_of_this_one() {
        let of = |host: Option<String>| Provenance { host, ..Provenance::default() };
        assert!(is_of_another(&of(Some("no such host".to_owned()))));
        assert!(!is_of_another(&of(host::name())));
        assert!(!is_of_another(&of(None)), "it does not tell");
    }
}
