//! Rules as they are given to the programs that load them: files, and what this machine has in force.
//! Their language is not read here; only names and addresses are looked for in the text.

use std::{
    collections::BTreeSet,
    fs, io,
    net::IpAddr,
    path::{Path, PathBuf},
};

use ipnet::IpNet;

use crate::{
    host::programs::{self, ProgramError},
    print::iptables::sets::LINE,
    rules::addresses::Interval,
};

/// Where rules come from.
#[derive(Clone, Debug, Default)]
pub struct Sources {
    /// What this machine has in force. It is loaded first.
    pub host: bool,
    /// A file for `nft -f`.
    pub nftables: Option<PathBuf>,
    /// Rules for `nft -f` that were read or made already, and what messages call them.
    pub given: Option<(String, Vec<u8>)>,
    /// A file for `iptables-restore`, and for `ip6tables-restore` if it is for both.
    pub iptables: Option<PathBuf>,
    /// A file for `ip6tables-restore` alone.
    pub ip6tables: Option<PathBuf>,
    /// A file for `ipset restore`, loaded before them.
    pub ipset: Option<PathBuf>,
}

/// Why rules cannot be tried.
#[derive(Debug, thiserror::Error)]
pub enum RulesetError {
    /// A file that cannot be read.
    #[error("cannot read {}: {error}", .path.display())]
    File {
        /// Which.
        path: PathBuf,
        /// Why.
        error: io::Error,
    },
    /// What is in force cannot be listed.
    #[error("cannot list the rules of this machine: {0}")]
    List(ProgramError),
    /// Rules that are not taken.
    #[error("cannot load {what}: {complaint}")]
    Load {
        /// Which rules.
        what: String,
        /// Which program says so, and what.
        complaint: String,
    },
}

/// Something that a program loads.
#[derive(Clone, Debug)]
struct Part {
    /// As a message names it.
    what: String,
    program: &'static str,
    arguments: &'static [&'static str],
    text: Vec<u8>,
    /// The rules may be of the other family alone.
    is_optional: bool,
}

/// All parts, in the order in which they are loaded.
#[derive(Clone, Debug, Default)]
pub(super) struct Ruleset(Vec<Part>);

impl Ruleset {
    /// Reads files and lists what is in force here. Nothing is changed.
    ///
    /// # Errors
    /// What cannot be read or listed.
    pub(super) fn read(sources: &Sources) -> Result<Self, RulesetError> {
        let mut parts = Vec::new();
        if sources.host {
            parts.extend(host()?);
        }
        if let Some(path) = &sources.nftables {
            parts.push(Part::of_file(path, "nft", &NFT)?);
        }
        if let Some((what, text)) = &sources.given {
            let (what, text) = (what.clone(), text.clone());
            parts.push(Part { what, program: "nft", arguments: &NFT, text, is_optional: false });
        }
        if let Some(path) = &sources.ipset {
            parts.push(Part::of_file(path, "ipset", &IPSET)?);
        }
        let alone = sources.ip6tables.is_some();
        if let Some(path) = &sources.iptables {
            parts.extend(sets(&Part::of_file(path, "ipset", &IPSET)?));
            parts.extend(iptables(path, "iptables-restore", !alone)?);
            if !alone {
                parts.extend(iptables(path, "ip6tables-restore", true)?);
            }
        }
        if let Some(path) = &sources.ip6tables {
            parts.extend(iptables(path, "ip6tables-restore", false)?);
        }
        Ok(Self(parts))
    }

    /// Loads everything into the namespace of this thread; what was not loaded, because it is for the other
    /// family.
    ///
    /// # Errors
    /// Rules that are not taken.
    pub(super) fn load(&self) -> Result<Option<String>, RulesetError> {
        let mut of_other_family: Option<(&str, RulesetError)> = None;
        for part in &self.0 {
            match (part.load(), &of_other_family) {
                (Ok(()), _) => {}
                (Err(error), None) if part.is_optional => {
                    of_other_family = Some((part.program, error));
                }
                (Err(_), Some((program, _))) if part.is_optional && *program == part.program => {}
                // Of neither family.
                (Err(error), _) => {
                    let first = of_other_family.filter(|_| part.is_optional);
                    return Err(first.map_or(error, |(_, first)| first));
                }
            }
        }
        Ok(of_other_family.map(|(_, error)| format!("{error}; that family is judged without them")))
    }

    /// Whether the text has this word.
    pub(super) fn names(&self, word: &str) -> bool {
        self.words().any(|it| it == word)
    }

    /// Words of names, addresses and networks.
    fn words(&self) -> impl Iterator<Item = &str> {
        let texts = self.0.iter().filter_map(|part| str::from_utf8(&part.text).ok());
        texts.flat_map(|text| text.split(is_between_words)).filter(|word| !word.is_empty())
    }

