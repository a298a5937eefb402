//! The command `conntrack`. Everything it does is in the library; this hands out the exit status.

use std::process::ExitCode;

fn main() -> ExitCode {
    conntrack::cli::run()
}
