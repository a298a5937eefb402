//! Prometheus' promtool, from Debian's package: it checks the metrics that the program writes and the alerts, tries
//! the alerts, and parses what the dashboard asks.

use std::{
    collections::BTreeSet,
    fs::{self, File},
    path::{Path, PathBuf},
    process::{Command, Stdio},
};

use anyhow::{Context as _, Result, ensure};
use serde_json::{Value, json};

use super::places::{Places, read};
use crate::{
    archive::{Archive, unpack},
    command,
    folder::{self, start_anew},
    fresh::{
        debian::{Debian, Release},
        step::Log,
    },
    mirror::Mirror,
};

const PACKAGE: &str = "prometheus";
/// Every metric of ours begins so.
const PREFIX: &str = "conntrack_";

pub(super) fn check(places: &Places, release: &Release, log: &Log) -> Result<()> {
    let promtool =
        Promtool { program: install(places, release)?, folder: places.own.join("alerts") };
    start_anew(&promtool.folder)?;
    let metrics = metrics(places, log)?;
    promtool.check_metrics(&metrics)?;
    let alerts = read(&places.recipes.join("alerts.yml"))?;
    let dashboard = read(&places.recipes.join("dashboard.json"))?;
    for (name, text) in [("alerts.yml", &alerts), ("dashboard.json", &dashboard)] {
        let unknown: Vec<_> = names(text).difference(&names(&read(&metrics)?)).cloned().collect();
        ensure!(unknown.is_empty(), "{name} asks for {unknown:?}, which no metric is called");
    }
    promtool.run(log, "alerts.yml", &alerts, &["check", "rules"])?;
    let tests = read(&places.workspace.root.join("xtask/src/fleet/alerts.test.yml"))?;
    promtool.run(log, "alerts.test.yml", &tests, &["test", "rules"])?;
    promtool.run(log, "dashboard.rules.json", &queries(&dashboard)?, &["check", "rules"])
}

struct Promtool {
    program: PathBuf,
    /// Of the files that it is given.
    folder: PathBuf,
}

impl Promtool {
    fn run(&self, log: &Log, file: &str, text: &str, verb: &[&str]) -> Result<()> {
        let path = self.folder.join(file);
        fs::write(&path, text).with_context(|| path.display().to_string())?;
        log.run(Command::new(&self.program).current_dir(&self.folder).args(verb).arg(file))
    }

    /// Also what it only remarks on is refused.
    fn check_metrics(&self, metrics: &Path) -> Result<()> {
        let mut check = Command::new(&self.program);
        let output = check
            .args(["check", "metrics"])
            .stdin(File::open(metrics)?)
            .stderr(Stdio::piped())
            .output()?;
        let said = String::from_utf8_lossy(&output.stderr);
        ensure!(output.status.success() && said.is_empty(), "promtool about the metrics: {said}");
        Ok(())
    }
}

/// Unpacked, without what it depends on: a program of Go takes the C library alone.
fn install(places: &Places, release: &Release) -> Result<PathBuf> {
    let debian = Debian::find(release, &[])?;
    let root = places.own.join(PACKAGE);
    folder::once(&root, debian.suite(), |partial| {
        let architecture = command::output(Command::new("dpkg").arg("--print-architecture"))?;
        let archive = Archive {
            mirror: &Mirror::find(release.mirror.as_deref())?,
            release: debian.suite(),
            architecture: architecture.trim(),
            directory: &places.own.join("packages").join(PACKAGE),
        };
        unpack(&archive.fetch_alone(PACKAGE)?, partial)
    })?;
    Ok(root.join("usr/bin/promtool"))
}

/// Has the program write its metrics about a capture.
fn metrics(places: &Places, log: &Log) -> Result<PathBuf> {
    let tree = places.own.join("tree");
    start_anew(&tree)?;
    let metrics = places.own.join("conntrack.prom");
    let mut conntrack = Command::new(&places.conntrack);
    conntrack.arg("-r").arg(places.workspace.root.join("testdata/seed.pcap"));
    conntrack.args(["--local", "192.168.200.230", "-p"]).arg(&tree);
    log.run(conntrack.arg("--metrics-file").arg(&metrics))?;
    Ok(metrics)
}

/// The names of metrics in a text.
fn names(text: &str) -> BTreeSet<String> {
    let words = text.split(|it: char| !it.is_ascii_alphanumeric() && it != '_');
    words
        .filter(|it| it.starts_with(PREFIX) && it.len() > PREFIX.len())
        .map(str::to_owned)
        .collect()
}

/// What the dashboard asks, as rules, with what Grafana puts in place of its variables.
fn queries(dashboard: &str) -> Result<String> {
    let dashboard: Value = serde_json::from_str(dashboard).context("dashboard.json")?;
    let panels = dashboard["panels"].as_array().context("no panels")?;
    let targets = panels.iter().filter_map(|panel| panel["targets"].as_array()).flatten();
    let queries: Vec<_> = targets.filter_map(|target| target["expr"].as_str()).collect();
    ensure!(queries.len() >= panels.len(), "a panel asks nothing");
    let rules: Vec<_> = queries
        .iter()
        .enumerate()
        .map(|(number, query)| {
            let query = query.replace("$__rate_interval", "5m");
            json!({ "record": format!("dashboard:query:{number}"), "expr": query })
        })
        .collect();
    let rules = json!({ "groups": [{ "name": "dashboard", "rules": rules }] });
    Ok(rules.to_string())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_found_in_expressions() {
        let found = names(
            "sum(increase(conntrack_a_total{x=\"y\"}[5m])) / conntrack_b > conntrack_ or xconntrack_c",
        );
        assert_eq!(found.into_iter().collect::<Vec<_>>(), ["conntrack_a_total", "conntrack_b"]);
    }
}
