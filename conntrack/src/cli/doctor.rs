//! What is typed behind `conntrack doctor`.

use std::path::PathBuf;

use clap::{Args, Subcommand};

use super::{export::Telling, values::unique};
use crate::doctor::Subjects;

/// Looking at the machine.
#[derive(Clone, Debug, Subcommand)]
pub(super) enum DoctorCommand {
    /// Say what this machine can do, and how to mend what is missing
    #[command(after_help = HELP)]
    Doctor(DoctorArgs),
}

const HELP: &str = "\
One line for each thing: ok, warn (works, but not all of it) or no (keeps a mode from starting), what was \
found, and the fix. Nothing is changed.

Example:
  sudo conntrack doctor -d eth0 -p /tmp/conntrack_data

Exit status: 0 if both modes would start, 3 if only --mode ebpf, 4 if only --mode pcap, 1 if neither, 2 for \
a wrong command line.";

/// `conntrack doctor`.
#[derive(Args, Clone, Debug)]
pub(super) struct DoctorArgs {
    /// Device that is to be watched [default: eth0, or the device of the default route] [repeatable]
    #[arg(short, long, value_name = "DEV", visible_short_alias = 'i')]
    pub(super) device: Vec<String>,

    /// Where the tree is to be written
    #[arg(short, long, value_name = "DIR")]
    pub(super) path: Option<PathBuf>,

    /// How it is told
    #[arg(short, long, value_enum, default_value_t = Telling::Table)]
    pub(super) format: Telling,
}

impl DoctorArgs {
    pub(super) fn subjects(&self) -> Subjects {
        Subjects { devices: unique(&self.device), path: self.path.clone() }
    }
}
