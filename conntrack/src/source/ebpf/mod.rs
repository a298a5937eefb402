//! Watching devices with eBPF: loading and attaching the programs, draining their map. The programs on all
//! devices have their maps in common: a flow is one, and an answer one, whichever device it passes.

mod attach;
mod clsact;
mod control;
mod counted;
mod drain;
mod guard;
mod hold_back;
mod load;
mod log;
mod on_device;
mod path;
pub(crate) mod probe;
mod query;
mod sight;
mod syscalls;
mod tc;
mod tcx;
mod wake;

use std::{cell::RefCell, convert::Infallible, future, mem, rc::Rc, time::Duration};

pub use attach::{Chain, Ingress};
use conntrack_common::{policy::Policy, seen::Flow};
use counted::Counted;
use drain::Drain;
use load::Constants;
pub use load::{Kind, programs};
use log::ProgramLog;
use on_device::{OnDevice, Way};
use tokio::time::Interval;
use wake::Wake;

use super::reattaching::{self, Change, Reattaching};
use crate::{
    host::{device::Device, memory},
    source::{self, DeviceCounters, FlowBatch, Source, SourceCounters, SourceError},
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
    /// How programs are put into a device's TC path.
    pub chain: Chain,
    /// Whether the programs say what they skip and lose.
    pub says: bool,
    /// Whether a device going is the end.
    pub exit_on_device_loss: bool,
}

/// How often a repeated UDP packet is looked at again at least, so that its pair does not look older than it
/// is.
const REFRESH: Duration = Duration::from_secs(1);

/// Devices that are being watched with eBPF.
pub struct EbpfSource {
    devices: Vec<Reattaching<OnDevice>>,
    counted: Rc<RefCell<Counted>>,
    drain: Drain,
    interval: Duration,
    ticks: Interval,
    refreshes: Interval,
    wake: Wake,
    /// None where the programs say nothing.
    log: Option<Box<ProgramLog>>,
    /// Whether the next batch is the first of a device.
    is_first: bool,
}

impl EbpfSource {
    /// Loads the programs and attaches them to these devices, under this policy.
    ///
    /// # Errors
    /// [`SourceError::Unsupported`] where this kernel cannot; others where something else is wrong.
    pub fn open(
        devices: &[String],
        options: Options,
        policy: &Policy,
    ) -> Result<Self, SourceError> {
        match Self::try_open(devices, options, policy) {
            Err(
                error @ (SourceError::Unsupported { .. }
                | SourceError::Refused { .. }
                | SourceError::Exhausted { .. }
                | SourceError::Failed { .. }),
            ) if options.says => {
                let opened = Self::try_open(devices, Options { says: false, ..options }, policy)?;
                ::log::warn!("the programs say nothing themselves: {error}");
                Ok(opened)
            }
            opened => opened,
        }
    }

    fn try_open(
        devices: &[String],
        options: Options,
        policy: &Policy,
    ) -> Result<Self, SourceError> {
        let Options { interval, max_flows, ingress, chain, says, exit_on_device_loss } = options;
        for device in devices {
            // Before anything is loaded.
            on_device::check(&Device::find(device)?, ingress)?;
        }
        let by_device = devices.len() > 1;
        let mut ebpf = load::maps(Constants { max_flows, by_device, says })?;
        let mut drain = Drain::new(&mut ebpf, max_flows)?;
        let counted = Rc::new(RefCell::new(Counted::new(&mut ebpf, by_device)?));
        let wake = Wake::new(&mut ebpf)?;
        let log = says.then(|| ProgramLog::new(&mut ebpf).map(Box::new)).transpose()?;
        drain.set_policy(policy)?;
        let programs = Rc::new(RefCell::new(ebpf));
        let way = Way { programs, counted: Rc::clone(&counted), ingress, chain, interval };
        let watch = |name: &String| {
            let (name, way) = (name.clone(), way.clone());
            let open = Box::new({
                let name = name.clone();
                move || OnDevice::open(&Device::find(&name)?, &way)
            });
            let opened = Reattaching::new(&name, interval, open);
            let named = |error| if by_device { of_device(&name, error) } else { error };
            Ok(opened.map_err(named)?.exiting(exit_on_device_loss))
        };
        let devices = devices.iter().map(watch).collect::<Result<_, SourceError>>()?;
        memory::give_back();
        Ok(Self {
            devices,
            counted,
            drain,
            interval,
            ticks: source::batch_ticks(interval),
            refreshes: source::ticks(REFRESH),
            wake,
            log,
            is_first: true,
        })
    }

    fn batch(&mut self, flows: Vec<Flow>) -> FlowBatch {
        let is_first = mem::replace(&mut self.is_first, false);
        FlowBatch { flows, captured_at: None, is_first }
    }

    /// How the programs are attached, in words.
    pub fn hook(&self) -> String {
        let attached = self
            .devices
            .iter()
            .filter_map(|device| Some((device.device(), device.attached()?.describe())));
        let attached: Vec<_> = attached.collect();
        match attached.first() {
            None => String::new(),
            Some((_, first)) if attached.iter().all(|(_, hook)| hook == first) => first.clone(),
            Some(_) => {
                let each = attached.iter().map(|(device, hook)| format!("{hook} on {device}"));
                each.collect::<Vec<_>>().join(", ")
            }
        }
    }

    /// A device that came begins in the middle of conversations; its first batch has an interval.
    fn begin_anew(&mut self) {
        self.is_first = true;
        self.ticks = source::batch_ticks(self.interval);
    }
}

/// Says which device it was, where the error does not.
fn of_device(device: &str, error: SourceError) -> SourceError {
    match error {
        SourceError::Unsupported { why, source } => {
            SourceError::Unsupported { why: format!("{device}: {why}"), source }
        }
        SourceError::Failed { what, source } => {
            SourceError::Failed { what, source: format!("{device}: {source}").into() }
        }
        error => error,
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
        loop {
            tokio::select! {
                _ = self.ticks.tick() => break,
                called = self.wake.called() => {
                    called?;
                    break;
                }
                changed = reattaching::one_changed(&mut self.devices) => match changed? {
                    Change::Went => break,
                    Change::Came => {
                        self.begin_anew();
                        // Its addresses are looked at before its first batch.
                        return Ok(Some(FlowBatch::default()));
                    }
                },
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
        let detached = reattaching::end_all(&mut self.devices).await;
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
        let counted = self.counted.borrow();
        SourceCounters {
            packets: counted.packets(),
            unread: counted.unread(),
            drained: self.drain.drained(),
            reattached: self.devices.iter().map(Reattaching::reattached).sum(),
            ..SourceCounters::default()
        }
    }

    fn devices(&self) -> Vec<DeviceCounters> {
        reattaching::counters(&self.devices)
    }
}
