//! What the command line means: validated, and in the terms of the modules that it is for.

use std::{path::PathBuf, time::Duration};

use crate::{
    cli::{Args, Hook, Mode, TcHook},
    local_addrs::LocalAddrs,
    tracker::{Family, Scope, Settings},
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

impl From<Args> for Config {
    fn from(args: Args) -> Self {
        let settings = Settings {
            family: family(&args),
            skip_else: args.skip_else,
            no_internet_in: args.no_internet_in,
            no_internet_out: args.no_internet_out,
            udp_servers: args.udp_in.into_iter().collect(),
            scope: Scope::new(args.internal),
        };
        let limits = Limits { max_files: args.max_files, min_free_inodes: args.min_free_inodes };
        let verbosity = match (args.quiet, args.verbose) {
            (true, _) => Verbosity::Quiet,
            (_, true) => Verbosity::Verbose,
            _ => Verbosity::Normal,
        };
        let (input, local) = if let Some(file) = args.read {
            (Input::File(file), LocalAddrs::Fixed(args.local.into_iter().collect()))
        } else {
            let local = match args.device.as_str() {
                ANY => LocalAddrs::AllDevices,
                device => LocalAddrs::Device(device.to_owned()),
            };
            let Args { device, mode, hook, tc_hook, exit_on_device_loss, .. } = args;
            (Input::Device(Watch { device, mode, hook, tc_hook, exit_on_device_loss }), local)
        };
        let Args { path, force_path, metrics_file, interval, max_flows, user, .. } = args;
        Self {
            input,
            local,
            settings,
            path,
            force_path,
            limits,
            metrics_file,
            interval,
            max_flows,
            user,
            verbosity,
        }
    }
}

const fn family(args: &Args) -> Family {
    match (args.ipv4, args.ipv6) {
        (true, false) => Family::V4,
        (false, true) => Family::V6,
        _ => Family::Any,
    }
}
