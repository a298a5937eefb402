//! The audit: which recorded connections rules would accept. The kernel is the judge: the rules are loaded
//! into a network namespace of our own, and the first packet of each connection is sent through them, and
//! then the answer to what was accepted.
//!
//! | module | what it does |
//! |---|---|
//! | `ruleset` | rules, as the programs take them that load them |
//! | `machine` | what this machine has: devices, addresses, routes |
//! | `layout` | the host on which rules are tried |
//! | `stage` | that host, made: a namespace, devices, sockets |
//! | `network`, `tap` | its parts: rtnetlink, and devices that we hold the other end of |
//! | `packet` | what is sent |
//! | `representatives` | who stands for `INTERNET` |
//! | `bench` | makes trials of records, and judgements of trials |
//! | `trial` | sends, and looks what comes through |
//! | `attacks` | what nobody answered, or nobody asked for |

mod attacks;
mod bench;
mod error;
mod layout;
mod machine;
mod network;
mod packet;
mod representatives;
mod ruleset;
mod stage;
mod tap;
mod trial;

use std::fs;

use ipnet::IpNet;
use nix::{
    sched::{CloneFlags, unshare},
    unistd::{getegid, geteuid},
};

pub use self::{
    attacks::Attacks,
    bench::{Judgement, Verdict},
    error::AuditError,
    ruleset::{RulesetError, Sources},
    trial::Part,
};
use self::{
    bench::Bench, layout::Layout, machine::Machine, representatives::Representatives,
    ruleset::Ruleset, stage::Stage,
};
use crate::{
    connection::{Direction, Evidence, Host},
    host::thread::on_own_thread,
    print::words::count_of,
    record::{Outcome, Record},
    recording::Recording,
    rules::{
        choosing::choose, ephemeral::ephemeral_ports, internet::Internet, omissions::Omission,
        vocabulary::Request as RulesRequest,
    },
};

/// The device, where neither the tree nor the user names one.
const DEVICE: &str = "eth0";
/// What a tree of all devices says.
const ALL_DEVICES: &str = "any";

/// What is to be judged.
#[derive(Clone, Debug, Default)]
pub struct Request {
    /// The rules.
    pub sources: Sources,
    /// The devices that were recorded, where the tree does not say or others are meant.
    pub devices: Vec<String>,
    /// Leave out what is between others.
    pub skip_else: bool,
    /// Networks that are not the internet.
    pub internal: Vec<IpNet>,
    /// Try what nobody answered, too.
    pub attacks: bool,
}

/// What came of an audit.
#[derive(Debug)]
pub struct Audit {
    /// In order of their connections.
    pub judgements: Vec<Judgement>,
    /// Records that are not judged because they need no rule.
    pub omissions: Vec<Omission>,
    /// The other side, if it was asked for.
    pub attacks: Option<Attacks>,
    /// What the user has to know.
    pub notes: Vec<String>,
}

impl Audit {
    /// Has the kernel judge a recording.
    ///
    /// # Errors
    /// No namespace, or rules that cannot be read or loaded.
    pub fn of(recording: &Recording, request: &Request) -> Result<Self, AuditError> {
        let ruleset = Ruleset::read(&request.sources)?;
        let forward = !request.skip_else;
        let choice = choose(recording, &RulesRequest { forward, ..RulesRequest::default() });
        let devices = devices(recording, request);
        let mut machine = this_machine(recording, &devices, request.sources.host)?;
        let layout =
            Layout::of(&recording.records, &devices, machine.as_mut(), |name| ruleset.names(name));
        let mut records: Vec<Record> =
            choice.chosen.iter().map(|(_, record)| (*record).clone()).collect();
        let chosen = records.len();
        records.retain(|record| is_judged(record, &layout, request.skip_else));
        records.sort_unstable();
        let for_nobody = chosen - records.len();
        let bench = Bench {
            representatives: representatives(recording, request, &ruleset),
            ephemeral: ephemeral_ports(recording),
            layout,
            ruleset,
        };
        enter_user_namespace()?;
        let (judgements, said) = bench.judge(&records)?;
        let mut notes: Vec<_> = said.into_iter().collect();
        let attacks = Attacks::of(recording, &bench)?;
        if for_nobody > 0 && !request.skip_else {
            let connections = count_of(for_nobody, "connection");
            notes.push(format!("{connections} of others to broadcast not judged: {FOR_NOBODY}"));
        }
        notes.extend(attacks.let_everything_in().then(|| LETS_EVERYTHING_IN.to_owned()));
        let attacks = request.attacks.then_some(attacks);
        Ok(Self { judgements, omissions: choice.omissions, attacks, notes })
    }

    /// Whether all that was judged is accepted, whoever `INTERNET` is.
    pub fn is_covered(&self) -> bool {
        self.not_for_all().next().is_none()
    }

    /// What is refused, if only for addresses that the rules name.
    pub fn not_for_all(&self) -> impl Iterator<Item = &Judgement> {
        let is_refused = |it: &&Judgement| {
            matches!(it.verdict, Verdict::Refused { .. } | Verdict::Partly { .. })
        };
        self.judgements.iter().filter(is_refused)
    }

