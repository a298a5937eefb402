//! The distribution's own description, `os-release`.

use std::fs;

/// The text of `os-release`.
pub(crate) struct OsRelease(String);

impl OsRelease {
    /// This machine's; empty where there is none.
    pub(crate) fn read() -> Self {
        let text = fs::read_to_string("/etc/os-release")
            .or_else(|_| fs::read_to_string("/usr/lib/os-release"))
            .unwrap_or_default();
        Self(text)
    }

    /// The value of the variable `name`, without quotes.
    pub(crate) fn field(&self, name: &str) -> Option<&str> {
        let line = self.0.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix('='))?;
        Some(line.trim().trim_matches(['"', '\'']))
    }
}

#[cfg(test)]
impl From<&str> for OsRelease {
    fn from(text: &str) -> Self {
        Self(text.to_owned())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_field_is_told_by_its_whole_name() {
        let text = OsRelease::from("VERSION_ID=\"12\"\nID=debian\nNAME='A B'\n");
        assert_eq!(text.field("ID"), Some("debian"));
        assert_eq!(text.field("VERSION_ID"), Some("12"));
        assert_eq!(text.field("NAME"), Some("A B"));
        assert_eq!(text.field("VERSION"), None);
    }
}
