//! The command line as it is typed. What it means is decided in [`crate::config`].

use std::{net::IpAddr, path::PathBuf, time::Duration};

use clap::{Args as _, FromArgMatches as _, Parser, Subcommand as _, ValueEnum, error::ErrorKind};
use ipnet::IpNet;

use crate::{
    doctor::args::{DoctorArgs, DoctorCommand},
    export::args::ExportCommand,
};

/// Watches a network device and leaves a folder tree of who talks to whom, folded to what a
/// firewall rule needs.
#[derive(Clone, Debug, Parser)]
#[command(name = "conntrack", version, after_help = AFTER_HELP)]
#[expect(clippy::struct_excessive_bools, reason = "each is a flag of its own")]
pub struct Args {
    /// Device to watch
    #[arg(short, long, value_name = "DEV", default_value = "eth0")]
    pub device: String,

    /// Where the tree is written; made if it is missing
    #[arg(short, long, value_name = "DIR")]
    pub path: PathBuf,

    /// How to watch: `auto` is eBPF, and libpcap where the kernel has none
    #[arg(short, long, value_enum, default_value_t = Mode::Auto)]
    pub mode: Mode,

    /// Leave out connections that are neither from nor to the device
    #[arg(short = 'e', long)]
    pub skip_else: bool,

    /// UDP port of a server on this machine: what it sends is answers [repeatable]
    #[arg(short, long, value_name = "PORT", value_parser = port)]
    pub udp_in: Vec<u16>,

    /// Do not fold internet addresses of incoming connections into INTERNET
    #[arg(short = 'I', long)]
    pub no_internet_in: bool,

    /// Do not fold internet addresses of outgoing connections into INTERNET
    #[arg(short = 'O', long)]
    pub no_internet_out: bool,

    /// Network that is not to be folded into INTERNET [repeatable]
    #[arg(long, value_name = "CIDR", value_parser = network)]
    pub internal: Vec<IpNet>,

    /// IPv4 only
    #[arg(short = '4', conflicts_with = "ipv6")]
    pub ipv4: bool,

    /// IPv6 only
    #[arg(short = '6')]
    pub ipv6: bool,

    /// Where eBPF looks at arriving packets; leaving ones are always seen at TC. XDP comes first, but
    /// does not see a VLAN tag that the NIC took off, and only one program can be there
    #[arg(long, value_enum, default_value_t = Hook::Tc)]
    pub hook: Hook,

    /// End when the device goes away, instead of waiting for it
    #[arg(long)]
    pub exit_on_device_loss: bool,

    /// How often new connections are written
    #[arg(long, value_name = "DURATION", default_value = "1s", value_parser = interval)]
    pub interval: Duration,

    /// Entries in the kernel's flow map
    #[arg(long, value_name = "N", default_value_t = 65_536, value_parser = clap::value_parser!(u32).range(1..=MAX_FLOWS))]
    pub max_flows: u32,

    /// Files that the tree may hold: then no new ones are made in `else`; `in` and `out` go on
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u64).range(1..))]
    pub max_files: Option<u64>,

    /// Inodes of the file system that stay free: with fewer, no new files are made in `else`; 0 is
    /// no limit
    #[arg(long, value_name = "PERCENT", default_value_t = 5, value_parser = clap::value_parser!(u8).range(..=100))]
    pub min_free_inodes: u8,

    /// Read a pcap or pcapng file instead of a device; `-` is standard input
    #[arg(short, long, value_name = "FILE", requires = "local", conflicts_with_all = ["device", "mode", "hook", "exit_on_device_loss"])]
    pub read: Option<PathBuf>,

    /// With --read: an address of the machine that the file was captured on [repeatable]
    #[arg(long, value_name = "IP", requires = "read")]
    pub local: Vec<IpAddr>,

    /// Write the counters there each interval, as metrics for Prometheus
    #[arg(long, value_name = "FILE")]
    pub metrics_file: Option<PathBuf>,

    /// Once the device is open, go on as this user, with their groups: DIR has to be theirs to write
    #[arg(long, value_name = "NAME", value_parser = clap::builder::NonEmptyStringValueParser::new())]
    pub user: Option<String>,

    /// Take DIR also where anybody could have made it and somebody else did
    #[arg(long)]
    pub force_path: bool,

    /// Say nothing but errors and losses
    #[arg(short, long, conflicts_with = "verbose")]
    pub quiet: bool,

    /// Say more
    #[arg(short, long)]
    pub verbose: bool,

    /// Which kind of TC hook: kernels since 6.6 have TCX, all have clsact
    #[arg(long, value_enum, default_value_t = TcHook::Auto, hide = true)]
    pub tc_hook: TcHook,
}

