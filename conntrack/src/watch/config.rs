//! Validated configuration of one run, in the types of the modules that use it.

use std::{path::PathBuf, time::Duration};

use clap::ValueEnum;

use crate::{
    host::addresses::LocalAddrs,
    tracker::{Family, Settings, UdpDirection},
    tree::{Limits, Telling},
};

/// One run.
#[derive(Clone, Debug)]
pub struct Config {
    /// Where flows come from.
    pub input: Input,
    /// Which addresses are local.
    pub local: LocalAddrs,
    /// The tracker's rules.
    pub settings: Settings,
    /// The tree's root.
    pub path: PathBuf,
    /// Skip the check of who owns the directories on the way to the tree.
    pub force_path: bool,
    /// Limits on files and inodes.
    pub limits: Limits,
    /// Where metrics are written.
    pub metrics_file: Option<PathBuf>,
    /// Polling interval.
    pub interval: Duration,
    /// Capacity of the flow map.
    pub max_flows: u32,
    /// User to switch to.
    pub user: Option<String>,
    /// When it ends by itself.
    pub ends: Ends,
    /// Which messages are printed.
    pub verbosity: Verbosity,
    /// Tell programs of each connection that is new or changes.
    pub events: bool,
}

/// When a run ends by itself, besides at the end of a file.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Ends {
    /// After this time.
    pub after: Option<Duration>,
    /// With the batch in which this many connections were new in the tree.
    pub count: Option<u64>,
}

impl Config {
    /// Which connections are told one by one.
    pub(crate) const fn telling(&self) -> Telling {
        match (self.events, self.verbosity.tells_connections()) {
            (true, _) => Telling::Changed,
            (false, true) => Telling::New,
            (false, false) => Telling::Nothing,
        }
    }

    /// The arguments that decide what is recorded and under which name, but for UDP ports.
    pub(crate) fn flags(&self) -> Vec<String> {
        let Settings {
            family,
            skip_else,
            no_internet_in,
            no_internet_out,
            udp_servers: _,
            udp_direction,
            scope,
        } = &self.settings;
        let existing = matches!(&self.input, Input::Device(watch) if watch.existing);
        let set = [
            (existing, "--existing"),
            (*udp_direction == UdpDirection::Pairs, "--udp-direction=pairs"),
            (*skip_else, "--skip-else"),
            (*no_internet_in, "--no-internet-in"),
            (*no_internet_out, "--no-internet-out"),
            (*family == Family::V4, "-4"),
            (*family == Family::V6, "-6"),
        ];
        let set = set.into_iter().filter(|(is_set, _)| *is_set).map(|(_, flag)| flag.to_owned());
        let internal = scope.named().iter().map(|network| format!("--internal={network}"));
        let besides = match &self.local {
            LocalAddrs::Devices { besides, .. } => besides.iter().copied().collect(),
            LocalAddrs::AllDevices | LocalAddrs::Fixed(_) => Vec::new(),
        };
        let besides = besides.into_iter().map(|address| format!("--local={address}"));
        set.chain(internal).chain(besides).collect()
    }
}

/// Where flows come from.
#[derive(Clone, Debug)]
pub enum Input {
    /// One or more devices.
    Device(Watch),
    /// A capture file.
    File(PathBuf),
}

/// How devices are watched.
#[derive(Clone, Debug)]
pub struct Watch {
    /// The devices' names, or [`ANY`] alone.
    pub devices: Vec<String>,
    /// eBPF or libpcap.
    pub mode: Mode,
    /// Where eBPF looks at arriving packets.
    pub hook: Hook,
    /// Which kind of TC hook.
    pub tc_hook: TcHook,
    /// Exit when a device disappears.
    pub exit_on_device_loss: bool,
    /// Whether connections that are open already are recorded.
    pub existing: bool,
}

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

impl Watch {
    /// Whether all devices are watched at once.
    pub fn is_any(&self) -> bool {
        self.devices.iter().any(|device| device == ANY)
    }

    /// The devices in words.
    pub fn list(&self) -> String {
        self.devices.join(", ")
    }
}

/// libpcap's name for all devices at once.
pub const ANY: &str = "any";

/// Which messages are printed to standard error.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verbosity {
    /// Errors and losses.
    Quiet,
    /// For administrators.
    Normal,
    /// And each new connection.
    Verbose,
    /// And what the eBPF programs say themselves.
    Programs,
}

impl Verbosity {
    /// Whether each new connection is told.
    pub const fn tells_connections(self) -> bool {
        matches!(self, Self::Verbose | Self::Programs)
    }
}
