//! The daemons: the server's, and those of others that the server is a client of. All run in the foreground,
//! as our children, until the namespaces go.

use std::{
    process::Child,
    thread::sleep,
    time::{Duration, Instant},
};

use anyhow::{Result, bail, ensure};

use super::place::{
    Place,
    Who::{self, Friend, Lan, Router, Server},
};
use crate::command;

/// A program that serves.
pub(super) struct Daemon {
    /// The package that has it.
    pub(super) package: &'static str,
    who: Who,
    /// What starts it, for a shell.
    start: &'static str,
    /// What `ss` shows of it once it is ready, of its protocol and port.
    ready: &'static [&'static str],
    /// Whether it is part of a quick run.
    is_quick: bool,
}

const POSTGRES: &str = "
    as_user='runuser -u postgres --'
    install -d -o postgres /loop/pg
    $as_user /usr/lib/postgresql/*/bin/initdb -D /loop/pg -A trust --no-sync
    echo 'host all all all trust' >> /loop/pg/pg_hba.conf
    exec $as_user /usr/lib/postgresql/*/bin/postgres -D /loop/pg -k /tmp -F -h 192.168.77.2,fd77::2";

#[rustfmt::skip]
const DAEMONS: [Daemon; 20] = [
    Daemon { package: "nginx", who: Server, start: "exec nginx -c /loop/nginx.conf -g 'daemon off;'", ready: &["tcp 80"], is_quick: true },
    Daemon { package: "openssh-server", who: Server, start: "mkdir /run/sshd; exec /usr/sbin/sshd -D -e -f /loop/sshd_config", ready: &["tcp 22"], is_quick: true },
    Daemon { package: "dnsmasq-base", who: Server, start: "exec dnsmasq -k -C /loop/dnsmasq-server.conf", ready: &["udp 53", "tcp 53", "udp 67", "udp 547"], is_quick: true },
    Daemon { package: "vsftpd", who: Server, start: "exec vsftpd /loop/vsftpd.conf", ready: &["tcp 21"], is_quick: true },
    Daemon { package: "chrony", who: Server, start: "exec chronyd -x -d -f /loop/chrony-server.conf", ready: &["udp 123"], is_quick: false },
    Daemon { package: "postgresql", who: Server, start: POSTGRES, ready: &["tcp 5432"], is_quick: false },
    Daemon { package: "tftpd-hpa", who: Server, start: "exec in.tftpd -L -s /loop/www", ready: &["udp 69"], is_quick: false },
    Daemon { package: "snmpd", who: Server, start: "exec snmpd -f -Lo -C -c /loop/snmpd.conf", ready: &["udp 161"], is_quick: false },
    Daemon { package: "rsyslog", who: Server, start: "exec rsyslogd -n -f /loop/rsyslog.conf -i NONE", ready: &["udp 514", "tcp 514"], is_quick: false },
    Daemon { package: "avahi-daemon", who: Server, start: "exec avahi-daemon --no-chroot --no-drop-root -f /loop/avahi-server.conf", ready: &["udp 5353"], is_quick: false },
    Daemon { package: "nginx", who: Friend, start: "exec nginx -c /loop/nginx.conf -g 'daemon off;'", ready: &["tcp 80"], is_quick: true },
    Daemon { package: "openssh-server", who: Friend, start: "mkdir /run/sshd; exec /usr/sbin/sshd -D -e -f /loop/sshd_config", ready: &["tcp 22"], is_quick: true },
    Daemon { package: "dnsmasq-base", who: Friend, start: "exec dnsmasq -k -C /loop/dnsmasq-friend.conf", ready: &["udp 53", "tcp 53"], is_quick: true },
    Daemon { package: "vsftpd", who: Friend, start: "exec vsftpd /loop/vsftpd.conf", ready: &["tcp 21"], is_quick: true },
    Daemon { package: "chrony", who: Friend, start: "exec chronyd -x -d -f /loop/chrony-friend.conf", ready: &["udp 123"], is_quick: false },
    Daemon { package: "tftpd-hpa", who: Friend, start: "exec in.tftpd -L -s /loop/www", ready: &["udp 69"], is_quick: false },
    Daemon { package: "rsyslog", who: Friend, start: "exec rsyslogd -n -f /loop/rsyslog.conf -i NONE", ready: &["udp 514"], is_quick: false },
    Daemon { package: "dnsmasq-base", who: Router, start: "exec dnsmasq -k -C /loop/dnsmasq-router.conf", ready: &["udp 67", "udp 547"], is_quick: true },
    Daemon { package: "avahi-daemon", who: Lan, start: "exec avahi-daemon --no-chroot --no-drop-root -f /loop/avahi-lan.conf", ready: &["udp 5353"], is_quick: false },
    // A stand-in for a media server: Debian has none that does nothing else.
    Daemon { package: "socat", who: Lan, start: "exec socat UDP4-RECVFROM:1900,ip-add-membership=239.255.255.250:eth0,fork SYSTEM:'read request; echo HTTP/1.1 200 OK'", ready: &["udp 1900"], is_quick: false },
];

/// What takes part.
pub(super) fn chosen(is_quick: bool) -> impl Iterator<Item = &'static Daemon> {
    DAEMONS.iter().filter(move |daemon| daemon.is_quick || !is_quick)
}

/// Starts them, and waits until all of them listen.
pub(super) fn start(place: &Place, is_quick: bool) -> Result<Vec<Child>> {
    let mut children = Vec::new();
    for daemon in chosen(is_quick) {
        let mut command = place.inside(daemon.who, daemon.start);
        children.push(place.start(&daemon.log(), &mut command)?);
    }
    for (daemon, child) in chosen(is_quick).zip(&mut children) {
        daemon.wait(place, child)?;
    }
    Ok(children)
}

const PATIENCE: Duration = Duration::from_mins(1);

impl Daemon {
    fn log(&self) -> String {
        format!("{}-{}", self.who.name(), self.package)
    }

    fn wait(&self, place: &Place, child: &mut Child) -> Result<()> {
        let begin = Instant::now();
        while !self.is_ready()? {
            let said = || format!("{}: {}", self.log(), place.said(&self.log()));
            if let Some(status) = child.try_wait()? {
                bail!("ended: {status}: {}", said());
            }
            ensure!(begin.elapsed() < PATIENCE, "does not listen: {}", said());
            sleep(Duration::from_millis(50));
        }
        Ok(())
    }

    fn is_ready(&self) -> Result<bool> {
        let mut ss = Place::outside(self.who, "ss");
        let sockets = command::output(ss.args(["-H", "-l", "-n", "-t", "-u"]))?;
        let listening: Vec<_> = sockets.lines().filter_map(protocol_and_port).collect();
        Ok(self.ready.iter().all(|ready| listening.iter().any(|it| it == ready)))
    }
}

/// Out of a line of `ss`: `udp UNCONN 0 0 0.0.0.0:53 0.0.0.0:*`.
fn protocol_and_port(line: &str) -> Option<String> {
    let mut fields = line.split_whitespace();
    let protocol = fields.next()?;
    let (_, port) = fields.nth(3)?.rsplit_once(':')?;
    Some(format!("{protocol} {port}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_socket_is_told_by_protocol_and_port() {
        let line = "tcp   LISTEN 0      32    [::]:21    [::]:*";
        assert_eq!(protocol_and_port(line).as_deref(), Some("tcp 21"));
        let line = "udp UNCONN 0 0 [fe80::1]%eth0:547 *:*";
        assert_eq!(protocol_and_port(line).as_deref(), Some("udp 547"));
    }
}