    /// Where something begins or ends that rules say about addresses: between two neighbours, they treat
    /// all addresses alike.
    pub(super) fn intervals(&self) -> Vec<Interval> {
        self.words().filter_map(interval).collect()
    }
}

/// Whether a text has this word.
pub(super) fn has_word(text: &str, word: &str) -> bool {
    text.split(is_between_words).any(|it| it == word)
}

fn is_between_words(character: char) -> bool {
    !(character.is_ascii_alphanumeric() || matches!(character, '.' | ':' | '/' | '-' | '_' | '@'))
}

fn interval(word: &str) -> Option<Interval> {
    let address = |text: &str| text.parse::<IpAddr>().ok();
    if !word.contains(['.', ':']) {
        return None;
    }
    if let Some((first, last)) = word.split_once('-') {
        return Interval::new(address(first)?, address(last)?);
    }
    match word.split_once('/') {
        Some((network, mask)) if mask.contains('.') => {
            let network = IpNet::with_netmask(address(network)?, address(mask)?).ok()?;
            Some(network.into())
        }
        Some(_) => word.parse::<IpNet>().ok().map(Interval::from),
        None => address(word).map(|it| IpNet::from(it).into()),
    }
}

const NFT: [&str; 2] = ["-f", "-"];

/// What rules of iptables that refer to sets have.
const SETS: [&str; 4] = ["--match-set", "--add-set", "--del-set", "--map-set"];
const IPSET: [&str; 2] = ["-exist", "restore"];

/// The sets that a file of ours has in its comments.
fn sets(file: &Part) -> Option<Part> {
    let text = String::from_utf8_lossy(&file.text);
    let lines = text.lines().filter_map(|line| line.strip_prefix(LINE));
    let text: String = lines.flat_map(|line| [line, "\n"]).collect();
    (!text.is_empty()).then(|| Part { text: text.into_bytes(), ..file.clone() })
}

/// A file for iptables. Our own is of chains beside those that there are, and says at its top how to jump to
/// them.
fn iptables(
    path: &Path,
    program: &'static str,
    is_optional: bool,
) -> Result<Vec<Part>, RulesetError> {
    let mut part = Part { is_optional, ..Part::of_file(path, program, &[])? };
    let jumps = jumps(&part.text);
    if jumps.is_empty() {
        return Ok(vec![part]);
    }
    part.arguments = &[BESIDE];
    Ok(vec![part.clone(), Part { text: jumps.into_bytes(), ..part }])
}

/// Each jump that a comment at the top of the file tells to make, in its table.
fn jumps(text: &[u8]) -> String {
    let text = String::from_utf8_lossy(text);
    let comments = text.lines().take_while(|line| line.starts_with('#'));
    let jumps = comments.filter_map(|line| {
        let (before, jump) = line.split_once(" -I ")?;
        let table = before.rsplit_once(" -t ").map_or("filter", |(_, table)| table);
        let words: Vec<_> = jump.split([' ', ';']).collect();
        match words[..] {
            [hook, "-j", chain, ..] => Some(format!("*{table}\n-I {hook} -j {chain}\nCOMMIT\n")),
            _ => None,
        }
    });
    jumps.collect()
}

const BESIDE: &str = "--noflush";

impl Part {
    fn of_file(
        path: &Path,
        program: &'static str,
        arguments: &'static [&'static str],
    ) -> Result<Self, RulesetError> {
        let text =
            fs::read(path).map_err(|error| RulesetError::File { path: path.to_owned(), error })?;
        let what = path.display().to_string();
        Ok(Self { what, program, arguments, text, is_optional: false })
    }

    fn load(&self) -> Result<(), RulesetError> {
        let loaded = programs::run(self.program, self.arguments, &self.text);
        loaded.map(drop).map_err(|error| RulesetError::Load {
            what: self.what.clone(),
            complaint: error.to_string().replace(STANDARD_INPUT, &format!("{}:", self.what)),
        })
    }
}

/// What programs call what they are given.
const STANDARD_INPUT: &str = "/dev/stdin:";

/// What this machine has in force, of all that can filter: ipset, nftables, and iptables of either kind.
fn host() -> Result<Vec<Part>, RulesetError> {
    let mut parts = Vec::new();
    let mut managed = BTreeSet::new();
    for (table, text) in tables()? {
        if is_managed_by_iptables(&text) {
            managed.insert(table);
        } else {
            parts.push(Part::of_host("nft", &NFT, text));
        }
    }
    let mut iptables = Vec::new();
    for (family, save, restore) in [
        ("ip", "iptables-nft-save", "iptables-nft-restore"),
        ("ip6", "ip6tables-nft-save", "ip6tables-nft-restore"),
    ] {
        for table in managed.iter().filter(|table| table.starts_with(&format!("{family} "))) {
            let name = table.split(' ').nth(1).unwrap_or_default();
            let text = list(save, &["-t", name])?;
            iptables.push(Part::of_host(restore, &[BESIDE], text));
        }
    }
    for (names, save, restore) in [
        ("ip_tables_names", "iptables-legacy-save", "iptables-legacy-restore"),
        ("ip6_tables_names", "ip6tables-legacy-save", "ip6tables-legacy-restore"),
    ] {
        // Empty where nothing of this kind is in force, and asking would make it so.
        let tables = fs::read_to_string(format!("/proc/thread-self/net/{names}"));
        if tables.is_ok_and(|tables| !tables.trim().is_empty()) {
            iptables.push(Part::of_host(restore, &[], list(save, &[])?));
        }
    }
    let uses_sets =
        |part: &Part| SETS.iter().any(|it| String::from_utf8_lossy(&part.text).contains(it));
    if iptables.iter().any(uses_sets) {
        parts.push(Part::of_host("ipset", &["restore"], list("ipset", &["save"])?));
    }
    parts.extend(iptables);
    Ok(parts)
}

