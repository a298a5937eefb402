//! Debian's chromium: how it is started, and what it leaves behind.

use std::{
    fs,
    path::{Path, PathBuf},
    process::{Command, Stdio},
};

use anyhow::{Context as _, Result, bail};
use serde_json::Value;

use crate::{command, fresh::enter::apart, fresh::step::Log, workspace::Workspace};

/// Where it runs, and where pages and pictures are.
pub(super) struct Browser<'a> {
    pub(super) workspace: &'a Workspace,
    pub(super) root: &'a Path,
    pub(super) pictures: &'a Path,
}

/// What it has to say about a page.
pub(super) struct Said {
    /// Standard output.
    pub(super) output: String,
    /// Lines of the console.
    pub(super) console: Vec<String>,
    /// What was requested from elsewhere.
    pub(super) requests: Vec<String>,
}

/// A way to look at a page.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Look {
    /// In a window of this width.
    Light(u32),
    Dark(u32),
    Paper,
}

impl Look {
    pub(super) const ALL: [Self; 5] =
        [Self::Light(360), Self::Light(1_000), Self::Light(2_000), Self::Dark(1_000), Self::Paper];

    /// Of a picture.
    pub(super) fn name(self) -> String {
        match self {
            Self::Light(width) => width.to_string(),
            Self::Dark(width) => format!("{width}-dark"),
            Self::Paper => "paper".to_owned(),
        }
    }
}

/// In the root.
const WORK: &str = "/work";
/// Of a window: long enough to see what a page begins with.
const HEIGHT: u32 = 3_000;
/// Of paper that is made into pictures.
const SHEETS: u32 = 12;

/// `ROOT PICTURES PROGRAM [ARGUMENT]...`, in namespaces that end with it.
const ENTER: &str = "set -eu
    root=$1 pictures=$2
    shift 2
    mkdir -p \"$root/work\"
    mount -t proc proc \"$root/proc\"
    mount -t tmpfs -o mode=1777 tmpfs \"$root/dev/shm\"
    mount --bind \"$pictures\" \"$root/work\"
    status=0
    chroot \"$root\" \"$@\" || status=$?
    exit $status";

impl Browser<'_> {
    fn inside(&self, words: &[String]) -> Command {
        let mut inside = apart(self.workspace);
        inside.arg("--net").args(["sh", "-c", ENTER, "sh"]).arg(self.root).arg(self.pictures);
        inside.args(words).stdin(Stdio::null());
        inside
    }

    /// Opens the file `page` of the pictures' folder.
    pub(super) fn open(&self, page: &str, arguments: &[String]) -> Result<Said> {
        let requests = self.pictures.join("requests.json");
        let fixed = [
            "timeout",
            "300",
            "chromium-headless-shell",
            "--headless",
            // It is root, in namespaces of its own.
            "--no-sandbox",
            "--disable-gpu",
            "--hide-scrollbars",
            "--enable-logging=stderr",
        ];
        let mut words: Vec<_> = fixed.map(str::to_owned).into();
        words.push(format!("--log-net-log={WORK}/requests.json"));
        words.extend(arguments.iter().cloned());
        words.push(format!("file://{WORK}/{page}"));
        let mut inside = self.inside(&words);
        let output = inside.output().with_context(|| command::line(&inside))?;
        let errors = String::from_utf8_lossy(&output.stderr);
        if !output.status.success() {
            bail!("`{}` failed: {}\n{errors}", command::line(&inside), output.status);
        }
        let requested = requested(&requests)?;
        fs::remove_file(&requests).with_context(|| requests.display().to_string())?;
        let console = errors.lines().filter(|line| line.contains(":CONSOLE"));
        Ok(Said {
            output: String::from_utf8_lossy(&output.stdout).into_owned(),
            console: console.map(str::to_owned).collect(),
            requests: requested,
        })
    }

    /// Makes a picture of a page; where it is.
    pub(super) fn draw(&self, name: &str, look: Look, log: &Log) -> Result<(Said, PathBuf)> {
        let picture = format!("{name}-{}", look.name());
        let window = |width| {
            vec![
                format!("--screenshot={WORK}/{picture}.png"),
                format!("--window-size={width},{HEIGHT}"),
            ]
        };
        let arguments = match look {
            Look::Light(width) => window(width),
            Look::Dark(width) => {
                let mut window = window(width);
                window.push("--blink-settings=preferredColorScheme=0".to_owned());
                window
            }
            Look::Paper => vec![
                "--no-pdf-header-footer".to_owned(),
                format!("--print-to-pdf={WORK}/{picture}.pdf"),
            ],
        };
        let said = self.open(&format!("{name}.html"), &arguments)?;
        if look == Look::Paper {
            let first = format!("{WORK}/{picture}");
            let words =
                ["pdftoppm", "-r", "70", "-l", &SHEETS.to_string(), "-png"].map(str::to_owned);
            let files = [format!("{first}.pdf"), first];
            log.run(&mut self.inside(&[&words[..], &files[..]].concat()))?;
        }
        let kind = if look == Look::Paper { "pdf" } else { "png" };
        Ok((said, self.pictures.join(format!("{picture}.{kind}"))))
    }
}

/// Every address in the browser's own log of its network. A page from a file is not in it.
fn requested(log: &Path) -> Result<Vec<String>> {
    let text = fs::read_to_string(log).with_context(|| log.display().to_string())?;
    let whole: Value = serde_json::from_str(&text).with_context(|| log.display().to_string())?;
    let events = whole["events"].as_array().context("a log of the network without events")?;
    let addresses = events.iter().filter_map(|event| event["params"]["url"].as_str());
    Ok(addresses.map(str::to_owned).collect())
}
