//! The kernel's version. Only a hint: distributions port things back, so what decides is trying.

use rustix::system::uname;

/// Of ring buffers, which the eBPF programs need, and of the capabilities for eBPF.
pub(crate) const EBPF: (u32, u32) = (5, 8);

/// From here on maps are charged to the control group and not locked memory.
pub(crate) const MAPS_ARE_NOT_LOCKED: (u32, u32) = (5, 11);

/// What the kernel calls itself.
pub(crate) fn release() -> String {
    uname().release().to_string_lossy().into_owned()
}

/// Major and minor number; those of a kernel that cannot be told are taken for the oldest.
pub(crate) fn version() -> (u32, u32) {
    parse(&release()).unwrap_or_default()
}

fn parse(release: &str) -> Option<(u32, u32)> {
    let mut numbers = release.split(|it: char| !it.is_ascii_digit());
    Some((numbers.next()?.parse().ok()?, numbers.next()?.parse().ok()?))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_release_starts_with_two_numbers() {
        for (release, version) in [
            ("6.18.44-fc", Some((6, 18))),
            ("5.8.0-63-generic", Some((5, 8))),
            ("6.6+", Some((6, 6))),
            ("unknown", None),
            ("", None),
        ] {
            assert_eq!(parse(release), version, "{release}");
        }
    }
}
