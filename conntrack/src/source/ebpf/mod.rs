//! Watching a device with eBPF: loading and attaching the programs, draining their map.

mod attach;
mod clsact;
mod control;
mod drain;
mod guard;
mod hold_back;
mod load;
mod log;
mod path;
pub(crate) mod probe;
mod query;
mod sight;
mod syscalls;
mod tc;
mod tcx;
mod wake;

use std::{convert::Infallible, future, mem, time::Duration};

use attach::Attachment;
pub use attach::{Chain, Ingress};
use conntrack_common::{policy::Policy, seen::Flow};
use drain::Drain;
use guard::Guard;
use load::Constants;
pub use load::{CLASSIFIER, XDP, programs};
use log::ProgramLog;
use tokio::time::Interval;
use wake::Wake;

use crate::{
    host::{device::Device, memory},
    source::{self, FlowBatch, Reattached, Source, SourceCounters, SourceError},
};

/// What the eBPF source is asked to do.
#[derive(Clone, Copy, Debug)]
pub struct Options {
    /// How often the flow map is drained.
    pub interval: Duration,
    /// Entries in the flow map.
    pub max_flows: u32,
    /// Where arriving packets are seen.
    pub ingress: Ingress,
    /// How programs are put into the device's TC path.
    pub chain: Chain,
    /// Whether the programs say what they skip and lose.
    pub says: bool,
}

/// How often a repeated UDP packet is looked at again at least, so that its pair does not look older than it
/// is.
const REFRESH: Duration = Duration::from_secs(1);

/// A device that is being watched with eBPF.
pub struct EbpfSource {
    drain: Drain,
    ticks: Interval,
    refreshes: Interval,
    wake: Wake,
    /// None where the programs say nothing.
    log: Option<Box<ProgramLog>>,
    /// Whether no batch has been handed out yet.
    is_first: bool,
    /// None once it is finished.
    guard: Option<Guard>,
    /// Times that programs were attached again, once it is finished.
    reattached: u64,
}

impl EbpfSource {
    /// Loads the programs and attaches them to `device`, under this policy.
    ///
    /// # Errors
    /// [`SourceError::Unsupported`] where this kernel cannot; others where something else is wrong.
    pub fn open(device: &Device, options: Options, policy: &Policy) -> Result<Self, SourceError> {
        match Self::try_open(device, options, policy) {
            Err(
                error @ (SourceError::Unsupported { .. }
                | SourceError::Refused { .. }
                | SourceError::Exhausted { .. }
                | SourceError::Failed { .. }),
            ) if options.says => {
                let opened = Self::try_open(device, Options { says: false, ..options }, policy)?;
                ::log::warn!("the programs say nothing themselves: {error}");
                Ok(opened)
            }
            opened => opened,
        }
    }

    fn try_open(device: &Device, options: Options, policy: &Policy) -> Result<Self, SourceError> {
        let Options { interval, max_flows, ingress, chain, says } = options;
        let link = device.link_layer()?;
        if ingress == Ingress::Xdp && device.is_tunnel() {
            return Err(SourceError::failed("--hook xdp", "not on a tunnel; use --hook tc"));
        }
        let is_tunnel = device.is_tunnel();
        let mut ebpf = load::maps(Constants { link, is_tunnel, max_flows, says })?;
        let mut drain = Drain::new(&mut ebpf, max_flows)?;
        let wake = Wake::new(&mut ebpf)?;
        let log = says.then(|| ProgramLog::new(&mut ebpf, link).map(Box::new)).transpose()?;
        drain.set_policy(policy)?;
        let attachment = Attachment::new(ebpf, device, ingress, chain)?;
        let guard = Guard::new(attachment, device, interval)
            .map_err(|error| load::refusal("keeping the programs attached", error))?;
        memory::give_back();
        Ok(Self {
            drain,
            ticks: source::batch_ticks(interval),
            refreshes: source::ticks(REFRESH),
            wake,
            log,
            is_first: true,
            guard: Some(guard),
            reattached: 0,
        })
    }

    fn batch(&mut self, flows: Vec<Flow>) -> FlowBatch {
        let is_first = mem::replace(&mut self.is_first, false);
        FlowBatch { flows, captured_at: None, is_first }
    }

    fn reattached(&self) -> u64 {
        self.guard.as_ref().map_or(self.reattached, Guard::reattached)
    }

    /// How the programs are attached, in words.
    pub fn hook(&self) -> String {
        self.guard.as_ref().map_or_else(String::new, Guard::describe)
    }
}

/// Passes on what the programs say, if they do. That they cannot be heard is no reason to end.
async fn pass_on(log: &mut Option<Box<ProgramLog>>) -> Infallible {
    if let Some(log) = log {
        log.pass_on().await;
    }
    future::pending().await
}

impl Source for EbpfSource {
    async fn next_batch(&mut self) -> Result<Option<FlowBatch>, SourceError> {
        let Some(guard) = &mut self.guard else { return Ok(None) };
        loop {
            tokio::select! {
                _ = self.ticks.tick() => break,
                called = self.wake.called() => {
                    called?;
                    break;
                }
                error = guard.keep(&self.drain) => return Err(error),
                never = pass_on(&mut self.log) => match never {},
                _ = self.refreshes.tick() => self.drain.refresh()?,
            }
        }
        let flows = self.drain.next()?;
        if let Some(log) = &mut self.log {
            log.begin_interval();
        }
        Ok(Some(self.batch(flows)))
    }

    async fn finish(&mut self) -> (FlowBatch, Result<(), SourceError>) {
        self.reattached = self.reattached();
        let detached = self.guard.take().map_or(Ok(()), Guard::detach);
        if let Some(log) = &mut self.log {
            log.flush();
        }
        let (flows, drained) = self.drain.last();
        (self.batch(flows), drained.and(detached))
    }

    fn set_policy(&mut self, policy: &Policy) -> Result<(), SourceError> {
        self.drain.set_policy(policy)
    }

    fn counters(&self) -> SourceCounters {
        let reattached = Reattached { taken_away: self.reattached(), device_gone: 0 };
        SourceCounters { reattached, ..self.drain.counters() }
    }
}
