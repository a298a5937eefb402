//! Rules that the program makes of a tree, loaded into a firewall of a namespace.

use std::{
    fs,
    path::{Path, PathBuf},
};

use conntrack::connection::Direction;

use super::{conntrack, lab::Namespace};

/// The rules that a tree gives, in a file.
pub fn rules(tree: &Path, arguments: &[&str]) -> (tempfile::TempDir, PathBuf) {
    let output = conntrack().args(["rules", "-p"]).arg(tree).args(arguments).output();
    let output = output.expect("the program runs");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let scratch = tempfile::tempdir().expect("a scratch directory");
    let file = scratch.path().join("rules");
    fs::write(&file, output.stdout).expect("written");
    (scratch, file)
}

/// A firewall that loads a file of rules and counts what it did not accept.
pub trait Firewall {
    const FORMAT: &'static str;
    /// Loads the file twice, because rules are replaced when more was recorded.
    fn load(host: &Namespace, file: &str);
    /// Packets that reached the end of this direction's chain.
    fn not_accepted(host: &Namespace, direction: Direction) -> u64;
}

pub struct Nftables;

impl Firewall for Nftables {
    const FORMAT: &'static str = "nftables";

    fn load(host: &Namespace, file: &str) {
        host.run("nft", &["-c", "-f", file]);
        host.run("nft", &["-f", file]);
        host.run("nft", &["-f", file]);
    }

    fn not_accepted(host: &Namespace, direction: Direction) -> u64 {
        let chain = match direction {
            Direction::In => "input",
            Direction::Out => "output",
            Direction::Else => "forward",
        };
        let rules = host.run("nft", &["list", "chain", "inet", "conntrack_learned", chain]);
        let count = rules.lines().find(|line| line.contains("dropped\"")).expect("a last rule");
        let packets = count.split_whitespace().skip_while(|word| *word != "packets").nth(1);
        packets.and_then(|number| number.parse().ok()).expect("a number")
    }
}

pub struct Iptables;

impl Firewall for Iptables {
    const FORMAT: &'static str = "iptables";

    fn load(host: &Namespace, file: &str) {
        for restore in ["iptables-restore", "ip6tables-restore"] {
            host.run(restore, &["--test", file]);
            host.run(restore, &[file]);
            host.run(restore, &[file]);
        }
    }

    fn not_accepted(host: &Namespace, direction: Direction) -> u64 {
        let chain = if direction == Direction::In { "INPUT" } else { "OUTPUT" };
        let packets = |iptables| {
            let rules = host.run(iptables, &["-L", chain, "-v", "-n", "-x"]);
            let count = rules.lines().find(|line| line.contains("dropped */")).expect("a rule");
            let packets = count.split_whitespace().next().map(str::parse::<u64>);
            packets.expect("a number").expect("a number")
        };
        packets("iptables") + packets("ip6tables")
    }
}
