//! The subcommands that read a tree, as typed: their flags and values.

use std::{collections::BTreeSet, path::PathBuf, time::Duration};

use clap::{ArgGroup, Args, Subcommand, ValueEnum, ValueHint};
use ipnet::IpNet;

use super::{
    place::Place,
    report::ReportArgs,
    show::ShowArgs,
    values::{aggregation, device, duration, network, port, unique},
};
use crate::{
    audit,
    host::addresses,
    rules::vocabulary::{Aggregation, Request, Standing},
};

/// Reading a tree.
#[derive(Clone, Debug, Subcommand)]
pub(super) enum ExportCommand {
    /// Show the connections of a tree, sorted and filtered
    #[command(after_help = super::show::HELP)]
    Show(ShowArgs),
    /// Make a page of a tree, to look at and to hand on
    #[command(after_help = super::report::HELP)]
    Report(ReportArgs),
    /// Print firewall rules that accept what a tree shows
    #[command(after_help = RULES_HELP)]
    Rules(RulesArgs),
    /// Show what is new, gone and unchanged from one tree to another
    #[command(after_help = DIFF_HELP)]
    Diff(DiffArgs),
    /// Tell which connections of a tree rules would accept
    #[command(after_help = AUDIT_HELP)]
    Audit(AuditArgs),
    /// List what the rules in force dropped, or would have, and accept it
    #[command(after_help = DROPPED_HELP)]
    Dropped(DroppedArgs),
}

const DROPPED_HELP: &str = "\
It asks nft and ipset, so it takes root. The rules of `conntrack rules` keep each for 8 days (those of iptables with \
--ipset), until they are loaded anew.

Examples:
  conntrack dropped -p DIR                                          what, how often, and its file
  conntrack dropped -p DIR --accept in/tcp/INTERNET-PORT-192.0.2.7-443
  conntrack dropped -p DIR --accept all                             then make the rules anew

Exit status: 0, or 1 when it could not do its work, or 2 for a wrong command line.";

const RULES_HELP: &str = "\
The rules go to standard output. Without --enforce nothing is refused: what no rule accepts is counted and \
logged. What has no rule, because nobody answered it or for another reason, is named at the top. json, csv, \
table and jsonl print every connection, `else` among them, with its evidence.

Examples:
  conntrack rules DIR -o learned.nft                  what would be refused is logged
  conntrack rules DIR --enforce -o enforcing.nft      what no rule accepts is refused
  conntrack rules DIR -f jsonl -o web1.jsonl          the recording itself, to be handed on
  conntrack rules --any-local-address web*.jsonl      the rules of several machines with one role

Exit status: 0, or 1 when it could not do its work, or 2 for a wrong command line.";

const DIFF_HELP: &str = "\
Example:
  conntrack diff /var/lib/who.october /var/lib/who    what is new since then
  conntrack diff -p a.jsonl -p b.jsonl --with c.jsonl what neither of two has

Exit status: 0 if both hold the same connections, 3 if not, 1 when it could not do its work, 2 for a wrong \
command line.";

const AUDIT_HELP: &str = "\
The kernel is the judge: the rules are loaded into a network namespace of their own, and the first packet of \
each connection is sent through them, and then the answer. What is refused is listed, and whether it is the \
connection or its answer. Nothing changes on this machine. It requires root, or user namespaces.

Examples:
  conntrack audit -p DIR --rules enforcing.nft        what would it refuse?
  conntrack audit -p DIR --host --attacks             what does this machine refuse, and let in?

Exit status: 0 if all connections are accepted, 3 if not, 1 when it could not do its work, 2 for a wrong \
command line.";

/// `conntrack rules`.
#[derive(Args, Clone, Debug)]
#[expect(clippy::struct_excessive_bools, reason = "each is a flag of its own")]
pub(super) struct RulesArgs {
    #[command(flatten)]
    pub(super) place: Place,

    /// Write to this file instead of standard output
    #[arg(short, long, value_name = "FILE")]
    pub(super) output: Option<PathBuf>,

    /// Say nothing but errors; warnings are in the rules
    #[arg(short, long)]
    pub(super) quiet: bool,

    /// What is printed: rules, or the connections themselves
    #[arg(short, long, value_enum, default_value_t = Format::Nftables)]
    pub(super) format: Format,

    /// Refuse what no rule accepts
    #[arg(long)]
    pub(super) enforce: bool,

    /// Make a forward chain of connections between others (else)
    #[arg(long)]
    pub(super) forward: bool,