const AFTER_HELP: &str = "\
Files are named SRCIP-SRCPORT-DSTIP-DSTPORT, in DIR/{in,out,else}/{tcp,udp}/.
SIGUSR1 prints the counters. Exit status: 0 after SIGINT, SIGTERM or the end of a file; 1 when it
could not do its work; 2 for a wrong command line.";

/// At some 112 bytes an entry, 7 GiB of kernel memory.
const MAX_FLOWS: i64 = 1 << 26;

/// How packets are watched.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Mode {
    /// eBPF, and libpcap where the kernel has none.
    Auto,
    /// eBPF or an error.
    Ebpf,
    /// libpcap or an error.
    Pcap,
}

/// Where eBPF looks at arriving packets.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Hook {
    /// Traffic control.
    Tc,
    /// Express data path.
    Xdp,
}

/// Which kind of TC hook.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum TcHook {
    /// TCX, and clsact where the kernel has none.
    Auto,
    /// TCX or an error.
    Tcx,
    /// clsact or an error.
    Clsact,
}

/// What the program is to do.
#[derive(Clone, Debug)]
pub enum Invocation {
    /// Watch, and leave a tree.
    Watch(Box<Args>),
    /// Read a tree.
    Export(ExportCommand),
    /// Look at the machine.
    Doctor(DoctorArgs),
}

/// Reads the command line.
///
/// # Errors
/// What is wrong with it; or help or version, which are no errors.
pub fn parse() -> Result<Invocation, clap::Error> {
    let matches = command().try_get_matches()?;
    if matches.subcommand_name().is_some() {
        return subcommand(&matches);
    }
    let args = Args::from_arg_matches(&matches)?;
    if args.mode == Mode::Pcap && args.hook == Hook::Xdp {
        let complaint = "--hook xdp is for eBPF and cannot be used with --mode pcap";
        return Err(command().error(ErrorKind::ArgumentConflict, complaint));
    }
    Ok(Invocation::Watch(Box::new(args)))
}

/// A command that does not watch.
fn subcommand(matches: &clap::ArgMatches) -> Result<Invocation, clap::Error> {
    if matches.subcommand_name() == Some("doctor") {
        let DoctorCommand::Doctor(args) = DoctorCommand::from_arg_matches(matches)?;
        return Ok(Invocation::Doctor(args));
    }
    ExportCommand::from_arg_matches(matches).map(Invocation::Export)
}

/// Watching takes no subcommand; everything else is one.
fn command() -> clap::Command {
    // In this order: what is said about the program is what it says about watching.
    let command = ExportCommand::augment_subcommands(clap::Command::new("conntrack"));
    Args::augment_args(DoctorCommand::augment_subcommands(command))
        .subcommand_required(false)
        .arg_required_else_help(false)
        .args_conflicts_with_subcommands(true)
        .subcommand_negates_reqs(true)
        .disable_help_subcommand(true)
}

fn port(text: &str) -> Result<u16, String> {
    match text.parse() {
        Ok(port) if port > 0 => Ok(port),
        _ => Err("a port is a number from 1 to 65535".to_owned()),
    }
}

/// A network; an address alone is a network of one.
pub(crate) fn network(text: &str) -> Result<IpNet, String> {
    let address = || text.parse::<IpAddr>().map(IpNet::from);
    text.parse()
        .or_else(|_| address())
        .map_err(|_| "a network is an address and a prefix length, as in 203.0.113.0/24".to_owned())
}

fn interval(text: &str) -> Result<Duration, String> {
    const SHORTEST: Duration = Duration::from_millis(10);
    const LONGEST: Duration = Duration::from_hours(1);
    match humantime::parse_duration(text) {
        Ok(interval) if (SHORTEST..=LONGEST).contains(&interval) => Ok(interval),
        _ => Err("an interval is from 10ms to 1h, as in 500ms or 2s".to_owned()),
    }
}

/// clap's complaint in one line: its paragraphs up to the usage, and where to read on.
pub fn one_line(error: &clap::Error) -> String {
    let text = error.to_string();
    let complaint: Vec<_> = text
        .lines()
        .take_while(|line| !line.starts_with("Usage:") && !line.starts_with("For more information"))
        .map(str::trim)
        .filter(|line| !line.is_empty())
        .collect();
    let complaint = complaint.join(" ");
    let complaint = complaint.strip_prefix("error: ").unwrap_or(&complaint);
    format!("{complaint}; see conntrack --help")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_definition_holds_together() {
        command().debug_assert();
    }

    #[test]
    fn an_address_alone_is_a_network_of_one() {
        assert_eq!(network("203.0.113.7"), network("203.0.113.7/32"));
    }
}
