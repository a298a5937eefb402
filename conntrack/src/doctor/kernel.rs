//! The kernel by its version. Only a hint: distributions port things back, so what decides is trying.

use rustix::system::uname;

use super::Check;

/// Of ring buffers, which the programs need.
const EBPF: (u32, u32) = (5, 8);

pub(super) fn check() -> Check {
    let release = release();
    match parse(&release) {
        Some(version) if version >= EBPF => Check::ok("kernel", format!("Linux {release}")),
        _ => {
            let found = format!("Linux {release}; eBPF takes 5.8");
            Check::warn("kernel", found, "update the kernel, or use --mode pcap")
        }
    }
}

/// Major and minor number; those of a kernel that cannot be told are taken for the oldest.
pub(super) fn version() -> (u32, u32) {
    parse(&release()).unwrap_or_default()
}

fn release() -> String {
    uname().release().to_string_lossy().into_owned()
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
