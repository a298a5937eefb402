//! The subcommands that read a tree: what they print and with which status they end.

use std::{
    collections::BTreeSet,
    io::{IsTerminal as _, stdout},
    path::Path,
    process::ExitCode,
    time::{SystemTime, UNIX_EPOCH},
};

use log::LevelFilter;

use super::{
    export::{At, AuditArgs, DiffArgs, DroppedArgs, ExportCommand, Format, RulesArgs, Telling},
    here,
    output::{print, put},
    reading::{merge, read, read_each},
    report, show, translation,
    values::unique,
};
use crate::{
    audit::Audit,
    connection::Connection,
    diff::Diff,
    dropped::Dropped,
    print::{
        audit as audited,
        csv::Csv,
        firewalld, iptables,
        json::Json,
        jsonl::{Each, JsonLines},
        nftables, systemd,
        table::Table,
        ufw,
        words::{self, count_of},
    },
    recording::Recording,
    rules::{omissions::Omission, rule_set::RuleSet, vocabulary::Request, warnings::Warning},
    tracker::Scope,
    tree::Tree,
};
use anyhow::anyhow;

/// The trees differ, or the rules refuse a connection.
const DIFFERENT: u8 = 3;

/// Instead of a file: each that is listed.
const ALL: &str = "all";

pub(super) fn run(command: ExportCommand) -> anyhow::Result<ExitCode> {
    match command {
        ExportCommand::Show(args) => show::run(&args),
        ExportCommand::Report(args) => report::run(&args),
        ExportCommand::Rules(args) => rules(&args),
        ExportCommand::Diff(args) => diff(&args),
        ExportCommand::Audit(args) => audit(&args),
        ExportCommand::Dropped(args) => dropped(&args),
    }
}

fn rules(args: &RulesArgs) -> anyhow::Result<ExitCode> {
    if args.quiet {
        log::set_max_level(LevelFilter::Error);
    }
    check(args)?;
    let mut recordings = read_each(args.place.paths())?;
    if let Some(since) = args.since {
        let start = SystemTime::now().checked_sub(since).unwrap_or(UNIX_EPOCH);
        let left_out = recordings.iter_mut().map(|it| it.forget_before(start)).sum();
        log::info!("{} left out by --since", count_of(left_out, "connection"));
    }
    if !args.unit.is_empty() {
        keep_units(&mut recordings, &args.unit)?;
    }
    let output = args.output.as_deref().filter(|path| *path != Path::new("-"));
    if args.format == Format::Jsonl {
        let each = recordings.iter().map(|it| JsonLines { recording: it, records: &it.records });
        put(output, &Each(each.collect()))?;
        return Ok(ExitCode::SUCCESS);
    }
    let recording = merge(recordings);
    let has_rules = matches!(
        args.format,
        Format::Nftables | Format::Iptables | Format::Ufw | Format::Firewalld
    );
    if has_rules && args.at == At::Host && translation::is_done_here(recording.provenance.as_ref())
    {
        log::warn!("{}", translation::WARNING);
    }
    let records = &recording.records;
    match args.format {
        Format::Nftables => put(output, &nftables::File::of(&rule_set(&recording, args)))?,
        Format::Iptables => put(output, &iptables::File(&rule_set(&recording, args)))?,
        Format::Ufw => put(output, &ufw::Script::of(&rule_set(&recording, args)))?,
        Format::Systemd => {
            let unit = systemd::one_unit(records, &args.unit).map_err(|why| anyhow!(why))?;
            put(output, &systemd::DropIn::of(&rule_set(&recording, args), &unit))?;
        }
        Format::Firewalld => put(output, &firewalld::Script::of(&rule_set(&recording, args)))?,
        Format::Json => put(output, &Json(records))?,
        Format::Csv => put(output, &Csv(records))?,
        Format::Table => put(output, &Table(records))?,
        Format::Jsonl => {}
    }
    Ok(ExitCode::SUCCESS)
}

/// Leaves the connections of these units alone.
fn keep_units(recordings: &mut [Recording], units: &[String]) -> anyhow::Result<()> {
    for unit in units {
        let mut records = recordings.iter().flat_map(|it| &it.records);
        if !records.any(|it| it.units.has(unit)) {
            return Err(anyhow!(
                "no connection of a unit {unit}; conntrack rules -f table lists the units"
            ));
        }
    }
    for recording in recordings {
        recording.records.retain(|it| units.iter().any(|unit| it.units.has(unit)));
    }
    Ok(())
}

