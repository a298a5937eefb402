//! The ports that a machine takes source ports from (`ip_local_port_range`).

use super::vocabulary::PortRange;
use crate::recording::Recording;

/// Linux's, unless told otherwise.
const USUAL: PortRange = PortRange { first: 32_768, last: 60_999 };

/// Those of the machine that was recorded.
pub(crate) fn ephemeral_ports(recording: &Recording) -> PortRange {
    let recorded = recording.provenance.as_ref().and_then(|it| it.ip_local_port_range);
    let recorded = recorded.map(|(first, last)| PortRange { first, last });
    recorded.filter(|range| range.first <= range.last).unwrap_or(USUAL)
}
