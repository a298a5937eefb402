//! `conntrack report`: what is typed behind it, and what it does.

use std::{
    path::{Path, PathBuf},
    process::ExitCode,
    time::SystemTime,
};

use clap::Args;
use ipnet::IpNet;

use super::{
    output::put,
    place::Place,
    reading::{merge, read_each},
    values::{device, network, unique},
};
use crate::{
    audit::{self, Audit, AuditError},
    page::{Judged, Machine, Page, Subject},
    recording::Recording,
    show::Services,
};

pub(super) const HELP: &str = "\
One page of HTML, to read in a browser, to print and to hand on: what is new, services and who uses them, what \
this machine uses, scans, what is between others. It holds no script and loads nothing. With --rules the kernel \
is asked what they would refuse, as `conntrack audit` does; that requires root, or user namespaces. Of several \
machines the page tells which differ from most.

Examples:
  conntrack report -p DIR -o report.html
  conntrack report fleet/web*.jsonl -o role.html
  sudo conntrack report -p DIR --rules enforcing.nft -o report.html

Exit status: 0, or 1 when it could not do its work, or 2 for a wrong command line.";

/// `conntrack report`.
#[derive(Args, Clone, Debug)]
pub(super) struct ReportArgs {
    #[command(flatten)]
    place: Place,

    /// Write to this file instead of standard output
    #[arg(short, long, value_name = "FILE")]
    output: Option<PathBuf>,

    /// Tell what these rules would refuse, as for `nft -f`
    #[arg(short, long, value_name = "FILE")]
    rules: Option<PathBuf>,

    /// With --rules: the device that was recorded, where the tree does not say it or it has another name here
    /// [repeatable]
    #[arg(short, long, value_name = "DEV", value_parser = device, requires = "rules")]
    device: Vec<String>,

    /// With --rules: network that is not INTERNET [repeatable]; give those that were given when it was recorded
    #[arg(long, value_name = "CIDR", value_delimiter = ',', value_parser = network, requires = "rules")]
    internal: Vec<IpNet>,
}

pub(super) fn run(args: &ReportArgs) -> anyhow::Result<ExitCode> {
    let recordings = read_each(args.place.paths())?;
    let machines = recordings.iter().map(Machine::of).collect();
    let recording = merge(recordings);
    let audit = args.rules.as_ref().map(|rules| args.audit(&recording, rules)).transpose()?;
    let judged = args.rules.as_ref().zip(audit.as_ref()).map(|(rules, audit)| Judged {
        file: rules.display().to_string(),
        audit: audit.as_ref().map_err(ToString::to_string),
    });
    let page = Page(Subject {
        recording: &recording,
        now: SystemTime::now(),
        machines,
        // Without the file, ports have numbers only.
        services: Services::of_machine().unwrap_or_default(),
        rules: judged,
    });
    put(args.output.as_deref().filter(|path| *path != Path::new("-")), &page)?;
    Ok(ExitCode::SUCCESS)
}

impl ReportArgs {
    /// Has the kernel judge these rules. Where it may not be asked, the page says so.
    fn audit(
        &self,
        recording: &Recording,
        rules: &Path,
    ) -> Result<Result<Audit, AuditError>, AuditError> {
        let request = audit::Request {
            sources: audit::Sources {
                nftables: Some(rules.to_owned()),
                ..audit::Sources::default()
            },
            devices: unique(&self.device),
            internal: self.internal.clone(),
            ..audit::Request::default()
        };
        match Audit::of(recording, &request) {
            Err(error @ AuditError::Namespace(_)) => {
                log::warn!("{error}");
                Ok(Err(error))
            }
            audit => audit.map(Ok),
        }
    }
}
