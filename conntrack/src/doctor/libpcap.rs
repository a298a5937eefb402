//! Which libpcap this program runs with.

use super::check::Check;

#[cfg(not(feature = "pcap"))]
pub(super) fn check() -> Check {
    let fix = "build it with the feature `pcap`, or use --mode ebpf";
    Check::no("libpcap", super::Keeps::PCAP, "this program was built without", fix)
}

/// Its version is part of the library's file name; the crate has no call for it.
#[cfg(feature = "pcap")]
pub(super) fn check() -> Check {
    let maps = std::fs::read_to_string("/proc/self/maps").unwrap_or_default();
    judge(version(&maps))
}

#[cfg(feature = "pcap")]
fn judge(version: Option<&str>) -> Check {
    let Some(version) = version else { return Check::ok("libpcap", "linked in") };
    let mut numbers = version.split('.').map(|number| number.parse::<u32>().unwrap_or_default());
    if (numbers.next(), numbers.next()) < (Some(1), Some(10)) {
        let found = format!("{version}, whose reader does not hear at once that it should stop");
        return Check::warn("libpcap", found, "update libpcap to 1.10");
    }
    Check::ok("libpcap", version)
}

#[cfg(feature = "pcap")]
fn version(maps: &str) -> Option<&str> {
    maps.lines().find_map(|line| line.rsplit_once("/libpcap.so.").map(|(_, version)| version))
}

#[cfg(all(test, feature = "pcap"))]
mod tests {
    use super::*;

    #[test]
    fn the_version_is_in_the_file_s_name() {
        let maps = "7f00-7f01 r--p 00000000 fe:00 1 /usr/lib/libc.so.6\n\
                    7f01-7f02 r-xp 00000000 fe:00 2 /usr/lib/libpcap.so.1.10.5\n";
        assert_eq!(version(maps), Some("1.10.5"));
        assert_eq!(version(""), None);
    }

    #[test]
    fn before_1_10_is_old() {
        for (version, is_fine) in
            [(Some("1.10.5"), true), (Some("1.9.1"), false), (Some("2.0"), true), (None, true)]
        {
            assert_eq!(judge(version).fix.is_none(), is_fine, "{version:?}");
        }
    }
}
