//! `conntrack show`: what is typed behind it, and what it does.

use std::{
    io::{IsTerminal as _, stdout},
    process::ExitCode,
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use clap::{Args, ValueEnum};
use rustix::termios::tcgetwinsize;

use super::{
    output::print,
    place::Place,
    reading::{merge, read_each},
    values::{duration, port},
};
use crate::{
    connection::{Direction, Protocol},
    print::{
        csv::Csv,
        json::Json,
        jsonl::{Each, JsonLines},
    },
    record::Record,
    recording::Recording,
    show::{Clock, Lines, Order, Selection, Services, sort},
};

pub(super) const HELP: &str = "\
One line for each connection: when it was last seen, direction, protocol, what came of it, both ends. Times \
are this machine's on a terminal, else UTC. A line that is too wide goes on in a second one.

Examples:
  conntrack show DIR --in --sort seen       who came, the latest first
  conntrack show DIR --new 24h              what is new since yesterday
  conntrack show DIR --out --unanswered     what is tried in vain
  conntrack show DIR --port 22,3389 -s      these ports, by their names
  conntrack show fleet/*.jsonl --in         several machines, from what -f jsonl printed there

Exit status: 0, or 1 when it could not do its work, or 2 for a wrong command line.";

/// Without a terminal.
const COLUMNS: usize = 100;

/// `conntrack show`.
#[derive(Args, Clone, Debug)]
#[expect(clippy::struct_excessive_bools, reason = "each is a flag of its own")]
pub(super) struct ShowArgs {
    #[command(flatten)]
    place: Place,

    /// Arriving connections
    #[arg(long = "in", help_heading = WHICH)]
    inward: bool,

    /// Leaving connections
    #[arg(long = "out", help_heading = WHICH)]
    outward: bool,

    /// Connections between others
    #[arg(long = "else", help_heading = WHICH)]
    others: bool,

    /// TCP alone
    #[arg(long, conflicts_with = "udp", help_heading = WHICH)]
    tcp: bool,

    /// UDP alone
    #[arg(long, help_heading = WHICH)]
    udp: bool,

    /// To this port [repeatable, or as in 80,443]; in `else` also from it
    #[arg(long, value_name = "PORT", value_delimiter = ',', value_parser = port, help_heading = WHICH)]
    port: Vec<u16>,

    /// Of this systemd unit or container, as in nginx or nginx.service [repeatable]
    #[arg(long, value_name = "NAME", help_heading = WHICH)]
    unit: Vec<String>,

    /// What was refused or never answered
    #[arg(long, help_heading = WHICH)]
    unanswered: bool,

    /// What was first seen in this time, as in 24h; the time is that of the first sight
    #[arg(long, value_name = "DURATION", value_parser = duration, help_heading = WHICH)]
    new: Option<Duration>,

    /// By what they are sorted; the latest time comes first
    #[arg(long, value_enum, default_value_t = Sort::Connection, help_heading = HOW)]
    sort: Sort,

    /// Name services instead of ports, as /etc/services does
    #[arg(short, long, help_heading = HOW)]
    services: bool,

    /// Never break a line
    #[arg(short = '1', long, help_heading = HOW)]
    oneline: bool,

    /// What is printed
    #[arg(short, long, value_enum, default_value_t = ShowFormat::Table, help_heading = HOW)]
    format: ShowFormat,
}

const WHICH: &str = "Which connections";
const HOW: &str = "How they are shown";

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Sort {
    Connection,
    Port,
    Source,
    Destination,
    Seen,
    Made,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum ShowFormat {
    /// Lines for people.
    Table,
    /// An array of objects.
    Json,
    /// Comma-separated values.
    Csv,
    /// The recording and its connections, an object a line: to be handed on, and read as a tree is.
    Jsonl,
}

pub(super) fn run(args: &ShowArgs) -> anyhow::Result<ExitCode> {
    let recordings = read_each(args.place.paths())?;
    if args.format == ShowFormat::Jsonl {
        return jsonl(args, &recordings);
    }
    let all = merge(recordings).records;
    let records = args.picked(&all);
    args.tell(&all, records.len());
    match args.format {
        ShowFormat::Jsonl => {}
        ShowFormat::Json => print(&Json(&records))?,
        ShowFormat::Csv => print(&Csv(&records))?,
        ShowFormat::Table => {
            let services = args.services.then(Services::of_machine).transpose()?;
            let is_terminal = stdout().is_terminal();
            print(&Lines {
                records: &records,
                clock: if is_terminal { Clock::Local } else { Clock::Utc },
                with_made: args.new.is_some() || args.sort == Sort::Made,
                services,
                columns: (!args.oneline).then(columns),
            })?;
        }
    }
    Ok(ExitCode::SUCCESS)
}

/// Prints each recording by itself.
fn jsonl(args: &ShowArgs, recordings: &[Recording]) -> anyhow::Result<ExitCode> {
    let picked: Vec<_> = recordings.iter().map(|it| args.picked(&it.records)).collect();
    let all: Vec<_> = recordings.iter().flat_map(|it| it.records.iter().cloned()).collect();
    args.tell(&all, picked.iter().map(Vec::len).sum());
    let each = recordings.iter().zip(&picked);
    let each = each.map(|(recording, records)| JsonLines { recording, records });
    print(&Each(each.collect()))?;
    Ok(ExitCode::SUCCESS)
}

/// Of the terminal, if it is one.
fn columns() -> usize {
    match tcgetwinsize(stdout()) {
        Ok(size) if size.ws_col > 0 => size.ws_col.into(),
        _ => COLUMNS,
    }
}

impl ShowArgs {
    /// The records that are shown, in order.
    fn picked(&self, all: &[Record]) -> Vec<Record> {
        let selection = self.selection();
        let mut records: Vec<_> = all.iter().filter(|it| selection.includes(it)).cloned().collect();
        sort(&mut records, self.sort.into());
        records
    }

    /// Says what is missing, and that nothing is shown.
    fn tell(&self, all: &[Record], picked: usize) {
        let untold = all.iter().filter(|it| it.made.is_none()).count();
        if self.new.is_some() && untold > 0 {
            log::warn!("{untold} left out: the file system does not tell when they were made");
        }
        if picked == 0 {
            log::info!("none of {} connections", all.len());
        }
    }

    fn selection(&self) -> Selection {
        let directions = [
            (self.inward, Direction::In),
            (self.outward, Direction::Out),
            (self.others, Direction::Else),
        ];
        let protocols = [(self.tcp, Protocol::Tcp), (self.udp, Protocol::Udp)];
        let since = |age| SystemTime::now().checked_sub(age).unwrap_or(UNIX_EPOCH);
        Selection {
            directions: wanted(directions),
            protocols: wanted(protocols),
            ports: self.port.clone(),
            units: self.unit.clone(),
            unanswered: self.unanswered,
            made_since: self.new.map(since),
        }
    }
}

fn wanted<T, const N: usize>(all: [(bool, T); N]) -> Vec<T> {
    all.into_iter().filter_map(|(is_wanted, it)| is_wanted.then_some(it)).collect()
}

impl From<Sort> for Order {
    fn from(sort: Sort) -> Self {
        match sort {
            Sort::Connection => Self::Connection,
            Sort::Port => Self::Port,
            Sort::Source => Self::Source,
            Sort::Destination => Self::Destination,
            Sort::Seen => Self::Seen,
            Sort::Made => Self::Made,
        }
    }
}
