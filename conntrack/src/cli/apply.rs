//! `conntrack apply`, as typed and as it runs: rules are put in force, and somebody has to say yes.

use std::{
    collections::BTreeSet,
    fs,
    io::{self, Write as _},
    path::PathBuf,
    process::ExitCode,
    slice,
    time::{Duration, Instant},
};

use anyhow::anyhow;
use clap::{ArgGroup, Args, Subcommand};
use rustix::{
    event::{PollFd, PollFlags, Timespec, poll},
    io::Errno,
};

use super::{
    here,
    reading::read,
    values::{device, duration, span, unique},
};
use crate::{
    apply::{self, Ended, Plan, Step, guard::guard, keep::Advice},
    audit::AuditError,
    connection::Connection,
    print::{
        nftables,
        words::{self, count_of},
    },
    recording::Recording,
    rules::{rule_set::RuleSet, vocabulary::Request},
    tree,
};

/// More connections are only counted.
const NAMED: usize = 20;
/// Nobody said yes.
const TAKEN_BACK: u8 = 3;
/// What is taken for a yes.
const YES: [&str; 2] = ["y", "yes"];

const APPLY_HELP: &str = "\
The rules are tried in a network namespace first: they have to load, to touch no other table, and to refuse \
nothing of the tree that works now (the audit), unless --force is given. Then rules \
that refuse nothing are in force for a while, so that netfilter gets to know the connections that are open, and \
then the rules. They are taken back unless somebody types yes in time: also when the terminal goes away, or when \
this is killed.

Examples:
  sudo conntrack apply -p DIR                         the enforcing rules of a tree
  sudo conntrack apply -p DIR --rules FILE            rules that were edited
  sudo conntrack apply --undo                         what was there before

Exit status: 0 if the rules are kept, 3 if they were taken back, 1 when it could not do its work, 2 for a wrong \
command line.";

/// Putting rules in force.
#[derive(Clone, Debug, Subcommand)]
pub(super) enum ApplyCommand {
    /// Put rules in force, and take them back unless somebody says yes
    #[command(after_help = APPLY_HELP)]
    Apply(ApplyArgs),
}

/// `conntrack apply`.
#[derive(Args, Clone, Debug)]
#[command(group = ArgGroup::new("what").required(true).multiple(true).args(["path", "rules", "undo", "guard"]))]
pub(super) struct ApplyArgs {
    /// The tree whose enforcing rules these are, or a file of what -f jsonl prints
    #[arg(short, long, value_name = "DIR")]
    path: Option<PathBuf>,

    /// Rules, as for `nft -f`, of our table alone; with a tree, that is what they have to accept
    #[arg(short, long, value_name = "FILE")]
    rules: Option<PathBuf>,

    /// The rules of a tree are for this device; without it, for every device [repeatable]
    #[arg(short, long, value_name = "DEV", value_parser = device, requires = "path")]
    device: Vec<String>,

    /// How long to wait for a yes
    #[arg(long, value_name = "DURATION", value_parser = span, default_value = "60s")]
    confirm: Duration,

    /// How long to let netfilter get to know what is open; not where our table is in force already
    #[arg(long, value_name = "DURATION", value_parser = duration, default_value = "10s")]
    learn: Duration,

    /// Also where the audit says that they would refuse what was recorded and works now
    #[arg(long)]
    force: bool,

    /// Go back to what was there before
    #[arg(long, conflicts_with_all = ["path", "rules"])]
    undo: bool,

    /// Be the process that takes rules back
    #[arg(long, value_name = "FILE", hide = true)]
    guard: Option<PathBuf>,
}

pub(super) fn run(args: &ApplyArgs) -> anyhow::Result<ExitCode> {
    if let Some(undo) = &args.guard {
        guard(undo, args.confirm)?;
        return Ok(ExitCode::SUCCESS);
    }
    if args.undo {
        let is_undone = apply::undo()?;
        say(if is_undone { "taken back" } else { "there is nothing to take back" });
        return Ok(ExitCode::SUCCESS);
    }
    let recording = args.path.as_ref().map(|path| read(slice::from_ref(path))).transpose()?;
    let plan = plan(args, recording.as_ref())?;
    let refused = recording.map(|it| apply::refused(&plan, &it, &unique(&args.device)));
    let works_on =
        refused.is_none_or(|it| it.map_or_else(|error| not_foreseen(&error), |it| works_on(&it)));
    if !works_on && !args.force {
        say("nothing was changed; --force applies them all the same");
        return Ok(ExitCode::from(TAKEN_BACK));
    }
    let ended = apply::apply(&plan, tell, is_confirmed)?;
    match ended {
        Ended::Kept => {
            say(&Advice::of_this_machine().to_string());
            Ok(ExitCode::SUCCESS)
        }
        Ended::TakenBack => {
            say("taken back: what was there before is in force");
            Ok(ExitCode::from(TAKEN_BACK))
        }
    }
}

