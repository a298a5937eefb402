//! What is typed behind `conntrack` to read a tree: the subcommands and their flags. What they do
//! is the matter of the modules beside this one.

use std::{path::PathBuf, time::Duration};

use clap::{Args, Subcommand, ValueEnum};
use ipnet::IpNet;

use super::rule_set::{Aggregation, Options};
use crate::cli::network;

/// Reading a tree.
#[derive(Clone, Debug, Subcommand)]
pub enum ExportCommand {
    /// Print firewall rules that accept what a tree shows
    #[command(after_help = RULES_HELP)]
    Rules(RulesArgs),
    /// Show what is new, gone and unchanged from one tree to another
    #[command(after_help = DIFF_HELP)]
    Diff(DiffArgs),
    /// Tell which connections of a tree rules would accept
    #[command(after_help = AUDIT_HELP)]
    Audit(AuditArgs),
}

const RULES_HELP: &str = "\
The rules go to standard output. Without --enforce nothing is refused: what no rule accepts is
counted and logged. json, csv and table print every connection, `else` among them.
Exit status: 0, or 1 when it could not do its work, or 2 for a wrong command line.";

const DIFF_HELP: &str = "\
Exit status: 0 if both hold the same connections, 1 if not or when it could not do its work, 2 for a
wrong command line.";

const AUDIT_HELP: &str = "\
Understood are nftables rules of the form that `conntrack rules` prints; other lines are named and
left out. Rules are judged as if they were enforced. What no rule accepts is listed.
Exit status: 0 if all connections are accepted, 1 if not or when it could not do its work, 2 for a
wrong command line.";

/// `conntrack rules`.
#[derive(Args, Clone, Debug)]
pub struct RulesArgs {
    /// The tree
    #[arg(short, long, value_name = "DIR")]
    pub path: PathBuf,

    /// What is printed: rules, or the connections themselves
    #[arg(short, long, value_enum, default_value_t = Format::Nftables)]
    pub format: Format,

    /// Refuse what no rule accepts
    #[arg(long)]
    pub enforce: bool,

    /// Make a forward chain of what others say to each other (else)
    #[arg(long)]
    pub forward: bool,

    /// Fold peers into networks of these prefix lengths, IPv4 and IPv6, as in 24,64
    #[arg(long, value_name = "V4,V6", value_parser = aggregation)]
    pub aggregate: Option<Aggregation>,

    /// Network that is not INTERNET [repeatable]; give those that were given when it was recorded
    #[arg(long, value_name = "CIDR", value_parser = network)]
    pub internal: Vec<IpNet>,

    /// Leave out what has not been seen for so long, as in 30d
    #[arg(long, value_name = "DURATION", value_parser = duration)]
    pub since: Option<Duration>,

    /// The rules are for this device; without it, for every device
    #[arg(short, long, value_name = "DEV", value_parser = device)]
    pub device: Option<String>,
}

/// What is printed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Format {
    /// A file for `nft -f`.
    Nftables,
    /// A file for `iptables-restore` and `ip6tables-restore`.
    Iptables,
    /// The connections as JSON.
    Json,
    /// The connections as comma-separated values.
    Csv,
    /// The connections for the eye.
    Table,
}

/// `conntrack diff`.
#[derive(Args, Clone, Debug)]
pub struct DiffArgs {
    /// The tree from before
    #[arg(value_name = "DIR")]
    pub one: PathBuf,

    /// The tree from after
    #[arg(value_name = "OTHER")]
    pub other: PathBuf,

    /// List what is unchanged, too
    #[arg(short, long)]
    pub all: bool,
}

impl RulesArgs {
    /// What they mean for the rules.
    pub fn options(&self) -> Options {
        Options {
            enforce: self.enforce,
            forward: self.forward,
            aggregation: self.aggregate.unwrap_or(Aggregation::NONE),
            internal: self.internal.clone(),
            device: self.device.clone(),
            since: self.since,
        }
    }
}

/// `conntrack audit`.
#[derive(Args, Clone, Debug)]
pub struct AuditArgs {
    /// The tree
    #[arg(short, long, value_name = "DIR")]
    pub path: PathBuf,

    /// The rules, as for `nft -f`
    #[arg(short, long, value_name = "FILE")]
    pub rules: PathBuf,

    /// Network that is not INTERNET [repeatable]; give those that were given when it was recorded
    #[arg(long, value_name = "CIDR", value_parser = network)]
    pub internal: Vec<IpNet>,
}

fn aggregation(text: &str) -> Result<Aggregation, String> {
    let lengths = text.split_once(',').and_then(|(v4, v6)| {
        let (v4, v6) = (v4.parse().ok()?, v6.parse().ok()?);
        (v4 <= Aggregation::NONE.v4 && v6 <= Aggregation::NONE.v6).then_some(Aggregation { v4, v6 })
    });
    lengths.ok_or_else(|| "two prefix lengths, of IPv4 and IPv6, as in 24,64".to_owned())
}

fn duration(text: &str) -> Result<Duration, String> {
    humantime::parse_duration(text)
        .map_err(|_| "a duration is a number and a unit, as in 12h or 30d".to_owned())
}

/// As the kernel wants it (`dev_valid_name`), and without what would end a string of nftables.
fn device(text: &str) -> Result<String, String> {
    const LONGEST: usize = 15;
    let is_fine = |character: char| {
        character.is_ascii_graphic() && !matches!(character, '/' | ':' | '"' | '\\' | '*' | '+')
    };
    let is_name = !matches!(text, "" | "." | "..") && text.len() <= LONGEST;
    (is_name && text.chars().all(is_fine))
        .then(|| text.to_owned())
        .ok_or_else(|| "a device's name is up to 15 letters, digits and signs".to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_device_s_name_cannot_leave_its_quotes() {
        for name in ["eth0", "br-lan.7", "wg@0"] {
            assert_eq!(device(name).as_deref(), Ok(name));
        }
        for name in ["", "..", "a b", "a\"b", "a\\b", "a\nb", "eth*", "sixteen-letters-", "\u{e9}"]
        {
            assert!(device(name).is_err(), "{name:?}");
        }
    }

    #[test]
    fn an_aggregation_is_two_prefix_lengths() {
        assert_eq!(aggregation("24,64"), Ok(Aggregation { v4: 24, v6: 64 }));
        for text in ["24", "33,64", "24,129", "24,64,1", "-1,64", "a,b"] {
            assert!(aggregation(text).is_err(), "{text}");
        }
    }
}
