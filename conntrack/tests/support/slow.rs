//! A file system that takes its time for each file, as NFS over a slow line does: strace(1) delays the
//! system calls.

use super::traced::Traced;

/// Has the command behind it make files with 5 ms for each. It is strace's parent and not its child.
pub const SLOWLY: &[&str] = &[
    "strace",
    "-D",
    "-f",
    "-qqq",
    "-o",
    "/dev/null",
    "--seccomp-bpf",
    "-e",
    "trace=mknodat,utimensat",
    "-e",
    "inject=mknodat,utimensat:delay_enter=5000",
];

/// A running process whose files take 5 ms each, as long as what is returned lives.
pub fn slowed(process: u32) -> Traced {
    Traced::with(process, "mknodat,utimensat", "delay_enter=5000")
}
