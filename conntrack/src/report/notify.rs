//! Telling the service manager how we are: the protocol of `sd_notify(3)`, a datagram for each message
//! to the socket that `NOTIFY_SOCKET` names. Where nobody set it, nobody is told.

use std::{
    env,
    ffi::OsStr,
    io,
    os::{
        linux::net::SocketAddrExt as _,
        unix::{
            ffi::OsStrExt as _,
            net::{SocketAddr, UnixDatagram},
        },
    },
    process,
    sync::Arc,
    time::Duration,
};

use tokio::time::{MissedTickBehavior, interval};

/// How long a manager that does not listen may hold us up.
const PATIENCE: Duration = Duration::from_millis(200);

/// The way to the service manager, if there is one.
#[derive(Clone, Debug, Default)]
pub struct Notifier {
    manager: Option<Arc<Manager>>,
    /// The last message about how we are that got there.
    told: Option<String>,
}

impl Notifier {
    /// To whom the environment says.
    pub fn from_environment() -> Self {
        let Some(name) = env::var_os("NOTIFY_SOCKET") else { return Self::default() };
        match Manager::at(&name) {
            Ok(manager) => Self { manager: Some(Arc::new(manager)), told: None },
            Err(error) => {
                log::warn!("cannot tell the service manager at {}: {error}", name.display());
                Self::default()
            }
        }
    }

    /// Whether the manager is to be reached by an abstract socket.
    pub fn is_abstract(&self) -> bool {
        self.manager.as_ref().is_some_and(|it| it.address.as_abstract_name().is_some())
    }

    /// Packets are watched, and this is how it goes, in one line. Said when it is something new, or
    /// did not get there the last time.
    pub(super) fn ready(&mut self, status: &str) {
        let message = format!("READY=1\nSTATUS={status}");
        if self.manager.is_some() && self.told.as_deref() != Some(&message) {
            self.told = self.send(&message).is_ok().then_some(message);
        }
    }

    /// It comes to its end.
    pub(super) fn stopping(&self) {
        let _not_heard = self.send("STOPPING=1\nSTATUS=writing what was seen last");
    }

    /// Says in time that we are alive, where the manager watches over that. It runs on the agent's
    /// thread: when that hangs, this does too.
    pub async fn feed_watchdog(self) {
        let Some(timeout) = watchdog_timeout() else { return };
        let mut ticks = interval((timeout / 2).max(Duration::from_millis(1)));
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            ticks.tick().await;
            let _not_heard = self.send("WATCHDOG=1");
        }
    }

    fn send(&self, message: &str) -> io::Result<()> {
        let Some(manager) = &self.manager else { return Ok(()) };
        let sent = manager.send(message);
        if let Err(error) = &sent {
            log::debug!("the service manager was not told: {error}");
        }
        sent
    }
}

/// Within which time the manager wants to hear of us; of this process, and not of one that started
/// it.
fn watchdog_timeout() -> Option<Duration> {
    let number = |name| Some(env::var(name).ok()?.parse::<u64>().ok());
    if number("WATCHDOG_PID").is_some_and(|id| id != Some(process::id().into())) {
        return None;
    }
    let microseconds = number("WATCHDOG_USEC")??;
    (microseconds > 0).then(|| Duration::from_micros(microseconds))
}

#[derive(Debug)]
struct Manager {
    socket: UnixDatagram,
    address: SocketAddr,
}

impl Manager {
    /// Connected at once, as long as we have the privileges that it may take.
    fn at(name: &OsStr) -> io::Result<Self> {
        let address = match name.as_bytes() {
            [b'@', name @ ..] => SocketAddr::from_abstract_name(name)?,
            [b'/', ..] => SocketAddr::from_pathname(name)?,
            _ => return Err(io::ErrorKind::Unsupported.into()),
        };
        let socket = UnixDatagram::unbound()?;
        socket.set_write_timeout(Some(PATIENCE))?;
        socket.connect_addr(&address)?;
        Ok(Self { socket, address })
    }

    /// A manager that was started again has a socket of the same name.
    fn send(&self, message: &str) -> io::Result<()> {
        let send = || self.socket.send(message.as_bytes()).map(drop);
        send().or_else(|error| match error.kind() {
            io::ErrorKind::ConnectionRefused | io::ErrorKind::NotConnected => {
                self.socket.connect_addr(&self.address)?;
                send()
            }
            _ => Err(error),
        })
    }
}
