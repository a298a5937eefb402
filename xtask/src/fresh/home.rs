//! The newcomer's home folder, inside the minimal Debian.

pub(super) const HOME: &str = "/root";
