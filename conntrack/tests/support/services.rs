//! Services of a namespace and their clients: real sockets, a question of one octet and its answer.

use std::{
    io::{self, Read as _, Write as _},
    net::{IpAddr, SocketAddr, TcpListener, TcpStream, UdpSocket},
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    thread::{self, JoinHandle},
    time::Duration,
};

use rustix::{
    event::{PollFd, PollFlags, Timespec, poll},
    net::{
        AddressFamily, SocketType, bind, connect, socket,
        sockopt::{Timeout, set_socket_timeout},
    },
};

use super::lab::Namespace;

/// Until the thread looks whether it is to end.
const TURN: Timespec = Timespec { tv_sec: 0, tv_nsec: 20_000_000 };

/// What a service listens on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Service {
    Tcp(u16),
    /// Answers each datagram.
    Udp(u16),
    /// Receives datagrams and answers none, like syslog.
    Silent(u16),
}

impl Service {
    pub fn port(self) -> u16 {
        match self {
            Self::Tcp(port) | Self::Udp(port) | Self::Silent(port) => port,
        }
    }
}

/// Running services; they end when this goes out of scope.
pub struct Services {
    is_over: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
}

impl Services {
    /// Starts services on all addresses of a namespace, of both families.
    pub fn start(namespace: &Namespace, services: &[Service]) -> Self {
        Self::start_at(namespace, IpAddr::from([0_u16; 8]), services)
    }

    /// Starts services on one address. A host with several answers datagrams from the one that was
    /// asked only so.
    pub fn start_at(namespace: &Namespace, address: IpAddr, services: &[Service]) -> Self {
        let sockets: Vec<_> =
            namespace.enter(|| services.iter().map(|it| Socket::of(*it, address)).collect());
        let is_over = Arc::new(AtomicBool::new(false));
        let flag = Arc::clone(&is_over);
        let thread = Some(thread::spawn(move || serve(&sockets, &flag)));
        Self { is_over, thread }
    }
}

impl Drop for Services {
    fn drop(&mut self) {
        self.is_over.store(true, Ordering::Relaxed);
        if let Some(thread) = self.thread.take() {
            // A panic in there fails the test by what its clients miss.
            let _ended = thread.join();
        }
    }
}

enum Socket {
    Tcp(TcpListener),
    Udp(UdpSocket),
    Silent(UdpSocket),
}

impl Socket {
    fn of(service: Service, address: IpAddr) -> Self {
        let datagrams = |port| {
            let socket = UdpSocket::bind((address, port)).expect("bound");
            socket.set_nonblocking(true).expect("set");
            socket
        };
        match service {
            Service::Tcp(port) => Self::Tcp(TcpListener::bind((address, port)).expect("bound")),
            Service::Udp(port) => Self::Udp(datagrams(port)),
            Service::Silent(port) => Self::Silent(datagrams(port)),
        }
    }

    fn poll(&self) -> PollFd<'_> {
        match self {
            Self::Tcp(socket) => PollFd::new(socket, PollFlags::IN),
            Self::Udp(socket) | Self::Silent(socket) => PollFd::new(socket, PollFlags::IN),
        }
    }

    /// Clients that went away are no concern of a service.
    fn answer(&self) -> io::Result<()> {
        match self {
            Self::Tcp(listener) => {
                let (mut client, _) = listener.accept()?;
                client.set_read_timeout(Some(Duration::from_millis(500)))?;
                client.read_exact(&mut [0])?;
                client.write_all(b"!")
            }
            Self::Udp(socket) => {
                let (_, asker) = socket.recv_from(&mut [0; 64])?;
                socket.send_to(b"!", asker).map(drop)
            }
            Self::Silent(socket) => socket.recv_from(&mut [0; 64]).map(drop),
        }
    }
}

fn serve(sockets: &[Socket], is_over: &AtomicBool) {
    while !is_over.load(Ordering::Relaxed) {
        let mut ready: Vec<_> = sockets.iter().map(Socket::poll).collect();
        if poll(&mut ready, Some(&TURN)).is_err() {
            continue;
        }
        let ready: Vec<_> = ready.iter().map(|it| it.revents().contains(PollFlags::IN)).collect();
        for (socket, _) in sockets.iter().zip(ready).filter(|(_, is_ready)| *is_ready) {
            let _client_is_gone = socket.answer();
        }
    }
}

/// Opens a connection from an address of a namespace, from any port.
///
/// # Errors
/// It was refused, or did not open in this time.
pub fn open_tcp(
    client: &Namespace,
    from: IpAddr,
    to: SocketAddr,
    patience: Duration,
) -> io::Result<TcpStream> {
    client.enter(|| {
        let family = if to.is_ipv4() { AddressFamily::INET } else { AddressFamily::INET6 };
        let socket = socket(family, SocketType::STREAM, None)?;
        set_socket_timeout(&socket, Timeout::Send, Some(patience))?;
        bind(&socket, &SocketAddr::new(from, 0))?;
        connect(&socket, &to)?;
        let stream = TcpStream::from(socket);
        stream.set_read_timeout(Some(patience))?;
        Ok(stream)
    })
}

/// Asks a question over TCP.
///
/// # Errors
/// No answer in this time.
pub fn ask_tcp(
    client: &Namespace,
    from: IpAddr,
    to: SocketAddr,
    patience: Duration,
) -> io::Result<()> {
    let mut stream = open_tcp(client, from, to, patience)?;
    stream.write_all(b"?")?;
    stream.read_exact(&mut [0])
}

/// Asks a question over UDP, from this port.
///
/// # Errors
/// No answer in this time.
pub fn ask_udp(
    client: &Namespace,
    from: SocketAddr,
    to: SocketAddr,
    patience: Duration,
) -> io::Result<()> {
    let socket = client.enter(|| UdpSocket::bind(from))?;
    socket.set_read_timeout(Some(patience))?;
    socket.connect(to)?;
    socket.send(b"?")?;
    socket.recv(&mut [0]).map(drop)
}

/// Sends a datagram, from any port, and waits for nothing.
pub fn tell_udp(client: &Namespace, from: IpAddr, to: SocketAddr) {
    let socket = client.enter(|| UdpSocket::bind((from, 0))).expect("bound");
    socket.send_to(b"<14>event", to).expect("sent");
}
