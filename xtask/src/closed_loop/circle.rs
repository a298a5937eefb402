//! The circle: record while all of it is used and scanned; then for each kind of rules audit, load, use all of it
//! again, attack. It is run inside: in namespaces that end with it.

use std::{
    fmt::Write as _,
    fs,
    path::{Path, PathBuf},
    process::{Child, Command},
    thread::sleep,
    time::{Duration, Instant},
};

use anyhow::{Context as _, Result, ensure};

use super::{
    attacks::{self, Attacked},
    checks, daemons,
    place::{HOME, Place, Who::Server},
    rules::{KINDS, Kind},
    sessions::Session,
};
use crate::command;

/// What it is run with.
pub(super) struct Circle {
    pub(super) place: Place,
    pub(super) program: PathBuf,
    pub(super) is_quick: bool,
}

/// What is asked for over HTTP, FTP and TFTP.
const SERVED: &str = "served\n";

/// Settings of the daemons and of clients.
const SETTINGS: [(&str, &str); 13] = [
    ("nginx.conf", include_str!("etc/nginx.conf")),
    ("sshd_config", include_str!("etc/sshd_config")),
    ("ssh_config", include_str!("etc/ssh_config")),
    ("dnsmasq-server.conf", include_str!("etc/dnsmasq-server.conf")),
    ("dnsmasq-router.conf", include_str!("etc/dnsmasq-router.conf")),
    ("dnsmasq-friend.conf", include_str!("etc/dnsmasq-friend.conf")),
    ("chrony-server.conf", include_str!("etc/chrony-server.conf")),
    ("chrony-friend.conf", include_str!("etc/chrony-friend.conf")),
    ("vsftpd.conf", include_str!("etc/vsftpd.conf")),
    ("snmpd.conf", include_str!("etc/snmpd.conf")),
    ("rsyslog.conf", include_str!("etc/rsyslog.conf")),
    ("avahi-server.conf", include_str!("etc/avahi-server.conf")),
    ("avahi-lan.conf", include_str!("etc/avahi-lan.conf")),
];

impl Circle {
    /// Goes round, and prints a table with a row for each kind of rules.
    ///
    /// # Errors
    /// A legitimate check fails, an attack gets through, or the audit said otherwise.
    pub(super) fn go(&self) -> Result<()> {
        command::output(Command::new("sh").args(["-c", include_str!("network.sh")]))?;
        self.settle()?;
        let _daemons = daemons::start(&self.place, self.is_quick)?;
        let tree = self.record()?;
        let _backdoors = attacks::open_backdoors(&self.place)?;
        self.prove_attacks()?;

        let mut table = String::from(HEAD);
        let mut faults = String::new();
        for kind in KINDS.into_iter().filter(|kind| kind.is_quick() || !self.is_quick) {
            self.judge(kind, &tree, &mut table, &mut faults)
                .with_context(|| format!("{} rules", kind.name()))?;
        }
        println!("{table}\n{}", self.versions()?);
        ensure!(faults.is_empty(), "the loop is not closed:\n{faults}");
        Ok(())
    }

    fn settle(&self) -> Result<()> {
        let www = self.place.home("www");
        fs::create_dir_all(&www)
            .and_then(|()| fs::create_dir_all(self.place.home("empty")))
            .and_then(|()| fs::write(www.join("index.html"), SERVED))
            .and_then(|()| fs::write(self.place.home("messages"), ""))
            .with_context(|| www.display().to_string())?;
        for (name, text) in SETTINGS {
            let path = self.place.home(name);
            fs::write(&path, text).with_context(|| path.display().to_string())?;
        }
        let key = format!("ssh-keygen -q -t ed25519 -N '' -f {HOME}/key");
        command::output(&mut self.place.inside(Server, &key)).map(|_nothing| ())
    }

    /// All is used and scanned while it is recorded.
    fn record(&self) -> Result<PathBuf> {
        let tree = self.place.kept("tree");
        crate::folder::start_anew(&tree)?;
        let mut collector = Place::outside(Server, &self.program);
        collector.args(["--learn", "-d", "eth0", "-p"]).arg(&tree);
        let mut collector = self.place.start("collector", &mut collector)?;
        wait_until("the collector watches", || self.place.said("collector").contains("watching"))?;
        let scans = attacks::scan(&self.place)?;
        let outcome = checks::run(&self.place, self.is_quick, &[]);
        let failed = outcome.failed.join("\n");
        ensure!(failed.is_empty(), "without any rules, {} passed, not:\n{failed}", outcome.passed);
        for status in attacks::wait(scans)? {
            ensure!(status.success(), "a scan ended: {status}");
        }
        end(&mut collector)?;
        eprintln!(
            "recorded, with {} checks passed: {}",
            outcome.passed,
            self.place.said("collector")
        );
        Ok(tree)
    }

