//! Where chains stand: at the host, or at the wire, where the recording saw packets. At the wire nothing is
//! translated yet when it arrives, and everything is when it leaves.

use crate::{
    print::words::hook as name,
    rules::vocabulary::{BaseChain, Standing},
};

/// Behind the tracking of connections, before their translation.
const ARRIVING: &str = "hook prerouting priority mangle";
/// Behind translation.
const LEAVING: &str = "hook postrouting priority srcnat + 50";

/// The hook of a chain, and the priority.
pub(super) fn hook(base: BaseChain, standing: Standing) -> String {
    match (standing, base) {
        (Standing::Host, base) => format!("hook {} priority filter", name(base)),
        (Standing::Wire, BaseChain::Input) => ARRIVING.to_owned(),
        (Standing::Wire, BaseChain::Output | BaseChain::Forward) => LEAVING.to_owned(),
    }
}

/// What passes a hook and is another chain's matter. What is masqueraded leaves with this host's address: to
/// the wire, it is this host's.
pub(super) const fn passing(base: BaseChain, standing: Standing) -> &'static [&'static str] {
    match (standing, base) {
        (Standing::Host, _) => &[],
        (Standing::Wire, BaseChain::Input) => {
            &["fib daddr type unicast accept comment \"passes through\""]
        }
        (Standing::Wire, BaseChain::Output) => {
            &["fib saddr type != local accept comment \"passes through\""]
        }
        (Standing::Wire, BaseChain::Forward) => &[
            "fib saddr type != unicast accept comment \"from this host\"",
            "ct status dnat accept comment \"judged when it arrived\"",
        ],
    }
}
