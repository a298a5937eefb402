//! Stand-ins for FTP and TFTP: just enough of a conversation for its data connection to be agreed on.

use std::{
    io::{self, BufRead as _, BufReader, Read as _, Write as _},
    net::{IpAddr, SocketAddr, TcpListener, TcpStream, UdpSocket},
    thread,
    time::Duration,
};

use rustix::net::{
    AddressFamily, SocketType, bind, connect, socket,
    sockopt::{Timeout, set_socket_reuseaddr, set_socket_timeout},
};

use super::{lab::Namespace, services::open_tcp};

/// Who opens the data connection of FTP.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mode {
    /// The server, from port 20.
    Active,
    /// The client.
    Passive,
}

/// An FTP session in which one octet is sent over a data connection.
///
/// # Errors
/// What did not get through in this time.
pub fn ftp(
    (client, from): (&Namespace, IpAddr),
    (server, to): (&Namespace, IpAddr),
    mode: Mode,
    patience: Duration,
) -> io::Result<()> {
    let listener = server.enter(|| TcpListener::bind((to, 21)))?;
    let mut control = open_tcp(client, from, SocketAddr::new(to, 21), patience)?;
    let (mut accepted, _) = listener.accept()?;
    accepted.set_read_timeout(Some(patience))?;
    accepted.write_all(b"220 ready\r\n")?;
    line(&control)?;
    // netfilter's helper reads from the second line on.
    control.write_all(b"USER anonymous\r\n")?;
    line(&accepted)?;
    accepted.write_all(b"230 logged in\r\n")?;
    line(&control)?;
    match mode {
        Mode::Passive => {
            let data = server.enter(|| TcpListener::bind((to, 0)))?;
            control.write_all(if to.is_ipv4() { b"PASV\r\n" } else { b"EPSV\r\n" })?;
            line(&accepted)?;
            accepted.write_all(passive(data.local_addr()?).as_bytes())?;
            line(&control)?;
            let sent = open_tcp(client, from, data.local_addr()?, patience)?;
            exchange(data.accept()?.0, sent, patience)
        }
        Mode::Active => {
            let data = client.enter(|| TcpListener::bind((from, 0)))?;
            control.write_all(active(data.local_addr()?).as_bytes())?;
            line(&accepted)?;
            accepted.write_all(b"200 understood\r\n")?;
            line(&control)?;
            let sent = server.enter(|| from_port_20(to, data.local_addr()?, patience))?;
            exchange(data.accept()?.0, sent, patience)
        }
    }
}

fn exchange(mut received: TcpStream, mut sent: TcpStream, patience: Duration) -> io::Result<()> {
    received.set_read_timeout(Some(patience))?;
    sent.write_all(b"!")?;
    received.read_exact(&mut [0])
}

fn line(stream: &TcpStream) -> io::Result<()> {
    BufReader::with_capacity(1, stream).read_line(&mut String::new()).map(drop)
}

fn passive(data: SocketAddr) -> String {
    match data {
        SocketAddr::V4(_) => format!("227 Entering Passive Mode ({}).\r\n", numbers(data)),
        SocketAddr::V6(_) => {
            format!("229 Entering Extended Passive Mode (|||{}|)\r\n", data.port())
        }
    }
}

fn active(data: SocketAddr) -> String {
    match data {
        SocketAddr::V4(_) => format!("PORT {}\r\n", numbers(data)),
        SocketAddr::V6(it) => format!("EPRT |2|{}|{}|\r\n", it.ip(), it.port()),
    }
}

/// An address and a port as six numbers.
fn numbers(data: SocketAddr) -> String {
    let [high, low] = data.port().to_be_bytes();
    format!("{},{high},{low}", data.ip().to_string().replace('.', ","))
}

fn from_port_20(from: IpAddr, to: SocketAddr, patience: Duration) -> io::Result<TcpStream> {
    let family = if to.is_ipv4() { AddressFamily::INET } else { AddressFamily::INET6 };
    let socket = socket(family, SocketType::STREAM, None)?;
    set_socket_reuseaddr(&socket, true)?;
    set_socket_timeout(&socket, Timeout::Send, Some(patience))?;
    bind(&socket, &SocketAddr::new(from, 20))?;
    connect(&socket, &to)?;
    Ok(socket.into())
}

/// A file of one octet over TFTP, of a server that listens there: its data comes from a port of its own.
///
/// # Errors
/// What did not get through in this time.
pub fn tftp(
    (client, from): (&Namespace, IpAddr),
    (server, listener): (&Namespace, &UdpSocket),
    patience: Duration,
) -> io::Result<()> {
    let to = listener.local_addr()?.ip();
    let data = server.enter(|| UdpSocket::bind((to, 0)))?;
    let asker = client.enter(|| UdpSocket::bind((from, 0)))?;
    for socket in [listener, &data, &asker] {
        socket.set_read_timeout(Some(patience))?;
    }
    asker.send_to(b"\0\x01file\0octet\0", (to, 69))?;
    let (_, client) = listener.recv_from(&mut [0; 64])?;
    thread::scope(|scope| {
        let accepted = scope.spawn(|| {
            data.send_to(b"\0\x03\0\x01!", client)?;
            data.recv_from(&mut [0; 8])
        });
        let (_, server) = asker.recv_from(&mut [0; 8])?;
        asker.send_to(b"\0\x04\0\x01", server)?;
        accepted.join().expect("no panic").map(drop)
    })
}
