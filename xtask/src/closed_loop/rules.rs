//! The rules of the recording in each format, at each place: made, audited, loaded as their file or the README
//! says, and taken away.

use std::{
    fs,
    io::Write as _,
    path::{Path, PathBuf},
    process::{Command, Stdio},
};

use anyhow::{Context as _, Result, ensure};

use super::place::{HOME, Place, Who::Server};
use crate::command;

/// A format, a place, and how such rules are loaded.
#[derive(Clone, Copy)]
pub(super) struct Kind {
    format: Format,
    at: &'static str,
    /// By `conntrack apply`, which loads learning rules first.
    is_applied: bool,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Format {
    Nftables,
    Iptables,
    /// A script for the ufw in the Debian.
    Ufw,
}

pub(super) const KINDS: [Kind; 5] = [
    Kind { format: Format::Nftables, at: "host", is_applied: true },
    Kind { format: Format::Nftables, at: "wire", is_applied: false },
    Kind { format: Format::Iptables, at: "host", is_applied: false },
    Kind { format: Format::Iptables, at: "wire", is_applied: false },
    UFW,
];

/// The last one: what ufw is told stays in the Debian's files until the end.
const UFW: Kind = Kind { format: Format::Ufw, at: "host", is_applied: false };

/// Rules of one kind.
pub(super) struct Rules<'a> {
    kind: Kind,
    program: &'a Path,
    learning: PathBuf,
    enforcing: PathBuf,
}

impl Kind {
    /// Whether it is part of a quick run.
    pub(super) fn is_quick(self) -> bool {
        self.format != Format::Ufw
    }

    pub(super) fn name(self) -> String {
        format!("{} at {}", self.format.name(), self.at)
    }

    /// Checks, by how their names begin, that need what this format cannot say: the head of the file says so.
    pub(super) const fn unsaid(self) -> &'static [&'static str] {
        match self.format {
            // It has no helpers, and outgoing ping over IPv4 is not in its before.rules.
            Format::Ufw => &["FTP", "TFTP", "ping by server 198"],
            Format::Nftables | Format::Iptables => &[],
        }
    }

    /// Has `program` make them out of `tree`.
    pub(super) fn make<'a>(
        self,
        place: &Place,
        program: &'a Path,
        tree: &Path,
    ) -> Result<Rules<'a>> {
        let make = |what: &str, flag: Option<&str>| {
            let path = place.kept(&format!("{what}-{}.{}", self.at, self.format.name()));
            let mut rules = Command::new(program);
            rules.arg("rules").arg(tree).args(["-q", "--at", self.at, "-o"]).arg(&path);
            rules.args(["--format", self.format.name()]).args(flag);
            command::output(&mut rules).map(|_nothing| path)
        };
        let learning = make("learning", None)?;
        let enforcing = make("enforcing", Some("--enforce"))?;
        Ok(Rules { kind: self, program, learning, enforcing })
    }
}

impl Format {
    const fn name(self) -> &'static str {
        match self {
            Self::Nftables => "nftables",
            Self::Iptables => "iptables",
            Self::Ufw => "ufw",
        }
    }
}

/// What `conntrack audit` says.
pub(super) struct Audited {
    /// All that was recorded is accepted, and nothing else.
    pub(super) is_closed: bool,
    pub(super) said: String,
}