    /// Where the rules stand: where this host translates addresses, only the wire is as it was recorded
    #[arg(long, value_enum, value_name = "PLACE", default_value_t = At::Host)]
    pub(super) at: At,

    /// With --format iptables: sets of ipset for many peers, and for what is dropped (conntrack dropped)
    #[arg(long)]
    pub(super) ipset: bool,

    /// What this systemd unit or container needs alone, as in nginx or nginx.service [repeatable]
    #[arg(long, value_name = "NAME")]
    pub(super) unit: Vec<String>,

    /// Rules for each unit by itself, with its name above them
    #[arg(long)]
    pub(super) by_unit: bool,

    /// UDP port of a server on this machine [repeatable]: it has a rule even if it is ephemeral
    #[arg(short, long, value_name = "PORT", value_delimiter = ',', value_parser = port)]
    pub(super) udp_in: Vec<u16>,

    /// Take in what was refused or never answered
    #[arg(long)]
    pub(super) unanswered: bool,

    /// With --forward: do not fold addresses outside the internal networks into INTERNET
    #[arg(long, requires = "forward")]
    pub(super) no_internet_forward: bool,

    /// Make rules of data connections of FTP and TFTP, instead of having netfilter's helpers let them through;
    /// always with ufw and firewalld
    #[arg(long)]
    pub(super) no_helpers: bool,

    /// Leave the own address out of the rules: it may be another one tomorrow
    #[arg(long)]
    pub(super) any_local_address: bool,

    /// Fold peers into networks of these prefix lengths, IPv4 and IPv6, as in 24,64
    #[arg(long, value_name = "V4,V6", value_parser = aggregation)]
    pub(super) aggregate: Option<Aggregation>,

    /// Network that is not INTERNET [repeatable]; give those that were given when it was recorded
    #[arg(long, value_name = "CIDR", value_delimiter = ',', value_parser = network)]
    pub(super) internal: Vec<IpNet>,

    /// Leave out what has not been seen for so long, as in 30d
    #[arg(long, value_name = "DURATION", value_parser = duration)]
    pub(super) since: Option<Duration>,

    /// The rules are for this device; without it, for every device [repeatable]
    #[arg(short, long, value_name = "DEV", value_parser = device)]
    pub(super) device: Vec<String>,
}

/// Where rules stand.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(super) enum At {
    /// At the input and output of this host.
    Host,
    /// Where the recording stood: before addresses are translated, and behind it.
    Wire,
}

/// What is printed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(super) enum Format {
    /// A file for `nft -f`.
    Nftables,
    /// A file for `iptables-restore` and `ip6tables-restore`.
    Iptables,
    /// A script of `ufw allow` lines.
    Ufw,
    /// A drop-in for one unit of systemd, with what it may talk to and which ports it may bind to.
    Systemd,
    /// A script that writes policies and ipsets for firewalld.
    Firewalld,
    /// The connections as JSON.
    Json,
    /// The connections as comma-separated values.
    Csv,
    /// The connections as a table for people.
    Table,
    /// The recording and its connections, an object a line: to be handed on, and read as a tree is.
    Jsonl,
}

/// `conntrack dropped`.
#[derive(Args, Clone, Debug)]
pub(super) struct DroppedArgs {
    /// The tree that the rules were made of; for a list, also a file of what -f jsonl prints
    #[arg(short, long, value_name = "DIR")]
    pub(super) path: PathBuf,

    /// Have rules accept this from now on: a file as it is listed, or `all` [repeatable]
    #[arg(long, value_name = "FILE")]
    pub(super) accept: Vec<String>,

    /// Network that is not INTERNET [repeatable]; give those that were given when it was recorded
    #[arg(long, value_name = "CIDR", value_parser = network)]
    pub(super) internal: Vec<IpNet>,
}

/// `conntrack diff`.
#[derive(Args, Clone, Debug)]
pub(super) struct DiffArgs {
    /// The tree from before, or a file of what -f jsonl prints
    #[arg(value_name = "DIR", value_hint = ValueHint::FilePath, required_unless_present = "path", requires = "other", conflicts_with_all = ["path", "with"])]
    one: Option<PathBuf>,

    /// The tree from after, likewise
    #[arg(value_name = "OTHER", value_hint = ValueHint::FilePath)]
    other: Option<PathBuf>,

    /// Instead of DIR: trees and files that are compared as one [repeatable]
    #[arg(short, long, value_name = "DIR", value_hint = ValueHint::FilePath, requires = "with")]
    path: Vec<PathBuf>,

