//! The mirror of Debian's archive that this machine's apt uses. No host is built in.

use std::process::Command;

use anyhow::{Context as _, Result};

use crate::command;

/// The URL of Debian's archive, with all of its releases.
pub(crate) struct Mirror(pub(crate) String);

impl Mirror {
    /// The one that is `named`, or the one that this machine's apt uses.
    pub(crate) fn find(named: Option<&str>) -> Result<Self> {
        if let Some(named) = named {
            return Ok(Self(named.to_owned()));
        }
        let format = ["indextargets", "--format", "$(ORIGIN) $(LABEL) $(SITE)"];
        let targets = command::output(Command::new("apt-get").args(format)).unwrap_or_default();
        let site = site(&targets).context(
            "this machine's apt knows no archive of Debian: say where with --mirror, and install \
             debian-archive-keyring",
        )?;
        Ok(Self(site.to_owned()))
    }
}

/// The first source of Debian's own archive that is a URL, not a local path.
fn site(targets: &str) -> Option<&str> {
    let mut sites = targets.lines().filter_map(|line| line.strip_prefix("Debian Debian "));
    sites.find(|site| site.starts_with("http"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_archive_is_told_by_its_own_name() {
        let targets = "Other Other http://a.example/apt\n\
            Debian Debian-Security http://b.example/security\n\
            Debian Debian file:/mnt\nDebian Debian http://b.example/debian\n";
        assert_eq!(site(targets), Some("http://b.example/debian"));
        assert_eq!(site("Ubuntu Ubuntu http://c.example/ubuntu\n"), None);
    }
}
