//! Sessions that are open before rules are loaded: over ssh, to the server and from it.

use std::{
    io::{BufRead as _, BufReader, Write as _},
    process::{Child, ChildStdin, Stdio},
    sync::mpsc::{Receiver, channel},
    thread,
    time::Duration,
};

use anyhow::{Context as _, Result, ensure};

use super::place::{
    Place,
    Who::{self, Friend, Lan, Server},
};

/// Long enough for what is sent again after rules held it up.
const PATIENCE: Duration = Duration::from_secs(5);

/// By whom, and to which address.
const ALL: [(Who, &str); 5] = [
    (Lan, "192.168.77.2"),
    (Friend, "192.0.2.2"),
    (Friend, "2001:db8:77::2"),
    (Server, "198.51.100.10"),
    (Server, "2001:db8:51::10"),
];

/// One that repeats what it is told.
pub(super) struct Session {
    pub(super) name: String,
    ssh: Child,
    said: ChildStdin,
    repeated: Receiver<String>,
    number: u32,
}

impl Session {
    /// Opens all of them.
    pub(super) fn open_all(place: &Place) -> Result<Vec<Self>> {
        ALL.iter().map(|(who, to)| Self::open(place, *who, to)).collect()
    }

    fn open(place: &Place, who: Who, to: &str) -> Result<Self> {
        let name = format!("ssh by {} to {to}", who.name());
        let mut ssh = place.inside(who, &format!("exec ssh -F /loop/ssh_config {to} cat"));
        let mut ssh = ssh.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn()?;
        let said = ssh.stdin.take().context("no pipe")?;
        let lines = BufReader::new(ssh.stdout.take().context("no pipe")?).lines();
        let (sender, repeated) = channel();
        thread::spawn(move || {
            // Nobody may listen any more.
            for line in lines.map_while(Result::ok) {
                if sender.send(line).is_err() {
                    return;
                }
            }
        });
        let mut session = Self { name, ssh, said, repeated, number: 0 };
        session.talk()?;
        Ok(session)
    }

    /// Says something, and waits to hear it.
    pub(super) fn talk(&mut self) -> Result<()> {
        self.number += 1;
        let word = format!("word {}", self.number);
        writeln!(self.said, "{word}").with_context(|| self.name.clone())?;
        let heard = self.repeated.recv_timeout(PATIENCE).with_context(|| self.name.clone())?;
        ensure!(heard == word, "{}: {heard:?} is not {word:?}", self.name);
        Ok(())
    }
}

impl Drop for Session {
    fn drop(&mut self) {
        // It is our child, and may have ended.
        let _ended = self.ssh.kill();
        let _status = self.ssh.wait();
    }
}