impl Part {
    fn of_host(program: &'static str, arguments: &'static [&'static str], text: Vec<u8>) -> Self {
        let what = "the rules of this machine".to_owned();
        Self { what, program, arguments, text, is_optional: false }
    }
}

/// The tables of nftables: family and name, and what `nft` lists of each.
fn tables() -> Result<Vec<(String, Vec<u8>)>, RulesetError> {
    let listed = list("nft", &["list", "tables"])?;
    let listed = String::from_utf8_lossy(&listed).into_owned();
    let tables = listed.lines().filter_map(|line| line.strip_prefix("table "));
    let text = |table: &str| -> Result<_, RulesetError> {
        let words: Vec<_> = ["-s", "list", "table"].into_iter().chain(table.split(' ')).collect();
        Ok((table.to_owned(), list("nft", &words)?))
    };
    tables.map(text).collect()
}

/// Whether there is something in the table that `nft` cannot print as its own.
fn is_managed_by_iptables(text: &[u8]) -> bool {
    let text = String::from_utf8_lossy(text);
    text.contains("is managed by iptables-nft")
        || ["xt match ", "xt target ", "# xt_"].iter().any(|word| text.contains(word))
}

fn list(program: &'static str, arguments: &[&str]) -> Result<Vec<u8>, RulesetError> {
    programs::run(program, arguments, &[]).map_err(RulesetError::List)
}

/// Rules of our own, for `nft`.
pub(super) fn load_own(text: &str) -> Result<(), RulesetError> {
    let what = "rules that keep the kernel from answering".to_owned();
    let text = text.as_bytes().to_vec();
    Part { what, program: "nft", arguments: &NFT, text, is_optional: false }.load()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ruleset(text: &str) -> Ruleset {
        Ruleset(vec![Part::of_host("nft", &NFT, text.as_bytes().to_vec())])
    }

    #[test]
    fn devices_are_named_by_whole_words() {
        let rules = ruleset("iif \"eth0.7\" accept; iifname { br-lan, wg0 } -i veth1 -j ACCEPT");
        for name in ["eth0.7", "br-lan", "wg0", "veth1"] {
            assert!(rules.names(name), "{name}");
        }
        for name in ["eth0", "lan", "veth"] {
            assert!(!rules.names(name), "{name}");
        }
    }

    #[test]
    fn addresses_are_found_in_any_language() {
        let text = "ip saddr { 10.0.0.1, 203.0.113.0/24 } -s 192.0.2.0/255.255.255.0 -d 2001:db8::/32\n\
            ip daddr 198.51.100.1-198.51.100.9 tcp dport 1-2 meta mark 0x1 ip6 saddr fe80::1";
        let found: Vec<_> = ruleset(text).intervals().iter().map(Interval::to_string).collect();
        let expected = [
            "10.0.0.1",
            "203.0.113.0/24",
            "192.0.2.0/24",
            "2001:db8::/32",
            "198.51.100.1-198.51.100.9",
            "fe80::1",
        ];
        assert_eq!(found, expected);
    }

    #[test]
    fn tables_of_iptables_are_told() {
        assert!(is_managed_by_iptables(
            b"# Warning: table ip filter is managed by iptables-nft, do not touch!\ntable ip filter"
        ));
        assert!(is_managed_by_iptables(b"counter packets 0 bytes 0 xt match \"addrtype\""));
        assert!(!is_managed_by_iptables(b"table ip filter { chain x { tcp dport 22 accept } }"));
    }

    #[test]
    fn ours_says_which_jumps_to_make() {
        let text = b"# To load them:\n#   for i in iptables; do $i -C INPUT -j conntrack-input || $i -I INPUT -j \
            conntrack-input; done\n*filter\n# $i -I OUTPUT -j nowhere;\n";
        assert_eq!(jumps(text), "*filter\n-I INPUT -j conntrack-input\nCOMMIT\n");
        assert_eq!(jumps(b"*filter\n-I INPUT -j ACCEPT\n"), "");
    }
}
