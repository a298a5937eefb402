//! Builds the eBPF programs with the compiler that builds the agent, and puts the object where
//! `source::ebpf` includes it.

#[cfg(feature = "ebpf")]
fn main() -> anyhow::Result<()> {
    ebpf::build()
}

#[cfg(not(feature = "ebpf"))]
fn main() {}

#[cfg(feature = "ebpf")]
mod ebpf {
    use std::env;

    use aya_build::{Package, Toolchain, build_ebpf};

    pub(super) fn build() -> anyhow::Result<()> {
        allow_build_std();
        let toolchain = env::var("RUSTUP_TOOLCHAIN").unwrap_or_else(|_| "stable".to_owned());
        let programs = Package {
            name: "conntrack-ebpf",
            root_dir: concat!(env!("CARGO_MANIFEST_DIR"), "/../conntrack-ebpf"),
            ..Package::default()
        };
        build_ebpf([programs], Toolchain::Custom(&toolchain))
    }

    /// There is no prebuilt `core` for the BPF target, and building it takes an unstable option of
    /// cargo. This allows it to the pinned stable compiler, as the Linux kernel does for its Rust.
    #[expect(unsafe_code, reason = "the environment is how cargo is told")]
    fn allow_build_std() {
        // SAFETY: a build script is a process of its own and this is its only thread.
        unsafe { env::set_var("RUSTC_BOOTSTRAP", "1") }
    }
}
