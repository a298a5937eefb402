//! The legitimate checks: what clients do with the server, and what the server does as a client. Each is a
//! command that fails unless it got what it asked for.

use std::thread;

use anyhow::{Result, ensure};

use super::place::{
    Place,
    Who::{self, Friend, Lan, Newcomer, Server},
};

/// What is asked of each of some addresses.
struct Asked {
    what: &'static str,
    by: Who,
    /// `{}` is the address, `{url}` the address as it is in a URL.
    script: &'static str,
    of: &'static [&'static str],
    /// Whether it is part of a quick run.
    is_quick: bool,
}

/// The server's addresses in its LAN, and in the internet.
const OWN: &[&str] = &["192.168.77.2", "fd77::2"];
const PUBLIC: &[&str] = &["192.0.2.2", "2001:db8:77::2"];
const FRIEND: &[&str] = &["198.51.100.10", "2001:db8:51::10"];
const MDNS: &[&str] = &["UDP4-DATAGRAM:224.0.0.251", "UDP6-DATAGRAM:[ff02::fb%eth0]"];
/// For what needs no address.
const ALL: &[&str] = &[""];

const HTTP: &str = "curl -fsS -m 8 http://{url}/ | grep -q served";
const SSH: &str = "ssh -F /loop/ssh_config {} echo fine | grep -q fine";
const FTP_PASSIVE: &str = "curl -fsS -m 8 ftp://{url}/index.html | grep -q served";
const FTP_ACTIVE: &str = "curl -fsS -m 8 --ftp-port - ftp://{url}/index.html | grep -q served";
const TFTP: &str = "curl -fsS -m 8 tftp://{url}/index.html | grep -q served";
const NTP: &str = "chronyd -x -Q -t 8 'server {} iburst maxsamples 1' 'pidfile /run/c' 'user root'";
const DNS: &str = "dig +short +time=2 @{} server.loop | grep -q 192.168.77.2";
const DNS_TCP: &str = "dig +short +time=2 +tcp @{} server.loop | grep -q 192.168.77.2";
/// The server has to ask for this name itself.
const DNS_FORWARDED: &str = "dig +short +time=2 @{} example.loop | grep -q 198.51.100.10";
const POSTGRES: &str = "psql -h {} -U postgres -Atc 'select 6*7' | grep -q 42";
const SNMP: &str = "snmpget -v2c -c public -t 2 -r 1 {snmp} .1.3.6.1.2.1.1.3.0 | grep -q Timeticks";
const SYSLOG: &str = "logger -n {} -P 514 -d \"udp-$$-{}\" && logged \"udp-$$-{}\"";
const SYSLOG_TCP: &str = "logger -n {} -P 514 -T \"tcp-$$-{}\" && logged \"tcp-$$-{}\"";
const DHCP: &str = "udhcpc -f -n -q -i eth0 -t 4 -T 1 -s /bin/true";
const DHCPV6: &str =
    "timeout 10 dhclient -6 -1 -v -D LL -lf /run/leases -pf /run/pid -sf /bin/true eth0";
/// The lease is asked for again at once, which goes to the server alone.
const DHCP_RENEWED: &str = "
    udhcpc -f -i eth0 -t 4 -T 1 > /run/said 2>&1 &
    leased() { for _ in $(seq 80); do [ \"$(grep -c 'lease of' /run/said)\" -ge $1 ] && return; sleep 0.1; done; }
    leased 1 && kill -USR1 $! && leased 2; is_renewed=$?
    kill $!; wait; ip address flush dev eth0 scope global
    grep -q 'sending renew to server' /run/said && exit $is_renewed";
const PING: &str = "ping -c 1 -W 3 {}";
/// A question from a port other than 5353, as RFC 6762, section 6.7 has it.
const MDNS_SERVER: &str = r"printf '\0\7\0\0\0\1\0\0\0\0\0\0\6server\5local\0\0\34\0\1' | socat -t 3 - {}:5353 | grep -qa server";
const MDNS_LAN: &str = r"printf '\0\7\0\0\0\1\0\0\0\0\0\0\3lan\5local\0\0\34\0\1' | socat -t 3 - {}:5353 | grep -qa lan";
const SSDP: &str = r#"printf 'M-SEARCH * HTTP/1.1\r\nMAN: "ssdp:discover"\r\n\r\n' | socat -t 3 - UDP4-DATAGRAM:239.255.255.250:1900 | grep -q 200"#;

/// What the scripts may call.
const FUNCTIONS: &str = "
    logged() {
        for _ in $(seq 50); do
            if grep -q \"$1\" /loop/messages; then return 0; fi
            sleep 0.1
        done
        return 1
    }
    ";

const fn asked(
    what: &'static str,
    by: Who,
    script: &'static str,
    of: &'static [&'static str],
) -> Asked {
    Asked { what, by, script, of, is_quick: false }
}

const fn quick(
    what: &'static str,
    by: Who,
    script: &'static str,
    of: &'static [&'static str],
) -> Asked {
    Asked { what, by, script, of, is_quick: true }
}

