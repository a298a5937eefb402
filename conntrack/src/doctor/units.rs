//! The control groups of this machine: whether they can be seen, which is how connections get the names of
//! units.

use std::io;

use super::check::Check;
use crate::host::cgroups::{Mount, is_initial_namespace};

const SUBJECT: &str = "units";
const NO_NAMES: &str = "connections have no names of units";

pub(super) fn check() -> Check {
    found(is_initial_namespace(), Mount::find())
}

fn found(is_initial: io::Result<bool>, mount: io::Result<Option<Mount>>) -> Check {
    let outside = "run it outside the container";
    match (is_initial, mount) {
        (Err(error), _) | (_, Err(error)) => {
            let found = format!("control groups cannot be seen: {error}; {NO_NAMES}");
            Check::warn(SUBJECT, found, "mount /proc, all of it")
        }
        (_, Ok(None)) => {
            let found = format!("no cgroup2 is mounted here; {NO_NAMES}");
            Check::warn(SUBJECT, found, "mount -t cgroup2 none /sys/fs/cgroup")
        }
        (Ok(false), _) => {
            let found = "in a namespace of control groups: those outside have no names";
            Check::warn(SUBJECT, found, outside)
        }
        (_, Ok(Some(Mount { path, is_whole: false }))) => {
            let found = format!(
                "{} has a part of the control groups: others have no names",
                path.display()
            );
            Check::warn(SUBJECT, found, outside)
        }
        (Ok(true), Ok(Some(mount))) => {
            Check::ok(SUBJECT, format!("named by the control groups in {}", mount.path.display()))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_keeps_names_away_is_told() {
        let mount = |is_whole| Ok(Some(Mount { path: "/sys/fs/cgroup".into(), is_whole }));
        let line = |is_initial, mount| found(is_initial, mount).to_string();
        assert_eq!(
            line(Ok(true), mount(true)),
            "ok    units: named by the control groups in /sys/fs/cgroup"
        );
        for (line, expected) in [
            (line(Ok(true), Ok(None)), "no cgroup2 is mounted"),
            (line(Ok(false), mount(true)), "in a namespace of control groups"),
            (line(Ok(true), mount(false)), "a part of the control groups"),
            (line(Ok(true), Err(io::ErrorKind::NotFound.into())), "cannot be seen"),
        ] {
            assert!(line.starts_with("warn  units: ") && line.contains(expected), "{line}");
        }
    }
}
