//! What to prepare for, and what each requires.

use clap::ValueEnum;

/// What to prepare for. Building is part of each but `fresh` and `trial`.
#[derive(Clone, Copy, ValueEnum)]
pub(crate) enum Purpose {
    /// Building only
    Build,
    /// Formatting and clippy
    Lint,
    /// Every test, including those that need root
    Test,
    /// The fuzz targets
    Fuzz,
    /// All of these
    All,
    /// The benchmarks
    Bench,
    /// The closed loop with real servers
    Loop,
    /// Pages in a browser of Debian
    Page,
    /// A minimal Debian, in which a fresh clone runs its own setup
    Fresh,
    /// Static programs for both architectures
    Static,
    /// Static programs, and packages of them
    Dist,
    /// Static programs built in a container, and packages installed in a Debian of their own
    Trial,
}

impl Purpose {
    pub(super) fn builds(self) -> bool {
        !self.is_fresh() && !self.tries()
    }

    /// Whether it needs every component of `rust-toolchain.toml`.
    pub(super) fn takes_whole_toolchain(self) -> bool {
        matches!(self, Self::Lint | Self::All | Self::Fresh)
    }

    pub(super) fn lints(self) -> bool {
        matches!(self, Self::Lint | Self::All)
    }

    pub(super) fn tests(self) -> bool {
        matches!(self, Self::Test | Self::All)
    }

    pub(super) fn benches(self) -> bool {
        matches!(self, Self::Bench)
    }

    pub(super) fn serves(self) -> bool {
        matches!(self, Self::Loop)
    }

    pub(super) fn browses(self) -> bool {
        matches!(self, Self::Page)
    }

    pub(super) fn fuzzes(self) -> bool {
        matches!(self, Self::Fuzz | Self::All)
    }

    /// Whether libpcap of this machine is linked.
    pub(super) fn links(self) -> bool {
        self.builds() && !matches!(self, Self::Static)
    }

    pub(super) fn is_static(self) -> bool {
        matches!(self, Self::Static | Self::Dist)
    }

    pub(super) fn packs(self) -> bool {
        matches!(self, Self::Dist)
    }

    pub(super) fn tries(self) -> bool {
        matches!(self, Self::Trial)
    }

    pub(super) fn is_fresh(self) -> bool {
        matches!(self, Self::Fresh)
    }
}
