//! Builds the eBPF programs with the compiler that builds the agent, and puts the object where
//! `source::ebpf` includes it. A packed crate has the object in it instead. Says which commit is built.

#[cfg(feature = "ebpf")]
fn main() -> anyhow::Result<()> {
    commit::tell();
    ebpf::build()
}

#[cfg(not(feature = "ebpf"))]
fn main() {
    commit::tell();
}

/// Which commit `--version` names.
mod commit {
    use std::{env, fs, process::Command};

    pub(super) fn tell() {
        println!("cargo::rerun-if-env-changed=CONNTRACK_COMMIT");
        println!("cargo::rerun-if-changed=build.rs");
        let commit = env::var("CONNTRACK_COMMIT").ok().or_else(of_package).or_else(of_checkout);
        println!("cargo::rustc-env=CONNTRACK_COMMIT={}", commit.unwrap_or_default());
    }

    /// What `cargo package` has written down.
    fn of_package() -> Option<String> {
        let text = fs::read_to_string(".cargo_vcs_info.json").ok()?;
        let hash = text.split_once("\"sha1\":")?.1.split('"').nth(1)?;
        Some(hash.chars().take(12).collect())
    }

    /// Only for a release: in development, each commit would build everything anew.
    fn of_checkout() -> Option<String> {
        if env::var("PROFILE").as_deref() != Ok("release") {
            return None;
        }
        let hash = git(&["rev-parse", "--short=12", "HEAD"])?;
        for file in ["HEAD", "logs/HEAD"] {
            let path = git(&["rev-parse", "--git-path", file])?;
            println!("cargo::rerun-if-changed={path}");
        }
        Some(hash)
    }

    fn git(arguments: &[&str]) -> Option<String> {
        let output = Command::new("git").args(arguments).output().ok()?;
        let is_good = output.status.success();
        is_good.then(|| String::from_utf8_lossy(&output.stdout).trim().to_owned())
    }
}

#[cfg(feature = "ebpf")]
mod ebpf {
    use std::{
        env,
        ffi::{OsStr, OsString},
        fs,
        path::{Path, PathBuf},
        process::Command,
    };

    use anyhow::Context as _;
    use aya_build::{Package, Toolchain, build_ebpf};

    /// The programs' crate, in a clone.
    const NEIGHBOUR: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../conntrack-ebpf");

    /// The object, in a packed crate: `cargo xtask dist` puts it there.
    const PACKED: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/programs/conntrack-ebpf");

    /// The other sources of the programs; aya-build names the first.
    const SHARED: [&str; 2] = [
        concat!(env!("CARGO_MANIFEST_DIR"), "/../conntrack-common"),
        concat!(env!("CARGO_MANIFEST_DIR"), "/../Cargo.lock"),
    ];

    const WITHOUT: &str = "or build without them: --no-default-features --features pcap";

    pub(super) fn build() -> anyhow::Result<()> {
        match obstacle() {
            // One line instead of what cargo and rustc would say.
            Some(obstacle) => println!("cargo::error={obstacle}, {WITHOUT}"),
            None if is_clone() => compile()?,
            None => unpack()?,
        }
        Ok(())
    }

    fn is_clone() -> bool {
        Path::new(NEIGHBOUR).is_dir()
    }

    /// What keeps the programs from being built or taken.
    fn obstacle() -> Option<String> {
        if is_clone() {
            let missing = missing()?;
            Some(format!(
                "{missing} is missing to build the eBPF programs: type `cargo xtask setup`"
            ))
        } else if !Path::new(PACKED).is_file() {
            Some("the eBPF programs are not here: build in a clone".to_owned())
        } else if env::var("CARGO_CFG_TARGET_ENDIAN").as_deref() != Ok("little") {
            Some("the eBPF programs in this package are little-endian: build in a clone".to_owned())
        } else {
            None
        }
    }

    fn unpack() -> anyhow::Result<()> {
        println!("cargo::rerun-if-changed={PACKED}");
        let output = env::var_os("OUT_DIR").context("OUT_DIR is not set: cargo sets it")?;
        fs::copy(PACKED, Path::new(&output).join("conntrack-ebpf")).context(PACKED)?;
        Ok(())
    }

    /// What `cargo xtask setup` installs.
    fn missing() -> Option<&'static str> {
        let path = env::var_os("PATH").unwrap_or_default();
        if !env::split_paths(&path).any(|dir| dir.join("bpf-linker").is_file()) {
            return Some("bpf-linker");
        }
        let rustc = env::var_os("RUSTC").unwrap_or_else(|| "rustc".into());
        let core = sysroot(&rustc)?.join("lib/rustlib/src/rust/library/core");
        (!core.is_dir()).then_some("rust-src")
    }

    fn sysroot(rustc: &OsStr) -> Option<PathBuf> {
        let output = Command::new(rustc).args(["--print", "sysroot"]).output().ok()?;
        Some(String::from_utf8(output.stdout).ok()?.trim_end().into())
    }

    fn compile() -> anyhow::Result<()> {
        for source in SHARED {
            println!("cargo::rerun-if-changed={source}");
        }
        set_up_cargo(&shared_build_directory()?);
        let toolchain = env::var("RUSTUP_TOOLCHAIN").unwrap_or_else(|_| "stable".to_owned());
        let programs =
            Package { name: "conntrack-ebpf", root_dir: NEIGHBOUR, ..Package::default() };
        build_ebpf([programs], Toolchain::Custom(&toolchain))
    }

    /// `target/ebpf`. Each profile and each set of features has an output directory of its own, and
    /// would build `core` and all dependencies anew for the same object.
    fn shared_build_directory() -> anyhow::Result<PathBuf> {
        let output = env::var_os("OUT_DIR").context("OUT_DIR is not set: cargo sets it")?;
        // target/PROFILE/build/conntrack-HASH/out
        let target = Path::new(&output).ancestors().nth(4);
        Ok(target.context("OUT_DIR is not where cargo puts it")?.join("ebpf"))
    }

    /// Says how cargo is to build the programs, which aya-build leaves to the environment.
    #[expect(unsafe_code, reason = "the environment is how cargo is told")]
    fn set_up_cargo(build_directory: &Path) {
        let settings = [
            // There is no prebuilt `core` for the BPF target, and building it takes an unstable
            // option of cargo. This allows it to the pinned stable compiler, as the Linux kernel does
            // for its Rust.
            ("RUSTC_BOOTSTRAP", OsString::from("1")),
            ("CARGO_BUILD_BUILD_DIR", build_directory.into()),
            // Progress would be passed on as warnings.
            ("CARGO_TERM_QUIET", "true".into()),
        ];
        for (name, value) in settings {
            // SAFETY: a build script is a process of its own and this is its only thread.
            unsafe { env::set_var(name, value) }
        }
    }
}
