//! Flags for watching a device or reading a capture file.

use std::{net::IpAddr, path::PathBuf, time::Duration};

use clap::{ArgAction, Parser};
use ipnet::IpNet;

use super::values::{interval, local, network, port, span, unique};
use crate::{
    host::{addresses::LocalAddrs, list::USUAL},
    tracker::{Family, Scope, Settings, UdpDirection},
    tree::Limits,
    watch::config::{ANY, Config, Ends, Hook, Input, Mode, TcHook, Verbosity, Watch},
};

/// Watches a network device and leaves a folder tree of who talks to whom, folded to what a
/// firewall rule needs.
#[derive(Clone, Debug, Parser)]
#[command(name = "conntrack", version = super::version::text(), after_help = AFTER_HELP)]
#[expect(clippy::struct_excessive_bools, reason = "each is a flag of its own")]
pub struct Args {
    /// Device to watch [default: eth0, or where there is none, the device of the default route]
    /// [repeatable: one tree, and the addresses of all are local]
    #[arg(short, long, value_name = "DEV", visible_short_alias = 'i', alias = "interface", help_heading = SOURCE)]
    pub device: Vec<String>,

    /// List the devices: name, kind, state and addresses
    #[arg(short = 'D', long, alias = "list-interfaces", help_heading = SOURCE)]
    pub list_devices: bool,

    /// How to watch: `auto` is eBPF, and libpcap where the kernel has none
    #[arg(short, long, value_enum, default_value_t = Mode::Auto, help_heading = SOURCE)]
    pub mode: Mode,

    /// Where eBPF looks at arriving packets; leaving ones are always seen at TC. XDP comes first, but
    /// does not see a VLAN tag that the NIC took off, and only one program can be there
    #[arg(long, value_enum, default_value_t = Hook::Tc, help_heading = SOURCE)]
    pub hook: Hook,

    /// Read a pcap or pcapng file instead of a device; `-` is standard input
    #[arg(short, long, value_name = "FILE", conflicts_with_all = ["device", "mode", "hook", "exit_on_device_loss", "existing", "learn"], help_heading = SOURCE)]
    pub read: Option<PathBuf>,

    /// An address of this machine that the device does not have: service addresses on `lo`, say. With --read
    /// an address of the machine that the file was captured on [repeatable]
    #[arg(long, value_name = "IP", value_delimiter = ',', value_parser = local, help_heading = SOURCE)]
    pub local: Vec<IpAddr>,

    /// Where the tree is written; made if it is missing
    #[arg(short, long, value_name = "DIR", required_unless_present = "list_devices", help_heading = TREE)]
    pub path: Option<PathBuf>,

    /// How often new connections are written; a number alone is seconds
    #[arg(long, value_name = "DURATION", default_value = "1s", value_parser = interval, help_heading = TREE)]
    pub interval: Duration,