    /// Without rules each attack gets through: what is not let in later was refused.
    fn prove_attacks(&self) -> Result<()> {
        let mut attacked = attacks::run(&self.place)?;
        let begin = Instant::now();
        // Those who listen may not be there yet.
        while attacked.let_in.len() < attacked.tried && begin.elapsed() < PATIENCE {
            attacked = attacks::run(&self.place)?;
        }
        let Attacked { tried, let_in } = attacked;
        ensure!(let_in.len() == tried, "without any rules, of {tried} attacks only: {let_in:?}");
        Ok(())
    }

    /// A row, and what is wrong.
    fn judge(
        &self,
        kind: Kind,
        tree: &Path,
        table: &mut String,
        faults: &mut String,
    ) -> Result<()> {
        let name = kind.name();
        let rules = kind.make(&self.place, &self.program, tree)?;
        let audited = rules.audit(&self.place, tree)?;
        self.forget()?;
        let mut sessions = Session::open_all(&self.place)?;
        rules.load(&self.place, &mut || sessions.iter_mut().try_for_each(Session::talk))?;

        let survived: Vec<_> = sessions.iter_mut().map(Session::talk).collect();
        let outcome = checks::run(&self.place, self.is_quick, kind.unsaid());
        let Attacked { tried, let_in } = attacks::run(&self.place)?;
        drop(sessions);
        rules.unload(&self.place)?;

        let mut fault = |what: &str| writeln!(faults, "{name}: {what}");
        if !audited.is_closed {
            fault(&format!("the audit said beforehand: {}", audited.said))?;
        }
        for error in survived.iter().filter_map(|it| it.as_ref().err()) {
            fault(&format!("a session ended: {error:#}"))?;
        }
        outcome.failed.iter().try_for_each(|check| fault(&format!("cut: {check}")))?;
        let_in.iter().try_for_each(|attack| fault(&format!("let in: {attack}")))?;

        let alive = survived.iter().filter(|it| it.is_ok()).count();
        let passed = outcome.passed;
        let checks = passed + outcome.failed.len();
        let counts = audited.said.lines().filter_map(count).collect::<Vec<_>>().join(", ");
        writeln!(
            table,
            "| {name} | {counts} | {passed} of {checks} | {alive} of {} | {} of {tried} |",
            survived.len(),
            let_in.len(),
        )?;
        Ok(())
    }

    /// The daemons, as Debian has them.
    fn versions(&self) -> Result<String> {
        let mut packages: Vec<_> = daemons::chosen(self.is_quick).map(|it| it.package).collect();
        packages.sort_unstable();
        packages.dedup();
        let query =
            format!("dpkg-query -W -f '${{Package}} ${{Version}}, ' {}", packages.join(" "));
        let versions = command::output(&mut self.place.inside(Server, &query))?;
        Ok(format!("With {}.", versions.trim_end_matches(", ")))
    }

    /// Has the server's connection tracking forget: what is open from before must not help.
    fn forget(&self) -> Result<()> {
        command::output(&mut self.place.inside(Server, "conntrack -F")).map(|_nothing| ())
    }
}

const HEAD: &str = "\
| rules | audit, beforehand: attacks, and what was recorded | legitimate checks that work | sessions that were open before | attacks let in |
|---|---|---|---|---|
";

const PATIENCE: Duration = Duration::from_secs(20);

/// Out of a line of the audit: `0 of 9 connections that nobody answered let in`.
fn count(line: &str) -> Option<String> {
    let (count, what) = line.split_once(" connections ")?;
    let count = count.trim_end_matches(" recorded");
    if what.starts_with("accepted") {
        Some(format!("{count} accepted"))
    } else {
        what.ends_with(" let in").then(|| format!("{count} let in"))
    }
}

fn wait_until(what: &str, mut is_so: impl FnMut() -> bool) -> Result<()> {
    let begin = Instant::now();
    while !is_so() {
        ensure!(begin.elapsed() < PATIENCE, "not within {} s: {what}", PATIENCE.as_secs());
        sleep(Duration::from_millis(50));
    }
    Ok(())
}

/// As Ctrl-C does.
fn end(child: &mut Child) -> Result<()> {
    command::output(Command::new("kill").args(["-INT", &child.id().to_string()]))?;
    let status = child.wait()?;
    ensure!(status.success(), "the collector ended: {status}");
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_audit_is_cut_short() {
        let line = "0 of 41 connections that nobody answered let in";
        assert_eq!(count(line).as_deref(), Some("0 of 41 let in"));
        let line = "88 of 89 recorded connections accepted (98.9 %)";
        assert_eq!(count(line).as_deref(), Some("88 of 89 accepted"));
        assert_eq!(count("- in/tcp/INTERNET-PORT-192.0.2.2-443"), None);
    }
}