/// Whether the rules refuse nothing that was recorded; what they do is said.
fn works_on(refused: &BTreeSet<Connection>) -> bool {
    if refused.is_empty() {
        return true;
    }
    let connections = count_of(refused.len(), "recorded connection");
    say(&format!("the rules would refuse {connections} that what is in force now lets through:"));
    for connection in refused.iter().take(NAMED) {
        say(&format!("- {}", tree::path(connection)));
    }
    if refused.len() > NAMED {
        say(&format!(
            "and {} more; conntrack audit --host --rules FILE lists all",
            refused.len() - NAMED
        ));
    }
    false
}

/// That cannot be helped.
fn not_foreseen(error: &AuditError) -> bool {
    say(&format!("cannot tell what of the tree the rules would refuse: {error}"));
    true
}

fn plan(args: &ApplyArgs, recording: Option<&Recording>) -> anyhow::Result<Plan> {
    let (name, rules) = match (&args.rules, &args.path) {
        (Some(file), _) => {
            let name = file.display().to_string();
            let rules = fs::read(file).map_err(|error| anyhow!("cannot read {name}: {error}"))?;
            (name, rules)
        }
        (None, Some(path)) => {
            let recording = recording.ok_or_else(|| anyhow!("no tree was read"))?;
            let request = Request {
                enforce: true,
                devices: unique(&args.device),
                joined: here::listened_to(recording),
                ..Request::default()
            };
            let rule_set = RuleSet::of(recording, request);
            for warning in &rule_set.warnings {
                log::warn!("{}", words::warning(warning));
            }
            let rules = nftables::File::of(&rule_set).to_string().into_bytes();
            (format!("the rules of {}", path.display()), rules)
        }
        (None, None) => return Err(anyhow!("neither a tree nor rules")),
    };
    Ok(Plan { rules, name, learn: args.learn, confirm: args.confirm })
}

fn tell(step: Step) {
    match step {
        Step::Learning(time) => {
            let time = humantime::format_duration(time);
            say(&format!("learning which connections are open, for {time}"));
        }
        Step::InForce => {
            say("the rules are in force: see whether you still get in, from elsewhere");
        }
    }
}

/// Asks; no answer, another one, and nobody there are all no.
fn is_confirmed(patience: Duration) -> bool {
    let time = humantime::format_duration(patience);
    let _nobody_reads = write!(io::stderr(), "Keep them? Type yes within {time}: ");
    let start = Instant::now();
    let mut line = Vec::new();
    while let Some(byte) = next_byte(patience.saturating_sub(start.elapsed())) {
        if byte == b'\n' {
            let answer = String::from_utf8_lossy(&line).trim().to_lowercase();
            return YES.contains(&answer.as_str());
        }
        line.push(byte);
    }
    say("");
    false
}

fn next_byte(patience: Duration) -> Option<u8> {
    let start = Instant::now();
    let stdin = io::stdin();
    loop {
        let left = Timespec::try_from(patience.saturating_sub(start.elapsed())).ok()?;
        match poll(&mut [PollFd::new(&stdin, PollFlags::IN)], Some(&left)) {
            Err(Errno::INTR) => {}
            Ok(0) | Err(_) => return None,
            Ok(_) => {
                let mut byte = [0];
                // Not through a buffer: what is in one is not seen by poll(2).
                let length = rustix::io::read(&stdin, &mut byte).ok()?;
                return (length == 1).then_some(byte[0]);
            }
        }
    }
}

/// Whether somebody reads it or not, the rest goes on.
fn say(text: &str) {
    let _nobody_reads = writeln!(io::stderr(), "{text}");
}