    /// Instead of OTHER: those that they are compared with [repeatable]
    #[arg(long, value_name = "OTHER", value_hint = ValueHint::FilePath, requires = "path")]
    with: Vec<PathBuf>,

    /// List what is unchanged, too
    #[arg(short, long)]
    pub(super) all: bool,

    /// How it is told
    #[arg(short, long, value_enum, default_value_t = Telling::Table)]
    pub(super) format: Telling,
}

impl DiffArgs {
    /// What is compared, and with what.
    pub(super) fn sides(&self) -> (Vec<PathBuf>, Vec<PathBuf>) {
        let side = |one: &Option<PathBuf>, several: &[PathBuf]| {
            one.iter().chain(several).cloned().collect()
        };
        (side(&self.one, &self.path), side(&self.other, &self.with))
    }
}

impl RulesArgs {
    /// What they mean for the rules.
    pub(super) fn request(&self) -> Request {
        Request {
            standing: match self.at {
                At::Host => Standing::Host,
                At::Wire => Standing::Wire,
            },
            source_unknown: (self.at, self.format) == (At::Wire, Format::Iptables),
            ipset: self.ipset,
            enforce: self.enforce,
            forward: self.forward,
            unanswered: self.unanswered,
            no_internet_forward: self.no_internet_forward,
            no_helpers: self.no_helpers || matches!(self.format, Format::Ufw | Format::Firewalld),
            by_unit: self.by_unit,
            any_local_address: self.any_local_address,
            // What cannot be asked for is not warned of.
            changing: addresses::that_change().unwrap_or_default(),
            joined: BTreeSet::new(),
            udp_in: self.udp_in.iter().copied().collect(),
            aggregation: self.aggregate.unwrap_or(Aggregation::NONE),
            internal: self.internal.clone(),
            devices: unique(&self.device),
            since: self.since,
        }
    }
}

/// `conntrack audit`.
#[derive(Args, Clone, Debug)]
#[command(group = ArgGroup::new("sources").required(true).multiple(true).args(["rules", "iptables", "ip6tables", "host"]))]
pub(super) struct AuditArgs {
    #[command(flatten)]
    pub(super) place: Place,

    /// Rules, as for `nft -f`
    #[arg(short, long, value_name = "FILE")]
    pub(super) rules: Option<PathBuf>,

    /// Rules, as for `iptables-restore` and `ip6tables-restore`
    #[arg(long, value_name = "FILE")]
    pub(super) iptables: Option<PathBuf>,

    /// Rules for `ip6tables-restore`; those of --iptables are for IPv4 alone then
    #[arg(long, value_name = "FILE")]
    pub(super) ip6tables: Option<PathBuf>,

    /// Sets that the rules of --iptables refer to, as for `ipset restore`; ours are in the file of the rules
    #[arg(long, value_name = "FILE", requires = "iptables")]
    pub(super) ipset: Option<PathBuf>,

    /// What this machine has in force; with files, what would be if they were loaded here
    #[arg(long)]
    pub(super) host: bool,

    /// The device that was recorded, where the tree does not say it or it has another name here [repeatable]
    #[arg(short, long, value_name = "DEV", value_parser = device)]
    pub(super) device: Vec<String>,

    /// Leave out what is between others (else)
    #[arg(short = 'e', long)]
    pub(super) skip_else: bool,

    /// Tell, too, whether what nobody answered would be let in, and a sample of ports never seen
    #[arg(long)]
    pub(super) attacks: bool,

    /// Network that is not INTERNET [repeatable]; give those that were given when it was recorded
    #[arg(long, value_name = "CIDR", value_delimiter = ',', value_parser = network)]
    pub(super) internal: Vec<IpNet>,

    /// How it is told
    #[arg(short, long, value_enum, default_value_t = Telling::Table)]
    pub(super) format: Telling,
}

/// How something is told.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(super) enum Telling {
    /// Lines for people.
    Table,
    /// One object.
    Json,
}

impl AuditArgs {
    /// What they mean for the audit.
    pub(super) fn request(&self) -> audit::Request {
        audit::Request {
            sources: audit::Sources {
                host: self.host,
                nftables: self.rules.clone(),
                given: None,
                iptables: self.iptables.clone(),
                ip6tables: self.ip6tables.clone(),
                ipset: self.ipset.clone(),
            },
            devices: unique(&self.device),
            skip_else: self.skip_else,
            internal: self.internal.clone(),
            attacks: self.attacks,
        }
    }
}