    /// Files that the tree may hold: then no new ones are made in `else`; `in` and `out` go on
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u64).range(1..), help_heading = TREE)]
    pub max_files: Option<u64>,

    /// Files that `in` may hold: then no new ones are made there; 0 is no limit
    #[arg(long, value_name = "N", default_value_t = MAX_FILES, help_heading = TREE)]
    pub max_files_in: u64,

    /// Files that `out` may hold: then no new ones are made there; 0 is no limit
    #[arg(long, value_name = "N", default_value_t = MAX_FILES, help_heading = TREE)]
    pub max_files_out: u64,

    /// Inodes of the file system that stay free: with fewer, no new files are made in `else`, and with
    /// less than a fifth of that, none at all; 0 is no limit
    #[arg(long, value_name = "PERCENT", default_value_t = 5, value_parser = clap::value_parser!(u8).range(..=100), help_heading = TREE)]
    pub min_free_inodes: u8,

    /// Take DIR also where anybody could have made it and somebody else did, or where it is no tree and
    /// holds other things
    #[arg(long, help_heading = TREE)]
    pub force_path: bool,

    /// Leave out connections that are neither from nor to the device
    #[arg(short = 'e', long, help_heading = WHAT)]
    pub skip_else: bool,

    /// UDP port of a server on this machine: what it sends is answers [repeatable, or as in 53,123]
    #[arg(short, long, value_name = "PORT", value_delimiter = ',', value_parser = port, help_heading = WHAT)]
    pub udp_in: Vec<u16>,

    /// How answers are told from requests in UDP: by system `ports`, or by `pairs` of addresses and ports
    /// [default: ports]
    #[arg(long, value_enum, help_heading = WHAT)]
    pub udp_direction: Option<UdpDirection>,

    /// Record connections that are open already, from the kernel's sockets: at the start, and when the
    /// device comes back
    #[arg(long, help_heading = WHAT)]
    pub existing: bool,

    /// What firewall rules are best made from: `--udp-direction pairs --existing`
    #[arg(long, help_heading = WHAT)]
    pub learn: bool,

    /// Do not fold internet addresses of incoming connections into INTERNET
    #[arg(short = 'I', long, help_heading = WHAT)]
    pub no_internet_in: bool,

    /// Do not fold internet addresses of outgoing connections into INTERNET
    #[arg(short = 'O', long, help_heading = WHAT)]
    pub no_internet_out: bool,

    /// Network that is not to be folded into INTERNET [repeatable]
    #[arg(long, value_name = "CIDR", value_delimiter = ',', value_parser = network, help_heading = WHAT)]
    pub internal: Vec<IpNet>,

    /// IPv4 only
    #[arg(short = '4', conflicts_with = "ipv6", help_heading = WHAT)]
    pub ipv4: bool,

    /// IPv6 only
    #[arg(short = '6', help_heading = WHAT)]
    pub ipv6: bool,

    /// End after this time, as in 30m or 24h; a number alone is seconds
    #[arg(long, value_name = "DURATION", value_parser = span, help_heading = RUN)]
    pub duration: Option<Duration>,

    /// End once this many connections are new in the tree, at the end of that interval
    #[arg(short = 'c', long, value_name = "N", value_parser = clap::value_parser!(u64).range(1..), help_heading = RUN)]
    pub count: Option<u64>,

    /// End when a device goes away, instead of waiting for it
    #[arg(long, help_heading = RUN)]
    pub exit_on_device_loss: bool,

    /// Entries in the kernel's flow map
    #[arg(long, value_name = "N", default_value_t = 65_536, value_parser = clap::value_parser!(u32).range(1..=MAX_FLOWS), help_heading = RUN)]
    pub max_flows: u32,

    /// Once the device is open, go on as this user, with their groups: DIR has to be theirs to write.
    /// A name, a number, or UID:GID
    #[arg(long, value_name = "USER", value_parser = clap::builder::NonEmptyStringValueParser::new(), help_heading = RUN)]
    pub user: Option<String>,

    /// Write the counters there each interval, as metrics for Prometheus
    #[arg(long, value_name = "FILE", help_heading = RUN)]
    pub metrics_file: Option<PathBuf>,

    /// Tell each connection that is new, or of which more is known, as a line of JSON on standard output; where that
    /// is the journal, as an entry with fields
    #[arg(long, help_heading = RUN)]
    pub events: bool,

    /// Say nothing but errors and losses
    #[arg(short, long, conflicts_with = "verbose", help_heading = RUN)]
    pub quiet: bool,

    /// Print each connection that is new in the tree, and say more; given twice, the eBPF programs say which
    /// packets they skip and lose: the first of each cause in each interval
    #[arg(short, long, action = ArgAction::Count, help_heading = RUN)]
    pub verbose: u8,

    /// Which kind of TC hook: kernels since 6.6 have TCX, all have clsact
    #[arg(long, value_enum, default_value_t = TcHook::Auto, hide = true)]
    pub tc_hook: TcHook,
}

