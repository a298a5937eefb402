//! Opening the source that the user asked for: which one, what it needs, and what to fall back on.

use std::path::Path;

#[cfg(feature = "ebpf")]
use conntrack::source::ebpf::{Chain, EbpfSource, Options};
#[cfg(feature = "pcap")]
use conntrack::source::pcap::{file::FileSource, live::LiveSource};
use conntrack::{
    cli::{Mode, TcHook},
    config::{Config, Verbosity},
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
pub(crate) fn device(
    name: &str,
    mode: Mode,
    tc_hook: TcHook,
    config: &Config,
) -> anyhow::Result<Watched> {
    let device = Device::find(name)?;
    let watched = match mode {
        Mode::Pcap => pcap(&device, config)?,
        Mode::Ebpf => ebpf(&device, tc_hook, config)??,
        Mode::Auto => match ebpf(&device, tc_hook, config)? {
            Ok(watched) => watched,
            Err(SourceError::Unsupported(why)) => {
                log::warn!("no eBPF here ({why}); using libpcap instead");
                pcap(&device, config)?
            }
            Err(error) => return Err(error.into()),
        },
    };
    log::info!("watching {name} with {}, writing {}", watched.describe(), config.path.display());
    Ok(watched)
}

/// Starts reading a capture file.
#[cfg(feature = "pcap")]
pub(crate) fn file(path: &Path, config: &Config) -> anyhow::Result<FileSource> {
    let progress = config.verbosity != Verbosity::Quiet;
    Ok(FileSource::open(path, config.interval, config.max_flows, progress)?)
}

#[cfg(feature = "ebpf")]
fn ebpf(
    device: &Device,
    tc_hook: TcHook,
    config: &Config,
) -> anyhow::Result<Result<Watched, SourceError>> {
    privilege::for_ebpf()?;
    let chain = match tc_hook {
        TcHook::Auto => Chain::Auto,
        TcHook::Tcx => Chain::Tcx,
        TcHook::Clsact => Chain::Clsact,
    };
    let options = Options { interval: config.interval, max_flows: config.max_flows, chain };
    Ok(EbpfSource::open(device, options).map(|source| Watched::Ebpf(Box::new(source))))
}

#[cfg(feature = "pcap")]
fn pcap(device: &Device, config: &Config) -> anyhow::Result<Watched> {
    privilege::for_pcap()?;
    Ok(Watched::Pcap(LiveSource::open(device, config.interval, config.max_flows)?))
}

#[cfg(not(feature = "ebpf"))]
fn ebpf(_: &Device, _: TcHook, _: &Config) -> anyhow::Result<Result<Watched, SourceError>> {
    Ok(Err(SourceError::Unsupported("this program was built without it".to_owned())))
}

#[cfg(not(feature = "pcap"))]
fn pcap(_: &Device, _: &Config) -> anyhow::Result<Watched> {
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
