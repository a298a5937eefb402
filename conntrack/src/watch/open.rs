//! Opens the configured source: checks its requirements and falls back to libpcap.

use std::{ops::RangeInclusive, path::Path};

use conntrack_common::policy::Policy;

use super::config::{Config, Input, Mode, Verbosity, Watch};
#[cfg(feature = "pcap")]
use crate::source::pcap::{
    file::FileSource,
    live::{self, LiveSource},
};
use crate::{
    host::{self, device::Device, ephemeral},
    privilege::{self, Watching},
    report::{Screen, Subject},
    source::SourceError,
    tree::Provenance,
};
#[cfg(feature = "ebpf")]
use crate::{
    source::ebpf::{Chain, EbpfSource, Ingress, Options},
    watch::config::{Hook, TcHook},
};

/// An open source.
pub(crate) enum Opened {
    #[cfg(feature = "ebpf")]
    Ebpf(Box<EbpfSource>),
    #[cfg(feature = "pcap")]
    Live(Box<LiveSource>),
    #[cfg(feature = "pcap")]
    File(FileSource),
}

impl Opened {
    /// What is watched, and how.
    pub(crate) fn subject(&self, config: &Config) -> Subject {
        let names = match &config.input {
            Input::Device(watch) => watch.devices.clone(),
            Input::File(path) => vec![path.display().to_string()],
        };
        let hook = match self {
            #[cfg(feature = "ebpf")]
            Self::Ebpf(source) => source.hook(),
            #[cfg(feature = "pcap")]
            Self::Live(_) | Self::File(_) => String::new(),
        };
        Subject { names, watching: self.watching(), hook }
    }

    /// What the tree states about this run.
    pub(crate) fn provenance(&self, config: &Config) -> Provenance {
        let Subject { names, watching, hook } = self.subject(config);
        let ports = ephemeral::ports().map(RangeInclusive::into_inner).ok();
        let is_device = watching != Watching::File;
        Provenance {
            host: is_device.then(host::name).flatten(),
            devices: if is_device { names } else { Vec::new() },
            mode: watching.as_str().to_owned(),
            hook,
            flags: config.flags(),
            // A capture file may be of another machine.
            ip_local_port_range: ports.filter(|_| is_device),
            udp_in: config.settings.udp_servers.iter().copied().collect(),
            ..Provenance::default()
        }
    }

    /// The kind of source.
    pub(crate) const fn watching(&self) -> Watching {
        match self {
            #[cfg(feature = "ebpf")]
            Self::Ebpf(_) => Watching::Ebpf,
            #[cfg(feature = "pcap")]
            Self::Live(_) => Watching::Pcap,
            #[cfg(feature = "pcap")]
            Self::File(_) => Watching::File,
        }
    }

    /// Logs what is watched, and how.
    pub(crate) fn announce(&self, config: &Config) {
        let Input::Device(watch) = &config.input else { return };
        let how = self.subject(config);
        log::info!("watching {} with {how}, writing {}", watch.list(), config.path.display());
    }
}

/// Opens the configured source.
pub(crate) async fn source(
    config: &Config,
    policy: &Policy,
    screen: &Screen,
) -> anyhow::Result<Opened> {
    match &config.input {
        Input::File(path) => file(path, config, policy, screen).await,
        Input::Device(watch) => devices(watch, config, policy),
    }
}

/// Starts watching devices, all of them in one mode. Falls back only if the kernel lacks something: with
/// missing privileges a silent fallback would be a surprise.
fn devices(watch: &Watch, config: &Config, policy: &Policy) -> anyhow::Result<Opened> {
    // Report a missing device before missing privileges.
    let found = distinct(watch)?;
    let watch = &Watch { devices: found, ..watch.clone() };
    match watch.mode {
        Mode::Pcap => live(watch, config, policy),
        Mode::Ebpf => Ok(ebpf(watch, config, policy)?.map_err(with_advice)?),
        Mode::Auto => match ebpf(watch, config, policy)? {
            Err(SourceError::Unsupported { why, .. }) => {
                log::warn!("no eBPF here ({why}); using libpcap instead");
                live(watch, config, policy)
            }
            opened => Ok(opened?),
        },
    }
}