/// Headings of the help.
const SOURCE: &str = "What is watched";
const TREE: &str = "The tree";
const WHAT: &str = "What is recorded";
const RUN: &str = "The run";

const AFTER_HELP: &str = "\
Examples:
  conntrack -d eth0 -p /tmp/conntrack_data            watch eth0 until Ctrl-C
  conntrack -p /var/lib/who --learn --duration 24h    a day, to make rules from
  conntrack -p DIR -e -u 53,123                       serves DNS and NTP; leave others out
  conntrack -d eth0 -d wg0 -p DIR                     two devices, one tree
  conntrack -r file.pcap --local 192.0.2.7 -p DIR     from a capture of that machine
  conntrack rules -p DIR                              rules for what was seen

Files are named SRCIP-SRCPORT-DSTIP-DSTPORT, in DIR/{in,out,else}/{tcp,udp}/. SIGUSR1 prints the counters; \
SIGINT, SIGTERM, SIGHUP and SIGQUIT end it.

Exit status: 0 after one of them, --duration, -c or the end of a file; 1 when it could not do its work, or \
not all of a file's connections are in the tree; 2 for a wrong command line.";

/// More than the private peers of a busy host, fewer than the inodes of a small file system.
const MAX_FILES: u64 = 100_000;

/// 7 GiB of kernel memory, at about 112 bytes an entry.
const MAX_FLOWS: i64 = 1 << 26;

impl Args {
    pub(super) const fn verbosity(&self) -> Verbosity {
        match (self.quiet, self.verbose) {
            (true, _) => Verbosity::Quiet,
            (false, 0) => Verbosity::Normal,
            (false, 1) => Verbosity::Verbose,
            (false, _) => Verbosity::Programs,
        }
    }
}

impl From<Args> for Config {
    fn from(args: Args) -> Self {
        let verbosity = args.verbosity();
        let settings = Settings {
            family: family(&args),
            skip_else: args.skip_else,
            no_internet_in: args.no_internet_in,
            no_internet_out: args.no_internet_out,
            udp_servers: args.udp_in.into_iter().collect(),
            udp_direction: args.udp_direction.unwrap_or(if args.learn {
                UdpDirection::Pairs
            } else {
                UdpDirection::Ports
            }),
            scope: Scope::new(args.internal),
        };
        let limits = Limits {
            max_files: args.max_files,
            max_files_in: unless_none(args.max_files_in),
            max_files_out: unless_none(args.max_files_out),
            min_free_inodes: args.min_free_inodes,
        };
        let (input, local) = if let Some(file) = args.read {
            (Input::File(file), LocalAddrs::Fixed(args.local.into_iter().collect()))
        } else {
            let Args { device, mode, hook, tc_hook, exit_on_device_loss, .. } = args;
            let devices = if device.is_empty() { vec![USUAL.to_owned()] } else { unique(&device) };
            let besides = args.local.into_iter().collect();
            let local = if devices.iter().any(|it| it == ANY) {
                LocalAddrs::AllDevices
            } else {
                LocalAddrs::Devices { names: devices.clone(), besides }
            };
            let existing = args.existing || args.learn;
            let watch = Watch { devices, mode, hook, tc_hook, exit_on_device_loss, existing };
            (Input::Device(watch), local)
        };
        let Args { path, force_path, metrics_file, interval, max_flows, user, events, .. } = args;
        Self {
            input,
            local,
            settings,
            ends: Ends { after: args.duration, count: args.count },
            // Listing devices, which needs none, is no run.
            path: path.unwrap_or_default(),
            force_path,
            limits,
            metrics_file,
            interval,
            max_flows,
            user,
            verbosity,
            events,
        }
    }
}

const fn unless_none(limit: u64) -> Option<u64> {
    if limit == 0 { None } else { Some(limit) }
}

const fn family(args: &Args) -> Family {
    match (args.ipv4, args.ipv6) {
        (true, false) => Family::V4,
        (false, true) => Family::V6,
        _ => Family::Any,
    }
}
