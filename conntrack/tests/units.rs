//! Rules and connections by unit, out of trees whose files name them. No root, no device.

use std::{path::Path, time::UNIX_EPOCH};

use crate::{
    rules::{set_attribute, tree},
    support::conntrack,
};

const WEB: &str = "in/tcp/10.0.0.9-PORT-10.0.0.2-443";
const TIME: &str = "out/udp/10.0.0.2-PORT-INTERNET-123";
const BOTH: &str = "out/tcp/10.0.0.2-PORT-INTERNET-443";
const NOBODY: &str = "out/tcp/10.0.0.2-PORT-10.0.0.3-22";

const UNITS: &str = "user.conntrack.units";

fn recorded() -> tempfile::TempDir {
    let root = tree([WEB, TIME, BOTH, NOBODY].map(|path| (path, UNIX_EPOCH)));
    for (path, units) in [
        (WEB, "nginx.service"),
        (TIME, "chrony.service"),
        (BOTH, "chrony.service apt-daily.service"),
    ] {
        set_attribute(&root.path().join(path), UNITS, units);
    }
    root
}

#[track_caller]
fn printed(root: &Path, verb: &str, arguments: &[&str]) -> String {
    let output = conntrack().arg(verb).arg(root).args(arguments).output().expect("it runs");
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{arguments:?}: {said}");
    String::from_utf8(output.stdout).expect("UTF-8")
}

#[test]
fn records_and_rules_have_their_units() {
    let root = recorded();
    let csv = printed(root.path(), "rules", &["-f", "csv"]);
    assert!(csv.lines().next().expect("a header").ends_with(",units"), "{csv}");
    assert!(csv.contains(",chrony.service apt-daily.service\n"), "{csv}");
    let json = printed(root.path(), "rules", &["-f", "json"]);
    assert!(json.contains(r#""units":["chrony.service","apt-daily.service"]"#), "{json}");
    assert!(json.contains(r#""units":[]"#), "{json}");
    for format in ["nftables", "iptables"] {
        let rules = printed(root.path(), "rules", &["-f", format]);
        assert!(rules.contains(", by nginx.service\""), "{rules}");
        assert!(rules.contains(", by chrony.service apt-daily.service\""), "{rules}");
    }
}

#[test]
fn one_unit_alone_is_shown_and_has_rules() {
    let root = recorded();
    let shown = printed(root.path(), "show", &["--unit", "chrony", "-f", "csv"]);
    assert_eq!(shown.lines().count(), 3, "{shown}");
    let rules = printed(root.path(), "rules", &["--unit", "nginx.service"]);
    assert!(rules.contains("tcp dport 443") && !rules.contains("dport 123"), "{rules}");
    let output = conntrack().arg("rules").arg(root.path()).args(["--unit", "none"]).output();
    let said = output.expect("it runs").stderr;
    assert!(String::from_utf8_lossy(&said).contains("no connection of a unit none"));
    let drop_in = printed(root.path(), "rules", &["--unit", "nginx", "-f", "systemd"]);
    assert!(drop_in.ends_with("IPAddressAllow=10.0.0.9\nSocketBindAllow=tcp:443\nSocketBindDeny=tcp:1-65535\nSocketBindDeny=udp:1-65535\n"), "{drop_in}");
}

#[test]
fn rules_stand_below_their_units_and_what_is_nobodys_comes_last() {
    let root = recorded();
    let rules = printed(root.path(), "rules", &["--by-unit"]);
    let output = rules.split("chain output {").nth(1).expect("a chain");
    let lines: Vec<_> = output
        .lines()
        .map(str::trim)
        .filter(|line| {
            line.starts_with("# ")
                || line.contains("p dport ") && line.contains(", by ")
                || line.contains("dport 22 ")
        })
        .collect();
    let found: Vec<_> =
        lines.iter().map(|line| line.split(" ip ").next().expect("a word")).collect();
    assert_eq!(
        found,
        [
            "# apt-daily.service chrony.service",
            "tcp dport 443",
            "# chrony.service",
            "udp dport 123",
            "udp dport 123",
            "# no unit known",
            "tcp dport 22",
        ],
        "{rules}"
    );
}