const ASKED: [Asked; 38] = [
    quick("web", Lan, HTTP, OWN),
    quick("web", Friend, HTTP, PUBLIC),
    quick("ssh", Lan, SSH, OWN),
    quick("ssh", Friend, SSH, PUBLIC),
    quick("FTP, passive", Lan, FTP_PASSIVE, OWN),
    quick("FTP, passive", Friend, FTP_PASSIVE, PUBLIC),
    quick("FTP, active", Lan, FTP_ACTIVE, OWN),
    quick("FTP, active", Friend, FTP_ACTIVE, PUBLIC),
    quick("DNS", Lan, DNS, OWN),
    quick("DNS over TCP", Lan, DNS_TCP, OWN),
    quick("DNS, passed on", Lan, DNS_FORWARDED, OWN),
    quick("DNS", Friend, DNS, PUBLIC),
    quick("DHCP", Newcomer, DHCP, ALL),
    quick("DHCPv6", Newcomer, DHCPV6, ALL),
    quick("ping", Friend, PING, PUBLIC),
    quick("DHCP, renewed", Newcomer, DHCP_RENEWED, ALL),
    asked("NTP", Lan, NTP, OWN),
    asked("NTP", Friend, NTP, PUBLIC),
    asked("PostgreSQL", Lan, POSTGRES, OWN),
    asked("TFTP", Lan, TFTP, OWN),
    asked("SNMP", Lan, SNMP, OWN),
    asked("syslog", Lan, SYSLOG, OWN),
    asked("syslog over TCP", Lan, SYSLOG_TCP, OWN),
    asked("mDNS", Lan, MDNS_SERVER, MDNS),
    quick("web", Server, HTTP, FRIEND),
    quick("ssh", Server, SSH, FRIEND),
    quick("FTP, passive", Server, FTP_PASSIVE, FRIEND),
    quick("FTP, active", Server, FTP_ACTIVE, FRIEND),
    quick("DNS", Server, "dig +short +time=2 @{} example.loop | grep -q 198.51.100.10", FRIEND),
    quick(
        "DNS over TCP",
        Server,
        "dig +short +time=2 +tcp @{} example.loop | grep -q 198.51",
        FRIEND,
    ),
    quick("ping", Server, PING, FRIEND),
    quick("DHCP", Server, DHCP, ALL),
    quick("DHCPv6", Server, DHCPV6, ALL),
    asked("NTP", Server, NTP, FRIEND),
    asked("TFTP", Server, TFTP, FRIEND),
    asked("syslog", Server, SYSLOG, FRIEND),
    asked("mDNS", Server, MDNS_LAN, MDNS),
    asked("SSDP", Server, SSDP, ALL),
];

/// One that is ready to be run.
struct Check {
    name: String,
    by: Who,
    script: String,
}

/// What came of them.
pub(super) struct Outcome {
    pub(super) passed: usize,
    /// Each with what it said.
    pub(super) failed: Vec<String>,
}

/// Runs all of them, some at the same time. One that fails is tried once more, alone: the machine may be busy.
/// Those whose name begins with one of `left_out` are not.
pub(super) fn run(place: &Place, is_quick: bool, left_out: &[&str]) -> Outcome {
    let chosen = ASKED.iter().filter(|asked| asked.is_quick || !is_quick);
    let is_run = |check: &Check| !left_out.iter().any(|begin| check.name.starts_with(begin));
    let checks: Vec<_> = chosen.flat_map(Asked::checks).filter(is_run).collect();
    let mut failed = Vec::new();
    for check in checks.chunks(AT_A_TIME).flat_map(|few| failed_of(few, place)) {
        if let Err(error) = check.run(place) {
            failed.push(format!("{}: {error:#}", check.name));
        }
    }
    Outcome { passed: checks.len() - failed.len(), failed }
}

/// Runs these at the same time, and returns those that failed.
fn failed_of<'c>(checks: &'c [Check], place: &Place) -> Vec<&'c Check> {
    thread::scope(|scope| {
        let run = |check: &'c Check| (check, scope.spawn(|| check.run(place)));
        let running: Vec<_> = checks.iter().map(run).collect();
        let ended = running.into_iter().map(|(check, running)| (check, running.join()));
        ended.filter(|(_, ended)| !matches!(ended, Ok(Ok(())))).map(|(check, _)| check).collect()
    })
}

const AT_A_TIME: usize = 8;

impl Asked {
    fn checks(&self) -> impl Iterator<Item = Check> {
        self.of.iter().map(|address| {
            let is_ipv6 = address.contains("::") && !address.contains('[');
            let url = if is_ipv6 { format!("[{address}]") } else { (*address).to_owned() };
            let snmp = if is_ipv6 { format!("udp6:{url}") } else { url.clone() };
            let script = self.script.replace("{url}", &url).replace("{snmp}", &snmp);
            let script = format!("{FUNCTIONS}{}", script.replace("{}", address));
            let name = format!("{} by {} {address}", self.what, self.by.name());
            Check { name, by: self.by, script }
        })
    }
}

impl Check {
    fn run(&self, place: &Place) -> Result<()> {
        let output = place.inside(self.by, &self.script).output()?;
        let said = String::from_utf8_lossy(&output.stderr);
        let end: Vec<_> = said.lines().rev().take(3).collect();
        ensure!(output.status.success(), "{}: {}", output.status, end.join(" < "));
        Ok(())
    }
}
