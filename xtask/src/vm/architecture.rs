//! What differs between architectures: their names, compilers and emulators.

/// An architecture.
pub(crate) struct Architecture {
    /// Debian's name for it.
    pub(crate) debian: &'static str,
    /// The program that strips executables.
    pub(crate) strip: &'static str,
    /// The cross compiler, unless it is this machine's architecture.
    pub(crate) cross: Option<Cross>,
    /// The emulator.
    pub(super) qemu: &'static str,
    pub(super) machine: &'static [&'static str],
    pub(super) console: &'static str,
}

/// A cross compiler.
pub(crate) struct Cross {
    /// rustup's name for the target.
    pub(crate) target: &'static str,
    pub(crate) linker: &'static str,
}

pub(crate) const AMD64: Architecture = Architecture {
    debian: "amd64",
    strip: "strip",
    cross: None,
    qemu: "qemu-system-x86_64",
    // Without cmpxchg16b: as qemu 7.2 emulates it, it leaves wrong flags behind, and Linux 6.12, which
    // allocates memory with it, panics.
    machine: &["-cpu", "max,-cx16"],
    console: "ttyS0",
};

pub(crate) const ARM64: Architecture = Architecture {
    debian: "arm64",
    strip: "aarch64-linux-gnu-strip",
    cross: Some(Cross { target: "aarch64-unknown-linux-gnu", linker: "aarch64-linux-gnu-gcc" }),
    qemu: "qemu-system-aarch64",
    machine: &["-machine", "virt", "-cpu", "cortex-a72"],
    console: "ttyAMA0",
};

impl Architecture {
    /// Programs that it requires on this machine.
    pub(crate) fn programs(&self) -> impl Iterator<Item = &'static str> {
        let linker = self.cross.as_ref().map(|cross| cross.linker);
        [self.qemu, self.strip].into_iter().chain(linker)
    }
}
