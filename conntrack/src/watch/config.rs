//! One run of the collector: what to watch and how, in the terms of the modules that it is for.

use std::{path::PathBuf, time::Duration};

use clap::ValueEnum;

use crate::{
    host::addresses::LocalAddrs,
    tracker::{Family, Settings, UdpDirection},
    tree::Limits,
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
    /// Whether the tree may be in anybody's directories, wherever they stand.
    pub force_path: bool,
    /// How much the tree may use up.
    pub limits: Limits,
    /// Where metrics are written.
    pub metrics_file: Option<PathBuf>,
    /// How often flows are asked for.
    pub interval: Duration,
    /// Flows that are kept between two times.
    pub max_flows: u32,
    /// Who writes the tree, if not who started it.
    pub user: Option<String>,
    /// How much is said.
    pub verbosity: Verbosity,
}

impl Config {
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
        set.chain(internal).collect()
    }
}

/// Where flows come from.
#[derive(Clone, Debug)]
pub enum Input {
    /// A device.
    Device(Watch),
    /// A capture file.
    File(PathBuf),
}

/// How a device is watched.
#[derive(Clone, Debug)]
pub struct Watch {
    /// The device's name, or [`ANY`].
    pub device: String,
    /// With what.
    pub mode: Mode,
    /// Where eBPF looks at arriving packets.
    pub hook: Hook,
    /// Which kind of TC hook.
    pub tc_hook: TcHook,
    /// Whether the device going is the end.
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

/// libpcap's name for all devices at once.
pub const ANY: &str = "any";

/// How much is said on standard error.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verbosity {
    /// Errors and losses.
    Quiet,
    /// What an administrator wants to know.
    Normal,
    /// What a developer wants to know.
    Verbose,
}
