//! Whether this host translates addresses, as far as it can be asked: as root, and where the tree is of a device
//! that is here.

use rustix::process::geteuid;

use super::here::has_device;
use crate::{host::programs::run, tree::Provenance};

/// What translates, in either firewall's language.
const WORDS: [&str; 8] =
    ["masquerade", "snat", "dnat", "redirect", "MASQUERADE", "SNAT", "DNAT", "REDIRECT"];

pub(super) const WARNING: &str = "this host translates addresses: rules at the host do not see them as the \
    recording did; --at wire puts them where it stood, and conntrack audit --host --rules FILE tells the difference";

/// Whether rules that translate are in force here, if the recording may be of this machine.
pub(super) fn is_done_here(provenance: Option<&Provenance>) -> bool {
    has_device(provenance)
        && geteuid().is_root()
        && run("nft", &["-s", "list", "ruleset"], &[]).is_ok_and(|rules| translates(&rules))
}

fn translates(rules: &[u8]) -> bool {
    let text = String::from_utf8_lossy(rules);
    text.split(|it: char| !it.is_ascii_alphanumeric() && it != '_')
        .any(|word| WORDS.contains(&word))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_translates_is_told() {
        for rules in
            ["oifname \"eth0\" masquerade", "dnat to 10.0.0.2:80", "xt target \"MASQUERADE\""]
        {
            assert!(translates(rules.as_bytes()), "{rules}");
        }
        for rules in ["", "type nat hook prerouting priority dstnat;", "ct status dnatted"] {
            assert!(!translates(rules.as_bytes()), "{rules}");
        }
    }
}
