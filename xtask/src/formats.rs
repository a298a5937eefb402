//! `cargo xtask formats`: the rules for ufw and firewalld, judged by the real ones. Each takes what
//! `conntrack rules` prints for a made-up tree, twice; then real traffic of all three directions and both families
//! has to pass, or not, as the tree says. What is done is in `formats/judge.py`.
//!
//! They are in a Debian of their own, which is kept in `target/xtask/formats`, and run in mount, PID and network
//! namespaces that end with this program.

use std::{fs, path::Path};

use anyhow::{Context as _, Result};

use crate::{
    folder::{self, start_anew},
    fresh::{
        debian::{Debian, Release},
        enter::beside_copy,
        kept::kept,
        root::Root,
        step::{Log, Steps},
    },
    privilege::demand_root,
    program,
    setup::{self, Purpose},
    workspace::Workspace,
};

const FIREWALLS: [&str; 2] = ["ufw", "firewalld"];

const MINIMUM: [&str; 1] = ["ca-certificates"];
/// With what they and the judge run.
const PACKAGES: &str = "dbus firewalld iproute2 iptables nftables procps python3 ufw";

/// Where a service was seen: its directory, from whom to whom, with both families.
struct Seen {
    directory: &'static str,
    from: [&'static str; 2],
    source_port: &'static str,
    to: [&'static str; 2],
    ports: &'static [u16],
}

const HOST: [&str; 2] = ["192.168.200.230", "fd00:200::230"];
const PEER: [&str; 2] = ["192.168.200.1", "fd00:200::1"];
const BEHIND: [&str; 2] = ["10.8.0.2", "fd00:8::2"];

/// As in `judge.py`.
const SEEN: [Seen; 6] = [
    Seen {
        directory: "in/tcp",
        from: PEER,
        source_port: "PORT",
        to: HOST,
        ports: &[22, 443, GONE],
    },
    Seen { directory: "in/udp", from: PEER, source_port: "PORT", to: HOST, ports: &[53] },
    Seen { directory: "out/tcp", from: HOST, source_port: "PORT", to: PEER, ports: &[443] },
    Seen { directory: "out/udp", from: HOST, source_port: "PORT", to: PEER, ports: &[53] },
    Seen { directory: "else/tcp", from: PEER, source_port: "40000", to: BEHIND, ports: &[5432] },
    Seen { directory: "else/udp", from: PEER, source_port: "40000", to: BEHIND, ports: &[53] },
];
/// Not in the tree of the script `fewer`.
const GONE: u16 = 9100;

/// Stops at the first firewall that does something else than its rules say.
pub(crate) fn run(release: &Release) -> Result<()> {
    demand_root("make namespaces and a Debian")?;
    let workspace = Workspace::find()?;
    setup::prepare(&workspace, Purpose::Loop)?;
    let conntrack = program::build(&workspace)?;
    let folder = folder::of_verb(&workspace, "formats")?;
    let _alone = folder::alone(&folder, "formats")?;
    let steps = Steps::new(&folder);
    let debian = Debian::find(release, &MINIMUM)?;
    let root = folder.join("root");
    let root = steps.take("debian", |log| kept(&workspace, &root, &debian, PACKAGES, log))?;
    for firewall in FIREWALLS {
        let given = folder.join("given");
        start_anew(&given)?;
        steps.take(firewall, |log| {
            give(&workspace, &conntrack, &given, firewall, log)?;
            judge(&workspace, &folder, &root, firewall, log)
        })?;
    }
    Ok(())
}

/// What the judge is given: scripts, and itself.
fn give(
    workspace: &Workspace,
    conntrack: &Path,
    given: &Path,
    firewall: &str,
    log: &Log,
) -> Result<()> {
    for (script, has_all, flags) in [
        ("learning", true, &[][..]),
        ("enforcing", true, &["--enforce"]),
        ("fewer", false, &["--enforce"]),
    ] {
        let tree = given.join("tree");
        start_anew(&tree)?;
        make_tree(&tree, has_all)?;
        let mut rules = workspace.program(&conntrack.display().to_string());
        rules.args(["rules", "--quiet", "--forward", "--format", firewall]).args(flags);
        log.run(rules.arg("--path").arg(&tree).arg("--output").arg(given.join(script)))?;
    }
    let judge = workspace.root.join("xtask/src/formats/judge.py");
    let copied = fs::copy(&judge, given.join("judge.py"));
    copied.map(drop).with_context(|| judge.display().to_string())
}

fn make_tree(tree: &Path, has_all: bool) -> Result<()> {
    for Seen { directory, from, source_port, to, ports } in &SEEN {
        let directory = tree.join(directory);
        fs::create_dir_all(&directory).with_context(|| directory.display().to_string())?;
        for port in ports.iter().filter(|port| has_all || **port != GONE) {
            for (from, to) in from.iter().zip(to) {
                let file = directory.join(format!("{from}-{source_port}-{to}-{port}"));
                fs::write(&file, "").with_context(|| file.display().to_string())?;
            }
        }
    }
    Ok(())
}

/// In a copy of the Debian, which may be written.
fn judge(
    workspace: &Workspace,
    folder: &Path,
    root: &Root,
    firewall: &str,
    log: &Log,
) -> Result<()> {
    const SCRIPT: &str = "cp -r \"$1\" \"$0/given\" && mount -t sysfs sysfs \"$0/sys\" && \
                          exec chroot \"$0\" python3 -B /given/judge.py \"$2\" /given";
    let scratch = folder.join("scratch");
    fs::create_dir_all(&scratch).with_context(|| scratch.display().to_string())?;
    let mut inside = beside_copy(workspace, root, &scratch);
    inside.args(["sh", "-c", SCRIPT]).arg(scratch.join("root"));
    log.run(inside.arg(folder.join("given")).arg(firewall))
}
