//! Which libpcap this program runs with.

use super::check::Check;

#[cfg(not(feature = "pcap"))]
pub(super) fn check() -> Check {
    let fix = "build it with the feature `pcap`, or use --mode ebpf";
    Check::no("libpcap", super::Keeps::PCAP, "this program was built without", fix)
}

#[cfg(feature = "pcap")]
pub(super) fn check() -> Check {
    judge(number(&crate::source::pcap::version()))
}

#[cfg(feature = "pcap")]
fn judge(version: Option<&str>) -> Check {
    let Some(version) = version else { return Check::ok("libpcap", "of an unknown version") };
    let mut numbers = version.split('.').map(|number| number.parse::<u32>().unwrap_or_default());
    if (numbers.next(), numbers.next()) < (Some(1), Some(10)) {
        let found = format!("{version}, whose reader does not hear at once that it should stop");
        return Check::warn("libpcap", found, "update libpcap to 1.10");
    }
    Check::ok("libpcap", version)
}

/// In what libpcap says of itself.
#[cfg(feature = "pcap")]
fn number(text: &str) -> Option<&str> {
    text.strip_prefix("libpcap version ")?.split(' ').next()
}

#[cfg(all(test, feature = "pcap"))]
mod tests {
    use super::*;

    #[test]
    fn the_number_is_told_from_what_is_said_about_it() {
        assert_eq!(number("libpcap version 1.10.5 (with TPACKET_V3)"), Some("1.10.5"));
        assert_eq!(number("libpcap version 1.9.1"), Some("1.9.1"));
        assert_eq!(number("something else"), None);
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