/// What a format cannot say is no rule that says less.
fn check(args: &RulesArgs) -> anyhow::Result<()> {
    match (args.format, args.at) {
        (Format::Systemd, _) if args.unit.len() != 1 => {
            Err(anyhow!("--format systemd is for one unit: give --unit NAME"))
        }
        (Format::Systemd, _) if args.forward || !args.device.is_empty() => Err(anyhow!(
            "systemd knows no devices, and what a unit forwards is not its own: leave out --forward and --device"
        )),
        _ if args.by_unit && args.format != Format::Nftables => {
            Err(anyhow!("--by-unit is for --format nftables"))
        }
        (Format::Ufw | Format::Firewalld, At::Wire) => Err(anyhow!(
            "--at wire is for nftables and iptables: rules of ufw and firewalld stand at the host"
        )),
        (Format::Firewalld, At::Host) if !args.device.is_empty() => {
            Err(anyhow!("firewalld's policies are for every device: leave out --device"))
        }
        (Format::Ufw, At::Host) if args.enforce && !args.device.is_empty() => {
            Err(anyhow!("ufw refuses on every device alike: leave out --device, or --enforce"))
        }
        _ if args.ipset && args.format != Format::Iptables => {
            Err(anyhow!("--ipset is for --format iptables: nftables has sets of its own"))
        }
        (Format::Iptables, At::Wire) if unique(&args.device).len() > 1 => Err(anyhow!(
            "--at wire with several devices is for nftables: the match of iptables takes one"
        )),
        _ => Ok(()),
    }
}

/// The rules that are asked for. Their warnings are logged, unless the same eyes see them in the rules.
fn rule_set(recording: &Recording, args: &RulesArgs) -> RuleSet {
    let joined = here::listened_to(recording);
    let mut rule_set = RuleSet::of(recording, Request { joined, ..args.request() });
    if matches!(args.format, Format::Ufw | Format::Firewalld) {
        // They cannot be told of one.
        rule_set.warnings.retain(|it| *it != Warning::EveryDevice);
    }
    if args.output.is_none() && stdout().is_terminal() {
        return rule_set;
    }
    tell_omissions(&rule_set.omissions);
    let mut told = BTreeSet::new();
    for warning in rule_set.warnings.iter().map(words::warning) {
        if told.insert(warning.clone()) {
            log::warn!("{warning}");
        }
    }
    rule_set
}

fn tell_omissions(omissions: &[Omission]) {
    for line in words::omissions(omissions) {
        log::info!("left out: {line}");
    }
    if let Some(hint) = words::how_to_take_in(omissions) {
        log::info!("{hint}");
    }
}

fn diff(args: &DiffArgs) -> anyhow::Result<ExitCode> {
    let (one, other) = args.sides();
    let diff = Diff::between(&read(&one)?, &read(&other)?, args.all);
    match args.format {
        Telling::Table => print(&diff)?,
        Telling::Json => print(&diff.json())?,
    }
    Ok(if diff.is_empty() { ExitCode::SUCCESS } else { ExitCode::from(DIFFERENT) })
}

fn audit(args: &AuditArgs) -> anyhow::Result<ExitCode> {
    let recording = read(args.place.paths())?;
    let audit = Audit::of(&recording, &args.request())?;
    tell_omissions(&audit.omissions);
    for note in &audit.notes {
        log::warn!("{note}");
    }
    match args.format {
        Telling::Table => print(&audited::Table(&audit))?,
        Telling::Json => print(&audited::Json(&audit))?,
    }
    Ok(if audit.is_covered() { ExitCode::SUCCESS } else { ExitCode::from(DIFFERENT) })
}

fn dropped(args: &DroppedArgs) -> anyhow::Result<ExitCode> {
    if !args.accept.is_empty() && !args.path.is_dir() {
        let path = args.path.display();
        return Err(anyhow!(
            "{path} is no tree: what --accept accepts is kept with the files of a tree"
        ));
    }
    let recording = read(std::slice::from_ref(&args.path))?;
    let dropped = Dropped::now(&recording, &Scope::new(args.internal.iter().copied()))?;
    if args.accept.is_empty() {
        print(&dropped)?;
    } else {
        accept(&args.path, &chosen(&dropped, &args.accept)?)?;
    }
    Ok(ExitCode::SUCCESS)
}

/// What of it is named.
fn chosen(dropped: &Dropped, names: &[String]) -> anyhow::Result<BTreeSet<Connection>> {
    let mut chosen = BTreeSet::new();
    for name in names {
        let is_it = |path: &String| name == ALL || path == name;
        let entries = dropped.0.iter().filter(|entry| entry.path().as_ref().is_some_and(is_it));
        let connections: Vec<_> = entries.filter_map(|entry| entry.connection).collect();
        if connections.is_empty() && name != ALL {
            return Err(anyhow!("{name} was not dropped; conntrack dropped lists what was"));
        }
        chosen.extend(connections);
    }
    Ok(chosen)
}

fn accept(path: &Path, chosen: &BTreeSet<Connection>) -> anyhow::Result<()> {
    let mut tree = Tree::open_or_make(path)?;
    for connection in chosen {
        tree.accept(*connection)?;
    }
    let count = count_of(chosen.len(), "connection");
    log::info!("{count} accepted from now on: make the rules anew and load them");
    Ok(())
}
