//! The commands at the top of the file: they load it and take it away, and are what follows three spaces.

use std::fmt;

use super::{
    places::{FILTER, HELPERS, Jump, MANGLE, RAW, all_chains},
    sets::LINE,
};
use crate::rules::{rule_set::RuleSet, vocabulary::Standing};

/// Our sets. What rules still use is not destroyed.
const SETS: &str = "$(ipset list -n 2>/dev/null | grep '^conntrack-')";

pub(super) fn write(f: &mut fmt::Formatter<'_>, rule_set: &RuleSet, jumps: &[Jump]) -> fmt::Result {
    writeln!(f, "# Other rules stay as they are, and judge what is accepted here.")?;
    writeln!(f, "# To load them, as root, now and whenever they have changed:")?;
    if rule_set.request.ipset {
        writeln!(f, "#   sed -n 's/^{LINE}//p' FILE | ipset -exist restore")?;
    }
    write_command(f, "$i-restore --noflush FILE")?;
    let helpers = HELPERS.iter().filter(|_| !rule_set.helpers.is_empty());
    for Jump { table, from, to } in jumps.iter().chain(helpers) {
        let jump = format!("{from} -j {to}");
        let options = format!("-t {table}");
        write_command(f, &format!("$i {options} -C {jump} 2>/dev/null || $i {options} -I {jump}"))?;
    }
    // The file itself empties what stood at the host.
    if rule_set.request.standing == Standing::Host {
        write_for_chains(f, MANGLE, "-F")?;
    }
    if rule_set.request.ipset {
        writeln!(f, "#   for s in {SETS}; do ipset destroy $s 2>/dev/null || :; done")?;
    }
    writeln!(f, "# To take them away:")?;
    for Jump { table, from, to } in Jump::all() {
        let command = format!("$i -t {table} -D {from} -j {to} 2>/dev/null");
        write_command(f, &format!("while {command}; do :; done"))?;
    }
    for table in [FILTER, MANGLE, RAW] {
        write_for_chains(f, table, "-F")?;
        write_for_chains(f, table, "-X")?;
    }
    // The kernel lets go of what rules used a moment after they are gone.
    let again = "{ sleep 1; ipset destroy $s; }";
    writeln!(f, "#   for s in {SETS}; do ipset destroy $s 2>/dev/null || {again}; done")
}

fn write_for_chains(f: &mut fmt::Formatter<'_>, table: &str, verb: &str) -> fmt::Result {
    let chains = all_chains(table).join(" ");
    let command = format!("$i -t {table} {verb} $c 2>/dev/null || :");
    write_command(f, &format!("for c in {chains}; do {command}; done"))
}

/// One for both families; that something is not there is no failure.
fn write_command(f: &mut fmt::Formatter<'_>, command: &str) -> fmt::Result {
    writeln!(f, "#   for i in iptables ip6tables; do {command}; done")
}
