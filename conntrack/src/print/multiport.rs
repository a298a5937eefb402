//! Lists of ports as iptables' multiport match takes them, which is ufw's limit, too.

use crate::rules::vocabulary::PortRange;

/// What the multiport match takes; a range counts as two.
const PORTS_IN_LIST: usize = 15;

/// Lists that hold all of these ports: `80,443,8000:8010`.
pub(super) fn lists(ranges: &[PortRange]) -> Vec<String> {
    let mut lists = Vec::new();
    let mut rest = ranges;
    while !rest.is_empty() {
        let (list, later) = rest.split_at(in_one_list(rest));
        let ports: Vec<_> = list.iter().map(|range| range.text(":")).collect();
        lists.push(ports.join(","));
        rest = later;
    }
    lists
}

/// How many of these ranges fit.
fn in_one_list(ranges: &[PortRange]) -> usize {
    let taken = ranges.iter().scan(0, |taken, range| {
        *taken += if range.first == range.last { 1 } else { 2 };
        Some(*taken)
    });
    taken.take_while(|taken| *taken <= PORTS_IN_LIST).count()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_range_counts_as_two_ports() {
        let range = |first| PortRange { first, last: first + 1 };
        let ranges: Vec<_> = (0..9).map(|number| range(number * 10)).collect();
        let lists = lists(&ranges);
        let counts: Vec<_> = lists.iter().map(|list| list.matches(':').count()).collect();
        assert_eq!(counts, [7, 2]);
    }
}
