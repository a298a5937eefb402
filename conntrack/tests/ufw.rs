//! The script that `conntrack rules -f ufw` prints, run by sh(1) with a ufw that writes down what it is told. What
//! ufw itself makes of it is asked in `tests/firewalls`.

use std::{
    fs,
    os::unix::fs::PermissionsExt as _,
    path::Path,
    process::{Command, Output},
};

use crate::support::{add_files, conntrack};
use tempfile::TempDir;

/// Writes down what it is told, in a file of its own; lists what is in another, and refuses what names a third one.
const UFW: &str = "\
#!/bin/sh
if [ \"$1\" = show ]; then
    exec cat \"$PLACE/added\"
fi
printf '%s\\n' \"$*\" >>\"$PLACE/told\"
! grep -qxF -e \"$*\" \"$PLACE/refused\"
";

const SSH: &str = "in/tcp/10.0.0.9-PORT-10.0.0.2-22";
const WEB: &str = "in/tcp/INTERNET-PORT-10.0.0.2-443";
const EARLY: &str = "in/tcp/10.0.0.8-PORT-10.0.0.2-8";
const V6: &str = "out/udp/fd00::2-PORT-fd00::53-53";
const FORWARDED: &str = "else/tcp/10.0.0.7-40000-10.9.0.1-5432";

/// A place where that is the only ufw.
struct Place(TempDir);

impl Place {
    fn new() -> Self {
        let place = Self(tempfile::tempdir().expect("a scratch directory"));
        let ufw = place.path().join("ufw");
        fs::write(&ufw, UFW).expect("written");
        fs::set_permissions(&ufw, fs::Permissions::from_mode(0o755)).expect("set");
        for name in ["added", "told", "refused"] {
            place.write(name, "");
        }
        place
    }

    fn path(&self) -> &Path {
        self.0.path()
    }

    fn write(&self, name: &str, text: &str) {
        fs::write(self.path().join(name), text).expect("written");
    }

    /// Runs a script.
    fn run(&self, script: &str, arguments: &[&str]) -> Output {
        self.write("script", script);
        let path = format!("{}:{}", self.path().display(), std::env::var("PATH").expect("a path"));
        let mut sh = Command::new("sh");
        sh.arg(self.path().join("script")).args(arguments);
        sh.env("PATH", path).env("PLACE", self.path()).output().expect("sh runs")
    }

    /// What ufw was told up to now.
    fn told(&self) -> Vec<String> {
        let told = fs::read_to_string(self.path().join("told")).expect("what it was told");
        told.lines().map(str::to_owned).collect()
    }
}

fn script(files: &[&str], arguments: &[&str]) -> String {
    let tree = tempfile::tempdir().expect("a scratch directory");
    add_files(tree.path(), files);
    let command = [&["rules", "-q", "-f", "ufw"], arguments].concat();
    let output = conntrack().args(command).arg("-p").arg(tree.path()).output().expect("it runs");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).expect("UTF-8")
}

fn mark(script: &str) -> &str {
    let mark = script.lines().find_map(|line| line.strip_prefix("mark='"));
    mark.and_then(|it| it.strip_suffix('\'')).expect("a mark")
}

#[track_caller]
fn assert_ran(output: &Output) {
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
}

#[test]
fn ssh_is_allowed_first_and_what_refuses_comes_last() {
    let place = Place::new();
    let files = [EARLY, WEB, SSH, V6, FORWARDED];
    assert_ran(&place.run(&script(&files, &["--enforce", "--forward"]), &[]));
    let told = place.told();
    assert!(told[0].starts_with("--dry-run "), "{told:?}");
    let ssh = "allow in proto tcp from 10.0.0.9 to 10.0.0.2 port 22 comment conntrack ";
    assert!(told[1].starts_with(ssh), "{told:?}");
    let defaults = ["default deny incoming", "default deny outgoing", "default deny routed"]
        .map(str::to_owned);
    assert!(told.ends_with(&defaults), "{told:?}");
    let rules = &told[1..told.len() - defaults.len()];
    let only_allows = |it: &String| it.starts_with("allow ") || it.starts_with("route allow ");
    assert!(rules.iter().all(only_allows), "{rules:?}");
}

#[test]
fn without_enforce_it_only_allows_and_it_never_enables_ufw() {
    let place = Place::new();
    assert_ran(&place.run(&script(&[WEB, SSH, FORWARDED], &["--forward"]), &[]));
    let told = place.told();
    let only_allows = |it: &String| it.starts_with("allow ") || it.starts_with("route allow ");
    assert!(!told.is_empty() && told.iter().all(only_allows), "{told:?}");
}

/// What nobody saw, such as forwarding, is left to ufw as it is.
#[test]
fn only_directions_with_a_chain_are_refused() {
    let place = Place::new();
    assert_ran(&place.run(&script(&[SSH, FORWARDED], &["--enforce"]), &[]));
    let told = place.told();
    let defaults: Vec<_> = told.iter().filter(|it| it.starts_with("default")).collect();
    assert_eq!(defaults, ["default deny incoming"]);
}

#[test]
fn where_nobody_comes_by_ssh_it_changes_nothing_unless_told_so() {
    let place = Place::new();
    let enforcing = script(&[WEB], &["--enforce"]);
    let output = place.run(&enforcing, &[]);
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    assert_eq!((output.status.code(), place.told().len()), (Some(1), 0), "{said}");
    assert!(said.contains("nobody was seen who comes by ssh"), "{said}");
    assert_ran(&place.run(&enforcing, &["without-ssh"]));
    assert_eq!(place.told().last().map(String::as_str), Some("default deny incoming"));
    assert!(!script(&[WEB], &[]).contains("without-ssh"));
    assert!(!script(&[WEB, SSH], &["--enforce"]).contains("without-ssh"));
}

