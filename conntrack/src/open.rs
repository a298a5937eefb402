//! Opening the source that the user asked for: which one, what it needs, and what to fall back on.

use std::path::Path;

use conntrack::{
    cli::Mode,
    config::{ANY, Config, Input, Watch},
    device::Device,
    privilege,
    source::SourceError,
};
#[cfg(feature = "ebpf")]
use conntrack::{
    cli::{Hook, TcHook},
    source::ebpf::{Chain, EbpfSource, Ingress, Options},
};
#[cfg(feature = "pcap")]
use conntrack::{
    config::Verbosity,
    source::pcap::{file::FileSource, live::LiveSource},
};

/// An open source.
pub(crate) enum Opened {
    #[cfg(feature = "ebpf")]
    Ebpf(Box<EbpfSource>),
    #[cfg(feature = "pcap")]
    Live(LiveSource),
    #[cfg(feature = "pcap")]
    File(FileSource),
}

/// Opens what the user asked for.
pub(crate) async fn source(config: &Config) -> anyhow::Result<Opened> {
    match &config.input {
        Input::File(path) => file(path, config).await,
        Input::Device(watch) => device(watch, config),
    }
}

/// Starts watching a device. Only a kernel that cannot is a reason to fall back: missing privilege
/// or a missing device would be missing for libpcap too, or be a surprise.
fn device(watch: &Watch, config: &Config) -> anyhow::Result<Opened> {
    let device = Some(&watch.device).filter(|name| *name != ANY);
    let device = device.map(|name| Device::find(name)).transpose()?;
    let opened = match watch.mode {
        Mode::Pcap => live(watch, config)?,
        Mode::Ebpf => ebpf(device.as_ref(), watch, config)?.map_err(with_advice)?,
        Mode::Auto => match ebpf(device.as_ref(), watch, config)? {
            Ok(opened) => opened,
            Err(SourceError::Unsupported(why)) => {
                log::warn!("no eBPF here ({why}); using libpcap instead");
                live(watch, config)?
            }
            Err(error) => return Err(error.into()),
        },
    };
    let how = match &opened {
        #[cfg(feature = "ebpf")]
        Opened::Ebpf(source) => format!("eBPF, {}", source.hook()),
        #[cfg(feature = "pcap")]
        _ => "libpcap".to_owned(),
    };
    log::info!("watching {} with {how}, writing {}", watch.device, config.path.display());
    Ok(opened)
}

/// What can be done where only eBPF was wanted and the kernel cannot.
fn with_advice(error: SourceError) -> SourceError {
    match error {
        SourceError::Unsupported(why) => {
            SourceError::Unsupported(format!("no eBPF here ({why}); use --mode pcap"))
        }
        error => error,
    }
}

#[cfg(feature = "ebpf")]
fn ebpf(
    device: Option<&Device>,
    watch: &Watch,
    config: &Config,
) -> anyhow::Result<Result<Opened, SourceError>> {
    let Some(device) = device else {
        let why = "eBPF watches one device, not any".to_owned();
        return Ok(Err(SourceError::Unsupported(why)));
    };
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
    let source = EbpfSource::open(device, options);
    Ok(source.map(|source| Opened::Ebpf(Box::new(source))))
}

#[cfg(feature = "pcap")]
fn live(watch: &Watch, config: &Config) -> anyhow::Result<Opened> {
    privilege::for_pcap()?;
    Ok(Opened::Live(LiveSource::open(&watch.device, config.interval, config.max_flows)?))
}

#[cfg(feature = "pcap")]
async fn file(path: &Path, config: &Config) -> anyhow::Result<Opened> {
    let progress = config.verbosity != Verbosity::Quiet;
    let source = FileSource::open(path, config.interval, config.max_flows, progress);
    Ok(Opened::File(source.await?))
}

#[cfg(not(feature = "ebpf"))]
#[expect(clippy::unnecessary_wraps, reason = "the signature of its counterpart")]
fn ebpf(_: Option<&Device>, _: &Watch, _: &Config) -> anyhow::Result<Result<Opened, SourceError>> {
    Ok(Err(SourceError::Unsupported("this program was built without it".to_owned())))
}

#[cfg(not(feature = "pcap"))]
fn live(_: &Watch, _: &Config) -> anyhow::Result<Opened> {
    anyhow::bail!("this program was built without libpcap; use --mode ebpf")
}

#[cfg(not(feature = "pcap"))]
#[expect(clippy::unused_async, reason = "the signature of its counterpart")]
async fn file(_: &Path, _: &Config) -> anyhow::Result<Opened> {
    anyhow::bail!("this program was built without libpcap, which reads capture files")
}
