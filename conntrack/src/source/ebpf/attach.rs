//! Putting the programs into both directions of a device's packet path, looking whether they are still
//! there, and taking them out again.
//!
//! Leaving packets are always seen at TC, arriving ones at TC or XDP. At TC it is TCX (Linux 6.6)
//! first, whose links go with our process, however that ends; else filters on a clsact qdisc, which
//! stay behind when we are killed (see [`super::clsact`]). XDP's links go with our process.

use std::{cell::RefCell, fmt, io, rc::Rc};

use aya::{
    Ebpf,
    programs::{ProgramError, SchedClassifier, Xdp, XdpMode, xdp::XdpLink},
};
use rustix::io::Errno;

use super::{
    clsact::Clsact,
    load::{self, Kind},
    path::TcPath,
    query,
    tcx::TcxLink,
};
use crate::{
    host::device::{Device, State},
    source::SourceError,
};

/// The ways into a device's TC path.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Chain {
    /// TCX, or clsact where the kernel has no TCX. It is tried, not told by the version: a kernel
    /// can be built without.
    #[default]
    Auto,
    /// TCX or an error.
    Tcx,
    /// A clsact qdisc or an error.
    Clsact,
}

/// Where arriving packets are seen.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Ingress {
    /// At TC, as leaving ones.
    #[default]
    Tc,
    /// At XDP.
    Xdp,
}

/// The programs in the kernel, which those on all devices share.
pub(super) type Programs = Rc<RefCell<Ebpf>>;

/// Programs that are attached to one device; dropping it detaches them.
pub(super) struct Attachment {
    device: Device,
    kind: Kind,
    tc: Tc,
    xdp: Option<XdpHook>,
    programs: Programs,
}

/// How the TC program is attached.
enum Tc {
    Tcx(Vec<TcxLink>),
    Clsact(Clsact),
}

/// The XDP program on the device; dropping it detaches it.
struct XdpHook {
    mode: XdpMode,
    program: u32,
    /// None where it could not be attached again.
    link: Option<XdpLink>,
}

/// Something of ours on the device.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Hook {
    Tcx(TcPath),
    Filter(TcPath),
    Xdp,
}

impl Attachment {
    /// Attaches the programs, all or none of them.
    ///
    /// # Errors
    /// [`SourceError::Unsupported`] where this kernel cannot.
    pub(super) fn new(
        programs: Programs,
        device: &Device,
        ingress: Ingress,
        chain: Chain,
    ) -> Result<Self, SourceError> {
        // Leaving packets first: an answer may arrive at once, and is told by its request.
        let paths: &[TcPath] = match ingress {
            Ingress::Tc => &[TcPath::Egress, TcPath::Ingress],
            Ingress::Xdp => &[TcPath::Egress],
        };
        let kind = Kind::of(device)?;
        let mut ebpf = programs.borrow_mut();
        let classifier = load::classifier(&mut ebpf, kind)?;
        let tc = match chain {
            Chain::Tcx => attach_tcx(classifier, device, paths)?,
            Chain::Clsact => attach_clsact(classifier, device, paths)?,
            Chain::Auto => attach_either(classifier, device, paths)?,
        };
        let xdp = match ingress {
            Ingress::Tc => None,
            Ingress::Xdp => Some(attach_xdp(load::xdp(&mut ebpf, kind)?, device)?),
        };
        drop(ebpf);
        Ok(Self { device: device.clone(), kind, tc, xdp, programs })
    }

    /// How the programs are attached, in words.
    pub(super) fn describe(&self) -> String {
        let tc = match self.tc {
            Tc::Tcx(_) => "TCX",
            Tc::Clsact(_) => "clsact",
        };
        match self.xdp.as_ref().map(|hook| hook.mode) {
            None => format!("TC ({tc})"),
            Some(XdpMode::Driver) => format!("native XDP and TC ({tc})"),
            Some(_) => format!("generic XDP and TC ({tc})"),
        }
    }

    /// What of ours is not on the device any more.
    ///
    /// # Errors
    /// That the kernel does not say.
    pub(super) fn missing(&mut self, now: &State) -> io::Result<Vec<Hook>> {
        let mut missing = Vec::new();
        match &mut self.tc {
            Tc::Tcx(links) => {
                for link in links {
                    if !link.is_there(&self.device)? {
                        missing.push(Hook::Tcx(link.path()));
                    }
                }
            }
            Tc::Clsact(clsact) => missing.extend(clsact.missing()?.into_iter().map(Hook::Filter)),
        }
        let is_missing =
            |hook: &XdpHook| hook.link.is_none() || !now.xdp_programs.contains(&hook.program);
        if self.xdp.as_ref().is_some_and(is_missing) {
            missing.push(Hook::Xdp);
        }
        Ok(missing)
    }

    /// Attaches again what is missing. What is there stays as it is.
    ///
    /// # Errors
    /// As [`Self::new`].
    pub(super) fn restore(&mut self, missing: &[Hook]) -> Result<(), SourceError> {
        let mut ebpf = self.programs.borrow_mut();
        let classifier = load::classifier(&mut ebpf, self.kind)?;
        match &mut self.tc {
            Tc::Tcx(links) => {
                for link in links.iter_mut().filter(|it| missing.contains(&Hook::Tcx(it.path()))) {
                    link.renew(classifier, &self.device)?;
                }
            }
            Tc::Clsact(clsact) => {
                let paths = missing.iter().filter_map(|hook| match hook {
                    Hook::Filter(path) => Some(*path),
                    _ => None,
                });
                clsact.restore(classifier, &paths.collect::<Vec<_>>())?;
            }
        }
        if missing.contains(&Hook::Xdp)
            && let Some(hook) = &mut self.xdp
        {
            drop(hook.link.take());
            *hook = attach_xdp(load::xdp(&mut ebpf, self.kind)?, &self.device)?;
        }
        Ok(())
    }

