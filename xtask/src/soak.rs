//! `cargo xtask soak`: runs a collector in each mode for minutes, under traffic, while its device
//! flaps and its addresses change; `--save` writes the result into `docs/reliability.md`. The test
//! itself is `conntrack/benches/soak.rs`.

use anyhow::Result;

use crate::{bench::Measurement, document::Table};

/// What `soak` takes.
#[derive(clap::Args)]
pub(crate) struct Args {
    /// How long, for each mode
    #[arg(long, value_name = "N", default_value_t = 3)]
    minutes: u32,
    /// Write the table into docs/reliability.md
    #[arg(long)]
    save: bool,
}

/// Fails if memory or descriptors grow, or anything is lost.
pub(crate) fn run(args: &Args) -> Result<()> {
    SOAK.take(&[args.minutes.to_string()], args.save)
}

pub(crate) const SOAK: Measurement =
    Measurement { target: "soak", table: Table { verb: "soak", document: "docs/reliability.md" } };