/// The names of those that are there, each device once: one may have been given by two of its names.
fn distinct(watch: &Watch) -> anyhow::Result<Vec<String>> {
    if watch.is_any() {
        return Ok(watch.devices.clone());
    }
    let mut distinct: Vec<Device> = Vec::new();
    for name in &watch.devices {
        let device = Device::find(name)?;
        if distinct.iter().all(|it| it.index != device.index) {
            distinct.push(device);
        }
    }
    Ok(distinct.into_iter().map(|it| it.name).collect())
}

/// Adds advice where only eBPF was asked for and the kernel lacks it.
fn with_advice(error: SourceError) -> SourceError {
    match error {
        SourceError::Unsupported { why, source } => {
            let why = format!("no eBPF here ({why}); use --mode pcap");
            SourceError::Unsupported { why, source }
        }
        error => error,
    }
}

#[cfg(feature = "ebpf")]
fn ebpf(
    watch: &Watch,
    config: &Config,
    policy: &Policy,
) -> anyhow::Result<Result<Opened, SourceError>> {
    if watch.is_any() {
        let why = "eBPF watches devices by their names, not any".to_owned();
        return Ok(Err(SourceError::unsupported(why)));
    }
    privilege::for_ebpf()?;
    let options = Options {
        interval: config.interval,
        max_flows: config.max_flows,
        ingress: match watch.hook {
            Hook::Tc => Ingress::Tc,
            Hook::Xdp => Ingress::Xdp,
        },
        chain: match watch.tc_hook {
            TcHook::Auto => Chain::Auto,
            TcHook::Tcx => Chain::Tcx,
            TcHook::Clsact => Chain::Clsact,
        },
        says: config.verbosity == Verbosity::Programs,
        exit_on_device_loss: watch.exit_on_device_loss,
    };
    let source = EbpfSource::open(&watch.devices, options, policy);
    Ok(source.map(|source| Opened::Ebpf(Box::new(source))))
}

#[cfg(feature = "pcap")]
fn live(watch: &Watch, config: &Config, policy: &Policy) -> anyhow::Result<Opened> {
    privilege::for_pcap()?;
    let Config { interval, max_flows, .. } = *config;
    let exit_on_device_loss = watch.exit_on_device_loss;
    let options = live::Options { interval, max_flows, exit_on_device_loss };
    let devices = if watch.is_any() { &[] } else { &watch.devices[..] };
    Ok(Opened::Live(Box::new(LiveSource::open(devices, options, policy)?)))
}

#[cfg(feature = "pcap")]
async fn file(
    path: &Path,
    config: &Config,
    policy: &Policy,
    screen: &Screen,
) -> anyhow::Result<Opened> {
    let progress = match config.verbosity {
        Verbosity::Normal => screen.progress(),
        _ => indicatif::ProgressDrawTarget::hidden(),
    };
    let source = FileSource::open(path, config.interval, config.max_flows, progress, policy);
    Ok(Opened::File(source.await?))
}

#[cfg(not(feature = "ebpf"))]
#[expect(clippy::unnecessary_wraps, reason = "the signature of its counterpart")]
fn ebpf(_: &Watch, _: &Config, _: &Policy) -> anyhow::Result<Result<Opened, SourceError>> {
    Ok(Err(SourceError::unsupported("this program was built without it".to_owned())))
}

#[cfg(not(feature = "pcap"))]
fn live(_: &Watch, _: &Config, _: &Policy) -> anyhow::Result<Opened> {
    anyhow::bail!("this program was built without libpcap; use --mode ebpf")
}

#[cfg(not(feature = "pcap"))]
#[expect(clippy::unused_async, reason = "the signature of its counterpart")]
async fn file(_: &Path, _: &Config, _: &Policy, _: &Screen) -> anyhow::Result<Opened> {
    anyhow::bail!("this program was built without libpcap, which reads capture files")
}