    /// What is refused.
    pub fn refused(&self) -> impl Iterator<Item = &Judgement> {
        self.judgements.iter().filter(|it| matches!(it.verdict, Verdict::Refused { .. }))
    }

    /// How many have this verdict.
    pub(crate) fn count(&self, verdict: Verdict) -> usize {
        self.judgements.iter().filter(|it| it.verdict == verdict).count()
    }
}

/// What is for many is judged where somebody here takes it.
fn is_judged(record: &Record, layout: &Layout, skip_else: bool) -> bool {
    if record.connection.direction != Direction::Else {
        return true;
    }
    let is_for_many =
        matches!(record.connection.destination, Host::Address(it) if layout.is_for_many(it));
    let is_served = record.outcome == Outcome::Seen(Evidence::Served);
    !skip_else && (!is_for_many || is_served)
}

const FOR_NOBODY: &str = "nothing tells that a program here listens";
/// Does something in a network namespace that has the rules of this machine, and the devices that `text`
/// or they name.
///
/// # Errors
/// No namespace, or rules of this machine that cannot be listed or loaded there.
pub(crate) fn in_copy_of_this_machine<T: Send>(
    text: &str,
    work: impl FnOnce() -> T + Send,
) -> Result<T, AuditError> {
    let ruleset = Ruleset::read(&Sources { host: true, ..Sources::default() })?;
    let mut machine = Machine::read().map_err(AuditError::SetUp)?;
    let named = |name: &str| ruleset.names(name) || ruleset::has_word(text, name);
    let loopback = [layout::LOOPBACK.to_owned()];
    let layout = Layout::of(&[], &loopback, Some(&mut machine), named);
    on_own_thread(|| {
        unshare(CloneFlags::CLONE_NEWNET).map_err(|errno| AuditError::Namespace(errno.into()))?;
        let _stage = Stage::set_up(&layout).map_err(AuditError::SetUp)?;
        ruleset.load()?;
        Ok(work())
    })
    .map_err(AuditError::SetUp)?
}

const LETS_EVERYTHING_IN: &str = "these rules let in every port that was never seen: they may be in learning \
    mode, or have no chain for what comes in";

/// The recorded devices, in the order in which they were given.
fn devices(recording: &Recording, request: &Request) -> Vec<String> {
    let parts = recording.parts.iter().map(|it| &it.provenance);
    let recorded = parts.chain([&recording.provenance]).flatten().flat_map(|it| &it.devices);
    let recorded = recorded.filter(|name| !name.is_empty() && *name != ALL_DEVICES);
    let mut devices = request.devices.clone();
    if devices.is_empty() {
        for name in recorded {
            if !devices.contains(name) {
                devices.push(name.clone());
            }
        }
    }
    if devices.is_empty() { vec![DEVICE.to_owned()] } else { devices }
}

/// This machine, if the rules are of it, or the tree: it has a device of that name, and an address that was
/// recorded as its own.
fn this_machine(
    recording: &Recording,
    devices: &[String],
    is_asked_for: bool,
) -> Result<Option<Machine>, AuditError> {
    let machine = Machine::read().map_err(AuditError::SetUp)?;
    let is_own = |record: &Record| {
        let own = match record.connection.direction {
            Direction::In => record.connection.destination,
            Direction::Out => record.connection.source,
            Direction::Else => return false,
        };
        machine.addresses().any(|address| Host::Address(address) == own)
    };
    let is_here = devices.iter().any(|device| machine.device(device).is_some());
    let is_this = is_here && recording.records.iter().any(is_own);
    Ok((is_asked_for || is_this).then_some(machine))
}

fn representatives(recording: &Recording, request: &Request, ruleset: &Ruleset) -> Representatives {
    let hosts = recording
        .records
        .iter()
        .flat_map(|record| [record.connection.source, record.connection.destination]);
    let named = hosts.filter_map(|host| match host {
        Host::Address(address) => Some(IpNet::from(address).into()),
        Host::Internet => None,
    });
    let in_tree: Vec<_> = named.collect();
    Representatives::of(&Internet::without(&request.internal), &in_tree, &ruleset.intervals())
}

/// Whoever may not make network namespaces can make one within a user namespace, where that is allowed. It
/// is for the whole process, which has one thread yet.
fn enter_user_namespace() -> Result<(), AuditError> {
    let tried = on_own_thread(|| unshare(CloneFlags::CLONE_NEWNET));
    if tried.map_err(AuditError::SetUp)?.is_ok() {
        return Ok(());
    }
    let (user, group) = (geteuid(), getegid());
    unshare(CloneFlags::CLONE_NEWUSER).map_err(|errno| AuditError::Namespace(errno.into()))?;
    let maps = [
        ("setgroups", "deny".to_owned()),
        ("uid_map", format!("0 {user} 1")),
        ("gid_map", format!("0 {group} 1")),
    ];
    for (file, map) in maps {
        fs::write(format!("/proc/self/{file}"), map).map_err(AuditError::Namespace)?;
    }
    Ok(())
}