    /// What others attached that sees packets before ours does, in words.
    ///
    /// # Errors
    /// That the kernel does not say.
    pub(super) fn before_us(&mut self, now: &State) -> io::Result<Vec<String>> {
        let mut before = Vec::new();
        if self.xdp.is_none() {
            let xdp = now.xdp_programs.iter();
            before
                .extend(xdp.map(|id| format!("the XDP program with id {id} on arriving packets")));
        }
        match &mut self.tc {
            Tc::Tcx(links) => {
                for link in links {
                    before.extend(link.before_us(&self.device)?.iter().map(ToString::to_string));
                }
            }
            Tc::Clsact(clsact) => {
                for path in clsact.paths() {
                    // A kernel without TCX has no programs there.
                    let tcx = query::tcx(self.device.index, path).unwrap_or_default();
                    before.extend(tcx.iter().map(ToString::to_string));
                    before.extend(clsact.before_us(path)?.iter().map(ToString::to_string));
                }
            }
        }
        // A filter of kind u32 is listed with its tables.
        before.dedup();
        Ok(before)
    }

    /// Puts the TC program before those of others; whether that changed anything.
    ///
    /// # Errors
    /// As [`Self::new`].
    pub(super) fn put_first(&mut self) -> Result<bool, SourceError> {
        let mut ebpf = self.programs.borrow_mut();
        let classifier = load::classifier(&mut ebpf, self.kind)?;
        let mut has_changed = false;
        match &mut self.tc {
            Tc::Tcx(links) => {
                for link in links {
                    if link.before_us(&self.device).is_ok_and(|before| !before.is_empty()) {
                        link.renew(classifier, &self.device)?;
                        has_changed = true;
                    }
                }
            }
            Tc::Clsact(clsact) => {
                for path in clsact.paths() {
                    has_changed |= clsact.put_first(classifier, path)?;
                }
            }
        }
        Ok(has_changed)
    }

    /// Detaches the programs, and removes the qdisc if we made it.
    ///
    /// # Errors
    /// The kernel's refusal.
    pub(super) fn detach(self) -> Result<(), SourceError> {
        let Self { tc, xdp, .. } = self;
        // Arriving packets first: an answer whose request was no longer seen would look like one.
        drop(xdp);
        match tc {
            Tc::Tcx(links) => {
                links.into_iter().rev().for_each(drop);
                Ok(())
            }
            Tc::Clsact(clsact) => clsact.remove(),
        }
    }
}

/// In words, for a message.
impl fmt::Display for Hook {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Tcx(path) => write!(f, "the TCX program on {path}"),
            Self::Filter(path) => write!(f, "the TC filter on {path}"),
            Self::Xdp => write!(f, "the XDP program"),
        }
    }
}

/// What was attached to TCX before something went wrong is detached again: a packet is counted once.
fn attach_either(
    classifier: &mut SchedClassifier,
    device: &Device,
    paths: &[TcPath],
) -> Result<Tc, SourceError> {
    match attach_tcx(classifier, device, paths) {
        Err(SourceError::Unsupported { why: without_tcx, .. }) => {
            log::debug!("no TCX, trying clsact: {without_tcx}");
            attach_clsact(classifier, device, paths).map_err(|error| match error {
                SourceError::Unsupported { why, source } => {
                    SourceError::Unsupported { why: format!("{without_tcx}; {why}"), source }
                }
                error => error,
            })
        }
        attached => attached,
    }
}

fn attach_tcx(
    classifier: &mut SchedClassifier,
    device: &Device,
    paths: &[TcPath],
) -> Result<Tc, SourceError> {
    let links = paths.iter().map(|path| TcxLink::new(classifier, device, *path));
    links.collect::<Result<_, _>>().map(Tc::Tcx)
}

fn attach_clsact(
    classifier: &SchedClassifier,
    device: &Device,
    paths: &[TcPath],
) -> Result<Tc, SourceError> {
    Clsact::new(classifier, device, paths).map(Tc::Clsact)
}

/// Native where the driver has it, else generic. Only one program can be attached at a time; that of
/// somebody else stays.
fn attach_xdp(program: &mut Xdp, device: &Device) -> Result<XdpHook, SourceError> {
    let is_taken =
        |error: &ProgramError| matches!(load::errno(error), Some(Errno::BUSY | Errno::EXIST));
    let native = program.attach_to_if_index(device.index, XdpMode::Driver);
    let (mode, result) = match native {
        Err(error) if !is_taken(&error) => {
            log::debug!("{}: no native XDP: {error}", device.name);
            (XdpMode::Skb, program.attach_to_if_index(device.index, XdpMode::Skb))
        }
        native => (XdpMode::Driver, native),
    };
    let link = result.and_then(|id| program.take_link(id)).map_err(|error| {
        if is_taken(&error) {
            let why = format!("{} already has an XDP program; use --hook tc", device.name);
            return SourceError::failed("--hook xdp", why);
        }
        load::refusal("attaching to XDP", error)
    })?;
    let info = program.info().map_err(|error| load::refusal("asking for the program", error))?;
    Ok(XdpHook { mode, program: info.id(), link: Some(link) })
}
