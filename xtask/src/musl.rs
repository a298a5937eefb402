//! The targets of static programs: Linux with musl, whose programs run whatever C library a machine has.

/// A target, and its names everywhere.
pub(crate) struct Target {
    /// As `uname -m` prints it.
    pub(crate) architecture: &'static str,
    /// Debian's name.
    pub(crate) debian: &'static str,
    /// rustup's name.
    pub(crate) rust: &'static str,
    /// GNU's name, which Debian's folders have.
    pub(crate) gnu: &'static str,
    /// The C compiler: it is told where musl is, so that Debian's own for this architecture will do.
    pub(crate) compiler: &'static str,
    /// What that compiler has to be told besides.
    pub(crate) flags: &'static str,
}

pub(crate) const TARGETS: [Target; 2] = [
    Target {
        architecture: "x86_64",
        debian: "amd64",
        rust: "x86_64-unknown-linux-musl",
        gnu: "x86_64-linux-musl",
        compiler: "x86_64-linux-gnu-gcc",
        flags: "",
    },
    Target {
        architecture: "aarch64",
        debian: "arm64",
        rust: "aarch64-unknown-linux-musl",
        gnu: "aarch64-linux-musl",
        compiler: "aarch64-linux-gnu-gcc",
        // The functions that it would call are in a library of the compiler, which is not linked.
        flags: "-mno-outline-atomics",
    },
];