#[test]
fn where_ufw_refuses_a_line_nothing_is_refused_and_nothing_taken_away() {
    let place = Place::new();
    let enforcing = script(&[WEB, SSH], &["--enforce"]);
    let mark = mark(&enforcing);
    place.write(
        "added",
        "ufw allow in from 10.0.0.1 to 10.0.0.2 port 1 proto tcp comment 'conntrack 0: x'\n",
    );
    let refused = format!(
        "allow in proto igmp from 0.0.0.0/0 to 0.0.0.0/0 comment {mark}: multicast groups\n"
    );
    place.write("refused", &refused);
    assert!(!place.run(&enforcing, &[]).status.success());
    let told = place.told();
    assert_eq!(told.last().map(|it| format!("{it}\n")), Some(refused));
    assert!(!told.iter().any(|it| it.contains("delete") || it.contains("default")), "{told:?}");
}

#[test]
fn what_is_no_more_is_taken_away_and_nothing_of_others() {
    let place = Place::new();
    let enforcing = script(&[SSH], &[]);
    let mark = mark(&enforcing);
    let added = format!(
        "Added user rules (see 'ufw status' for running firewall):\n\
         ufw allow 22/tcp\n\
         ufw allow 25/tcp comment 'conntracks'\n\
         ufw deny out from any to any port 9 proto tcp comment 'of conntrack 0: x'\n\
         ufw allow from 10.0.0.9 to 10.0.0.2 port 22 proto tcp comment '{mark}: it'\n\
         ufw allow from 10.0.0.9 to 10.0.0.2 port 23 proto tcp comment 'conntrack 0: old'\n\
         ufw route allow in on eth0 from 10.0.0.9 to 10.9.0.1 port 53 proto udp comment 'conntrack 0: old'\n"
    );
    place.write("added", &added);
    assert_ran(&place.run(&enforcing, &[]));
    let of =
        |told: Vec<String>| told.into_iter().filter(|it| it.contains("delete")).collect::<Vec<_>>();
    let old = [
        "delete allow from 10.0.0.9 to 10.0.0.2 port 23 proto tcp",
        "route delete allow in on eth0 from 10.0.0.9 to 10.9.0.1 port 53 proto udp",
    ];
    assert_eq!(of(place.told()), old);
    place.write("told", "");
    assert_ran(&place.run(&enforcing, &["delete"]));
    let own = "delete allow from 10.0.0.9 to 10.0.0.2 port 22 proto tcp";
    assert_eq!(place.told(), [own, old[0], old[1]]);
    assert_eq!(place.run(&enforcing, &["remove"]).status.code(), Some(2));
}

/// Its mark is of its rules.
#[test]
fn the_same_tree_gives_the_same_script_and_another_one_another_mark() {
    let one = script(&[SSH, WEB], &[]);
    assert_eq!(mark(&one), mark(&script(&[SSH, WEB], &[])));
    assert_ne!(mark(&one), mark(&script(&[SSH], &[])));
    assert_ne!(mark(&one), mark(&script(&[SSH, WEB, EARLY], &[])));
}

#[test]
fn a_line_has_as_many_ports_as_ufw_takes_and_port_0_is_said() {
    let files: Vec<_> =
        (0..40).map(|port| format!("in/tcp/10.0.0.9-PORT-10.0.0.2-{}", port * 2)).collect();
    let files: Vec<_> = files.iter().map(String::as_str).collect();
    let script = script(&files, &[]);
    let ports = script.lines().filter_map(|line| line.strip_prefix("ufw allow in proto tcp "));
    let ports = ports.filter_map(|line| line.split_whitespace().nth(5));
    let ports: Vec<Vec<u16>> = ports
        .map(|ports| ports.split(',').map(|port| port.parse().expect("a port")).collect())
        .collect();
    assert!(ports.iter().all(|line| line.len() <= 15), "{script}");
    let all: Vec<u16> = ports.concat();
    assert_eq!(all, (1..40).map(|port| port * 2).collect::<Vec<_>>(), "{script}");
    assert!(script.contains("# Left out: port 0 of 1 rule, which ufw does not take."), "{script}");
}

#[test]
fn a_device_is_named_in_every_line() {
    let place = Place::new();
    assert_ran(&place.run(&script(&[SSH, V6, FORWARDED], &["--forward", "-d", "it's$(id)"]), &[]));
    let told = place.told();
    let is_about_it = |line: &String| {
        [" in", " out"].iter().any(|way| line.contains(&format!("{way} on it's$(id) ")))
    };
    assert!(told.len() > 5 && told.iter().skip(1).all(is_about_it), "{told:?}");
    for way in ["in", "out"] {
        let line = format!("route allow {way} on ");
        assert!(told.iter().any(|it| it.starts_with(&line)), "{told:?}");
    }
}

#[test]
fn what_ufw_cannot_say_is_refused() {
    let tree = tempfile::tempdir().expect("a scratch directory");
    add_files(tree.path(), &[SSH]);
    for (arguments, says) in [
        (&["--at", "wire"][..], "rules of ufw and firewalld stand at the host"),
        (&["--enforce", "-d", "eth0"], "ufw refuses on every device alike"),
    ] {
        let mut command = conntrack();
        command.args(["rules", "-f", "ufw", "-p"]).arg(tree.path()).args(arguments);
        let output = command.output().expect("it runs");
        let said = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.code() == Some(1) && said.contains(says), "{said}");
        assert!(output.stdout.is_empty());
    }
}
