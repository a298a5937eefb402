//! Opening the source that the user asked for: which one, what it needs, and what to fall back on.

use std::path::Path;

#[cfg(feature = "ebpf")]
use conntrack::source::ebpf::{Chain, EbpfSource, Ingress, Options};
#[cfg(feature = "pcap")]
use conntrack::source::pcap::{file::FileSource, live::LiveSource};
use conntrack::{
    cli::{Hook, Mode, TcHook},
    config::{ANY, Config, Verbosity, Watch},
    device::Device,
    privilege,
    source::SourceError,
};

/// A device that is being watched, one way or the other.
pub(crate) enum Watched {
    #[cfg(feature = "ebpf")]
    Ebpf(Box<EbpfSource>),
    #[cfg(feature = "pcap")]
    Pcap(LiveSource),
}

/// Starts watching a device. Only a kernel that cannot is a reason to fall back: missing privilege
/// or a missing device would be missing for libpcap too, or be a surprise.
pub(crate) fn device(watch: &Watch, config: &Config) -> anyhow::Result<Watched> {
    if watch.device != ANY {
        Device::find(&watch.device)?;
    }
    let watched = match watch.mode {
        Mode::Pcap => pcap(watch, config)?,
        Mode::Ebpf => ebpf(watch, config)??,
        Mode::Auto => match ebpf(watch, config)? {
            Ok(watched) => watched,
            Err(SourceError::Unsupported(why)) => {
                log::warn!("no eBPF here ({why}); using libpcap instead");
                pcap(watch, config)?
            }
            Err(error) => return Err(error.into()),
        },
    };
    let (device, path) = (&watch.device, config.path.display());
    log::info!("watching {device} with {}, writing {path}", watched.describe());
    Ok(watched)
}

/// Starts reading a capture file.
#[cfg(feature = "pcap")]
pub(crate) fn file(path: &Path, config: &Config) -> anyhow::Result<FileSource> {
    let progress = config.verbosity != Verbosity::Quiet;
    Ok(FileSource::open(path, config.interval, config.max_flows, progress)?)
}

#[cfg(feature = "ebpf")]
fn ebpf(watch: &Watch, config: &Config) -> anyhow::Result<Result<Watched, SourceError>> {
    if watch.device == ANY {
        let why = "it watches one device, and any is all of them".to_owned();
        return Ok(Err(SourceError::Unsupported(why)));
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
    };
    let source = EbpfSource::open(&Device::find(&watch.device)?, options);
    Ok(source.map(|source| Watched::Ebpf(Box::new(source))))
}

#[cfg(feature = "pcap")]
fn pcap(watch: &Watch, config: &Config) -> anyhow::Result<Watched> {
    privilege::for_pcap()?;
    Ok(Watched::Pcap(LiveSource::open(&watch.device, config.interval, config.max_flows)?))
}

#[cfg(not(feature = "ebpf"))]
fn ebpf(_: &Watch, _: &Config) -> anyhow::Result<Result<Watched, SourceError>> {
    Ok(Err(SourceError::Unsupported("this program was built without it".to_owned())))
}

#[cfg(not(feature = "pcap"))]
fn pcap(_: &Watch, _: &Config) -> anyhow::Result<Watched> {
    anyhow::bail!("this program was built without libpcap; use --mode ebpf")
}

impl Watched {
    fn describe(&self) -> String {
        match self {
            #[cfg(feature = "ebpf")]
            Self::Ebpf(source) => format!("eBPF, {}", source.hook()),
            #[cfg(feature = "pcap")]
            Self::Pcap(_) => "libpcap".to_owned(),
        }
    }
}
