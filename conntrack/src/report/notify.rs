//! The `sd_notify(3)` protocol: one datagram for each message to the socket in `NOTIFY_SOCKET`. Disabled
//! if the variable is not set.

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

/// Send timeout.
const PATIENCE: Duration = Duration::from_millis(200);

/// Connection to the service manager, if there is one.
#[derive(Clone, Debug, Default)]
pub struct Notifier {
    manager: Option<Arc<Manager>>,
    /// The last status that was delivered.
    told: Option<String>,
}

impl Notifier {
    /// As the environment says.
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

    /// Whether the manager's socket has an abstract name.
    pub fn is_abstract(&self) -> bool {
        self.manager.as_ref().is_some_and(|it| it.address.as_abstract_name().is_some())
    }

    /// Reports readiness and a status line. Sent only if it changed or was not delivered.
    pub(super) fn ready(&mut self, status: &str) {
        let message = format!("READY=1\nSTATUS={status}");
        if self.manager.is_some() && self.told.as_deref() != Some(&message) {
            self.told = self.send(&message).is_ok().then_some(message);
        }
    }

    /// The run is ending.
    pub(super) fn stopping(&self) {
        let _not_heard = self.send("STOPPING=1\nSTATUS=writing what was seen last");
    }

    /// Feeds the watchdog, if there is one. Runs on the agent's thread, so it stops if the agent hangs.
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
            log::debug!("cannot notify the service manager: {error}");
        }
        sent
    }
}

/// The watchdog's timeout, if it is meant for this process and not for its parent.
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
    /// Connects now, while privileges that it may require are still there.
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

    /// Reconnects if the manager restarted.
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
