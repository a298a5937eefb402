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

impl Iptables {
    /// Loads a file with the commands of its header.
    pub fn load_once(host: &Namespace, file: &str) {
        Self::run(host, file, "# To load them");
    }

    /// Takes the chains away with the commands of the file's header.
    pub fn take_away(host: &Namespace, file: &str) {
        Self::run(host, file, "# To take them away");
    }

    /// Runs the commands below a line of the header.
    fn run(host: &Namespace, file: &str, below: &str) {
        let text = fs::read_to_string(file).expect("the file");
        let lines = text.lines().skip_while(|line| !line.contains(below)).skip(1);
        let commands: Vec<_> = lines.map_while(|line| line.strip_prefix("#   ")).collect();
        assert!(!commands.is_empty(), "{text}");
        let script = commands.join("\n").replace("FILE", file);
        host.run("sh", &["-c", &script]);
    }

    /// What is in force, of both families, without counters and times.
    pub fn saved(host: &Namespace) -> String {
        let saved = ["iptables-save", "ip6tables-save"].map(|save| host.run(save, &[]));
        let lines = saved.iter().flat_map(|saved| saved.lines());
        let lines = lines.filter(|line| !line.starts_with('#'));
        lines.map(|line| line.split(" [").next().unwrap_or(line).to_owned() + "\n").collect()
    }
}

impl Firewall for Iptables {
    const FORMAT: &'static str = "iptables";

    fn load(host: &Namespace, file: &str) {
        for restore in ["iptables-restore", "ip6tables-restore"] {
            host.run(restore, &["--noflush", "--test", file]);
        }
        Self::load_once(host, file);
        let once = Self::saved(host);
        Self::load_once(host, file);
        assert_eq!(Self::saved(host), once, "loaded again");
    }

    fn not_accepted(host: &Namespace, direction: Direction) -> u64 {
        let chain = match direction {
            Direction::In => "conntrack-input-rest",
            Direction::Out => "conntrack-output-rest",
            Direction::Else => "conntrack-forward-rest",
        };
        let packets = |iptables| {
            let rules = host.run(iptables, &["-L", chain, "-v", "-n", "-x"]);
            let count = rules.lines().find(|line| line.contains("dropped */")).expect("a rule");
            let packets = count.split_whitespace().next().map(str::parse::<u64>);
            packets.expect("a number").expect("a number")
        };
        packets("iptables") + packets("ip6tables")
    }
}