impl Rules<'_> {
    /// `conntrack audit --attacks`, on the server: of the file, or, where the audit does not read its language,
    /// of what is in force with it.
    pub(super) fn audit(&self, place: &Place, tree: &Path) -> Result<Audited> {
        let mut audit = Place::outside(Server, self.program);
        audit.args(["audit", "--attacks", "-p"]).arg(tree);
        match self.kind.format {
            Format::Nftables => audit.arg("--rules").arg(&self.enforcing),
            Format::Iptables => audit.arg("--iptables").arg(&self.enforcing),
            Format::Ufw => {
                self.load_file(place, &self.enforcing)?;
                audit.arg("--host")
            }
        };
        let output = audit.output().context("audit")?;
        if self.kind.format == Format::Ufw {
            self.unload(place)?;
        }
        let said = String::from_utf8_lossy(&output.stdout).into_owned();
        let complaint = String::from_utf8_lossy(&output.stderr);
        let is_judged = output.status.code().is_some_and(|code| code == 0 || code == 3);
        ensure!(is_judged, "no judgement: {}: {complaint}", output.status);
        let let_in = |line: &str| line.ends_with(" let in") && !line.starts_with("0 of ");
        let is_closed = output.status.success() && !said.lines().any(let_in);
        Ok(Audited { is_closed, said: said + &complaint })
    }

    /// Loads learning rules, has `talk` use what is open, and loads the enforcing ones.
    pub(super) fn load(&self, place: &Place, talk: &mut dyn FnMut() -> Result<()>) -> Result<()> {
        if self.kind.is_applied {
            return self.apply(talk);
        }
        self.load_file(place, &self.learning)?;
        talk()?;
        self.load_file(place, &self.enforcing)
    }

    fn load_file(&self, place: &Place, file: &Path) -> Result<()> {
        match self.kind.format {
            Format::Nftables => command::output(Place::outside(Server, "nft").arg("-f").arg(file))
                .map(|_nothing| ()),
            Format::Iptables => Self::type_commands(file, "# To load them"),
            Format::Ufw => {
                let script = place.home("rules.ufw");
                fs::copy(file, &script).with_context(|| script.display().to_string())?;
                let commands = format!("sh {HOME}/rules.ufw && ufw --force enable");
                command::output(&mut place.inside(Server, &commands)).map(|_nothing| ())
            }
        }
    }

    /// Says yes once the rules are in force.
    fn apply(&self, talk: &mut dyn FnMut() -> Result<()>) -> Result<()> {
        let mut apply = Place::outside(Server, self.program);
        apply.args(["apply", "--learn", "3s", "--confirm", "30s", "--rules"]).arg(&self.enforcing);
        let mut apply = apply.stdin(Stdio::piped()).stderr(Stdio::piped()).spawn()?;
        let mut stdin = apply.stdin.take().context("no pipe")?;
        for _ in 0..5 {
            std::thread::sleep(std::time::Duration::from_millis(500));
            talk()?;
        }
        stdin.write_all(b"yes\n")?;
        let output = apply.wait_with_output()?;
        let said = String::from_utf8_lossy(&output.stderr);
        ensure!(output.status.success(), "apply: {}: {said}", output.status);
        Ok(())
    }

    /// Takes them away.
    pub(super) fn unload(&self, place: &Place) -> Result<()> {
        match self.kind.format {
            Format::Nftables => {
                let mut nft = Place::outside(Server, "nft");
                nft.args(["delete", "table", "inet", "conntrack_learned"]);
                command::output(&mut nft).map(|_nothing| ())
            }
            Format::Iptables => Self::type_commands(&self.enforcing, "# To take them away"),
            Format::Ufw => {
                command::output(&mut place.inside(Server, "ufw --force reset")).map(|_nothing| ())
            }
        }
    }

    /// The commands below this line in the head of the file, as root would type them.
    fn type_commands(file: &Path, line: &str) -> Result<()> {
        let path = file.display().to_string();
        let text = fs::read_to_string(file).with_context(|| path.clone())?;
        let below = text.lines().skip_while(|it| !it.starts_with(line)).skip(1);
        let commands: Vec<_> = below.map_while(|it| it.strip_prefix("#   ")).collect();
        ensure!(!commands.is_empty(), "{path}: no commands below {line:?}");
        let script = commands.join("\n").replace("FILE", &path);
        let mut sh = Place::outside(Server, "sh");
        command::output(sh.args(["-e", "-c", &script])).map(|_nothing| ())
    }
}
