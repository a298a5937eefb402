//! One thing that was looked at: what was found, what mends it, and which modes it keeps from starting.

use std::fmt;

use serde::{Serialize, Serializer, ser::SerializeStruct as _};

/// Which modes something keeps from starting.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Keeps {
    pub(super) ebpf: bool,
    pub(super) pcap: bool,
}

impl Keeps {
    pub(super) const NONE: Self = Self { ebpf: false, pcap: false };
    pub(super) const EBPF: Self = Self { ebpf: true, pcap: false };
    pub(super) const PCAP: Self = Self { ebpf: false, pcap: true };
    pub(super) const BOTH: Self = Self { ebpf: true, pcap: true };
}

/// One thing that was looked at.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Check {
    subject: &'static str,
    found: String,
    /// What to do, if it is not as it should be.
    pub(super) fix: Option<String>,
    pub(super) keeps: Keeps,
}

impl Check {
    pub(super) fn ok(subject: &'static str, found: impl Into<String>) -> Self {
        Self { subject, found: found.into(), fix: None, keeps: Keeps::NONE }
    }

    /// Both modes start, but not everything works.
    pub(super) fn warn(
        subject: &'static str,
        found: impl Into<String>,
        fix: impl Into<String>,
    ) -> Self {
        Self::no(subject, Keeps::NONE, found, fix)
    }

    /// Keeps modes from starting.
    pub(super) fn no(
        subject: &'static str,
        keeps: Keeps,
        found: impl Into<String>,
        fix: impl Into<String>,
    ) -> Self {
        Self { subject, found: found.into(), fix: Some(fix.into()), keeps }
    }
}

impl Check {
    /// The same, and it says which device that is about.
    pub(super) fn about(self, device: &str) -> Self {
        let is_said = self.found.split([' ', ':', ';']).any(|word| word == device);
        let found = if is_said { self.found } else { format!("{device}: {}", self.found) };
        Self { found, ..self }
    }

    /// The verdict in a word.
    const fn verdict(&self) -> &'static str {
        match self {
            Self { fix: None, .. } => "ok",
            Self { keeps: Keeps::NONE, .. } => "warn",
            _ => "no",
        }
    }
}

impl Serialize for Check {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let Self { subject, found, fix, keeps: _ } = self;
        let mut object = serializer.serialize_struct("Check", 4)?;
        object.serialize_field("subject", subject)?;
        object.serialize_field("verdict", self.verdict())?;
        object.serialize_field("found", found)?;
        object.serialize_field("fix", fix)?;
        object.end()
    }
}

impl fmt::Display for Check {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { subject, found, fix, keeps: _ } = self;
        write!(f, "{:<5} {subject}: {found}", self.verdict())?;
        fix.as_ref().map_or(Ok(()), |fix| write!(f, "; fix: {fix}"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_says_what_and_how_to_mend_it() {
        assert_eq!(Check::ok("kernel", "Linux 6.6").to_string(), "ok    kernel: Linux 6.6");
        let warning = Check::warn("device", "is down", "set it up").to_string();
        assert_eq!(warning, "warn  device: is down; fix: set it up");
        let no = Check::no("path", Keeps::BOTH, "is a file", "move it").to_string();
        assert_eq!(no, "no    path: is a file; fix: move it");
        let about = |found: &str| Check::ok("XDP", found).about("eth1").to_string();
        assert_eq!(about("eth1 is free"), "ok    XDP: eth1 is free");
        assert_eq!(about("eth10 is free"), "ok    XDP: eth1: eth10 is free");
    }
}
