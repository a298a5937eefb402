//! A host of our own, on which rules are in force and packets are sent: a network namespace with the
//! devices, addresses and routes of a [`Layout`], and raw sockets, which stand behind the input hook and
//! before the output hook.
//!
//! The kernel handles a packet before the call that sent it returns, so what has come through can be read
//! at once. What comes later all the same is known by its tag and kept.

use std::{
    collections::{BTreeMap, BTreeSet, HashMap},
    fs, io,
    net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, SocketAddrV4, SocketAddrV6, UdpSocket},
    os::fd::{AsRawFd as _, OwnedFd},
    thread,
    time::{Duration, Instant},
};

use ipnet::IpNet;

use netlink_packet_route::AddressFamily as RouteFamily;
use nix::sys::socket::{
    ControlMessageOwned, MsgFlags, SockaddrIn6, SockaddrStorage, recvmsg, sendto, setsockopt,
    sockopt,
};
use rustix::{
    event::{PollFd, PollFlags, Timespec, poll},
    io::Errno,
    net::{
        AddressFamily, Protocol as SocketProtocol, RecvFlags, SocketFlags, SocketType, ipproto,
        recv, socket_with,
        sockopt::{set_socket_broadcast, set_socket_recv_buffer_size},
    },
};

use super::{
    layout::{LOOPBACK, Layout, Place},
    network::Network,
    packet::{Kind, Packet},
    tap::{self, Link, Tap},
};
use crate::connection::Protocol;

/// How long something that has come through may still be on its way.
const LATE: Timespec = Timespec { tv_sec: 0, tv_nsec: 50_000_000 };
/// Longer than any packet of ours.
const PACKET: usize = 2048;
/// Octets that a socket keeps until they are read.
const RECEIVE_BUFFER: usize = 4 << 20;

/// Set before there is a device: `default` is what devices start with. Nothing but rules decides about a
/// packet, and the kernel sends none by itself.
const SETTINGS: [(&str, &str); 14] = [
    ("ipv4/conf/all/rp_filter", "0"),
    ("ipv4/conf/default/rp_filter", "0"),
    ("ipv4/conf/all/accept_local", "1"),
    ("ipv4/conf/all/log_martians", "0"),
    ("ipv4/conf/default/log_martians", "0"),
    ("ipv4/ip_forward", "1"),
    ("ipv4/conf/all/send_redirects", "0"),
    ("ipv4/conf/default/send_redirects", "0"),
    ("ipv6/conf/default/disable_ipv6", "0"),
    ("ipv6/conf/default/accept_dad", "0"),
    ("ipv6/conf/default/accept_ra", "0"),
    ("ipv6/conf/default/router_solicitations", "0"),
    ("ipv6/conf/default/addr_gen_mode", "1"),
    ("ipv6/conf/all/forwarding", "1"),
];

/// The host.
pub(super) struct Stage {
    pub(super) network: Network,
    taps: Vec<Tap>,
    receivers: Vec<Receiver>,
    /// Sockets that send by each device, and by whichever the routes say.
    senders: Vec<Senders>,
    broadcasts: BTreeSet<IpAddr>,
    /// Came through when nobody looked for it.
    late: HashMap<(u32, Kind), (Place, Packet)>,
    bytes: Vec<u8>,
    /// Keep their groups joined.
    _members: Vec<UdpSocket>,
}

impl Stage {
    /// Sets the namespace of this thread up.
    ///
    /// # Errors
    /// What cannot be made.
    pub(super) fn set_up(layout: &Layout) -> io::Result<Self> {
        let has_v6 = fs::exists("/proc/sys/net/ipv6").unwrap_or_default();
        for (setting, value) in SETTINGS {
            if has_v6 || !setting.starts_with("ipv6") {
                set(setting, value)?;
            }
        }
        let mut network = Network::new()?;
        let loopback = network.index(LOOPBACK)?;
        network.up(loopback)?;
        for address in &layout.loopback_addresses {
            network.add_address(loopback, address.addr(), address.prefix_len())?;
        }
        let (taps, indexes) = make_devices(&mut network, layout)?;
        let own = layout.devices.iter().flat_map(|device| &device.addresses);
        for address in own.map(IpNet::addr).filter(IpAddr::is_ipv6) {
            wait_for(&mut network, address)?;
        }
        add_routes(&mut network, layout, &indexes, has_v6)?;
        let members = join(&layout.groups, indexes[0]);
        let receivers = receivers(has_v6)?;
        let names = layout.devices.iter().map(|device| Some(device.name.as_str()));
        let senders = names.chain([None]).map(|device| Senders::open(device, has_v6));
        Ok(Self {
            network,
            taps,
            receivers,
            senders: senders.collect::<io::Result<_>>()?,
            broadcasts: layout.broadcasts.clone(),
            late: HashMap::new(),
            bytes: Vec::with_capacity(PACKET),
            _members: members,
        })
    }

    /// Sends a packet: has it arrive at a device, or hands it to the host to send by a device.
    pub(super) fn send(&mut self, from: Place, by: Option<usize>, packet: &Packet) {
        self.bytes.clear();
        packet.write(&mut self.bytes);
        // That it was refused is told by nobody having seen it.
        let _refused = match from {
            Place::Device(device) => {
                let to = packet.destination.ip();
                let is_broadcast = self.broadcasts.contains(&to);
                self.taps[device].arrive(&self.bytes, to, is_broadcast)
            }
            Place::Host => self.senders[by.unwrap_or(self.taps.len())]
                .send(&self.bytes, packet.destination.ip()),
        };
    }

    /// Looks for a packet, first where it should be.
    pub(super) fn look(
        &mut self,
        tag: u32,
        kind: Kind,
        expected: Place,
    ) -> io::Result<Option<(Place, Packet)>> {
        let devices = (0..self.taps.len()).map(Place::Device);
        let others = devices.chain([Place::Host]).filter(|place| *place != expected);
        for place in [expected].into_iter().chain(others) {
            if let Some(packet) = self.look_at(place, tag, kind)? {
                return Ok(Some((place, packet)));
            }
        }
        Ok(self.late.remove(&(tag, kind)))
    }

    /// Reads what is there until the packet comes.
    fn look_at(&mut self, place: Place, tag: u32, kind: Kind) -> io::Result<Option<Packet>> {
        match place {
            Place::Device(device) => {
                let tap = &self.taps[device];
                look_through(&mut self.late, place, (tag, kind), || leaving(tap))
            }
            Place::Host => {
                for receiver in &self.receivers {
                    let found =
                        look_through(&mut self.late, place, (tag, kind), || receiver.read())?;
                    if found.is_some() {
                        return Ok(found);
                    }
                }
                Ok(None)
            }
        }
    }

    /// Waits for what is still on its way, and keeps it.
    pub(super) fn settle(&mut self) -> io::Result<()> {
        loop {
            let sockets = self.receivers.iter().map(|it| PollFd::new(&it.socket, PollFlags::IN));
            let taps = self.taps.iter().map(|it| PollFd::new(it.file(), PollFlags::IN));
            let mut ready: Vec<_> = sockets.chain(taps).collect();
            match poll(&mut ready, Some(&LATE)) {
                Ok(0) => return Ok(()),
                Ok(_) | Err(Errno::INTR) => {}
                Err(errno) => return Err(errno.into()),
            }
            for place in (0..self.taps.len()).map(Place::Device).chain([Place::Host]) {
                // Nothing has this kind and tag together.
                let _kept = self.look_at(place, u32::MAX, Kind::Answer)?;
            }
        }
    }
}

/// What was read.
enum Read {
    Nothing,
    /// Of the kernel's own.
    NotOurs,
    Ours(Packet),
}

impl From<Option<Packet>> for Read {
    fn from(packet: Option<Packet>) -> Self {
        packet.map_or(Self::NotOurs, Self::Ours)
    }
}

fn look_through(
    late: &mut HashMap<(u32, Kind), (Place, Packet)>,
    place: Place,
    wanted: (u32, Kind),
    read: impl Fn() -> io::Result<Read>,
) -> io::Result<Option<Packet>> {
    loop {
        match read()? {
            Read::Nothing => return Ok(None),
            Read::NotOurs => {}
            Read::Ours(packet) if (packet.tag, packet.kind) == wanted => return Ok(Some(packet)),
            Read::Ours(packet) => {
                late.entry((packet.tag, packet.kind)).or_insert((place, packet));
            }
        }
    }
}

fn leaving(tap: &Tap) -> io::Result<Read> {
    let mut buffer = [0; PACKET];
    let packet = tap.left(&mut buffer)?;
    Ok(packet.map_or(Read::Nothing, |packet| Packet::parse(packet).into()))
}

/// Receives what the host has accepted.
struct Receiver {
    socket: OwnedFd,
    protocol: Protocol,
    is_v6: bool,
}

impl Receiver {
    fn open(protocol: Protocol, is_v6: bool) -> io::Result<Self> {
        let number = match protocol {
            Protocol::Tcp => ipproto::TCP,
            Protocol::Udp => ipproto::UDP,
        };
        let socket = raw(is_v6, number)?;
        set_socket_recv_buffer_size(&socket, RECEIVE_BUFFER)?;
        if is_v6 {
            setsockopt(&socket, sockopt::Ipv6RecvPacketInfo, &true)?;
        }
        Ok(Self { socket, protocol, is_v6 })
    }

    fn read(&self) -> io::Result<Read> {
        let mut buffer = [0; PACKET];
        if self.is_v6 {
            return self.read_v6(&mut buffer);
        }
        match recv(&self.socket, &mut buffer, RecvFlags::DONTWAIT) {
            Ok((_, length)) => Ok(Packet::parse(&buffer[..length.min(PACKET)]).into()),
            Err(Errno::AGAIN) => Ok(Read::Nothing),
            Err(errno) => Err(errno.into()),
        }
    }

    /// With IPv6, the header is not given: its addresses are told apart from the packet.
    fn read_v6(&self, buffer: &mut [u8]) -> io::Result<Read> {
        let mut control = nix::cmsg_space!(libc::in6_pktinfo);
        let mut parts = [io::IoSliceMut::new(buffer)];
        let received = recvmsg::<SockaddrIn6>(
            self.socket.as_raw_fd(),
            &mut parts,
            Some(&mut control),
            MsgFlags::MSG_DONTWAIT,
        );
        let (source, destination, length) = match received {
            Ok(message) => {
                let source = message.address.map(|it| it.ip());
                let destination = message.cmsgs()?.find_map(|it| match it {
                    ControlMessageOwned::Ipv6PacketInfo(info) => {
                        Some(Ipv6Addr::from(info.ipi6_addr.s6_addr))
                    }
                    _ => None,
                });
                (source, destination, message.bytes)
            }
            Err(nix::errno::Errno::EAGAIN) => return Ok(Read::Nothing),
            Err(errno) => return Err(errno.into()),
        };
        let (Some(source), Some(destination)) = (source, destination) else {
            return Ok(Read::NotOurs);
        };
        let bytes = buffer.get(..length).unwrap_or_default();
        let packet = Packet::parse_payload(self.protocol, source.into(), destination.into(), bytes);
        Ok(packet.into())
    }
}

fn receivers(has_v6: bool) -> io::Result<Vec<Receiver>> {
    let families = [false, true].into_iter().filter(|is_v6| has_v6 || !is_v6);
    let kinds = families.flat_map(|is_v6| [(Protocol::Tcp, is_v6), (Protocol::Udp, is_v6)]);
    kinds.map(|(protocol, is_v6)| Receiver::open(protocol, is_v6)).collect()
}

/// Sockets that send packets with their IP header, as this host's own.
struct Senders {
    v4: OwnedFd,
    v6: Option<OwnedFd>,
}

impl Senders {
    fn open(device: Option<&str>, has_v6: bool) -> io::Result<Self> {
        let open = |is_v6: bool| -> io::Result<OwnedFd> {
            let socket = raw(is_v6, ipproto::RAW)?;
            if let Some(device) = device {
                setsockopt(&socket, sockopt::BindToDevice, &device.into())?;
            }
            Ok(socket)
        };
        let v4 = open(false)?;
        set_socket_broadcast(&v4, true)?;
        let v6 = if has_v6 { Some(open(true)?) } else { None };
        Ok(Self { v4, v6 })
    }

    fn send(&self, packet: &[u8], to: IpAddr) -> io::Result<()> {
        let (socket, to): (_, SockaddrStorage) = match (to, &self.v6) {
            (IpAddr::V4(to), _) => (&self.v4, SocketAddrV4::new(to, 0).into()),
            (IpAddr::V6(to), Some(v6)) => (v6, SocketAddrV6::new(to, 0, 0, 0).into()),
            (IpAddr::V6(_), None) => return Err(Errno::AFNOSUPPORT.into()),
        };
        sendto(socket.as_raw_fd(), packet, &to, MsgFlags::MSG_DONTWAIT)?;
        Ok(())
    }
}

fn raw(is_v6: bool, protocol: SocketProtocol) -> io::Result<OwnedFd> {
    let family = if is_v6 { AddressFamily::INET6 } else { AddressFamily::INET };
    let flags = SocketFlags::CLOEXEC | SocketFlags::NONBLOCK;
    Ok(socket_with(family, SocketType::RAW, flags, Some(protocol))?)
}

fn set(setting: &str, value: &str) -> io::Result<()> {
    let path = format!("/proc/sys/net/{setting}");
    fs::write(&path, value)
        .map_err(|error| io::Error::new(error.kind(), format!("cannot write {path}: {error}")))
}

/// Those first that are to have a certain index, before it is given to others.
fn make_devices(network: &mut Network, layout: &Layout) -> io::Result<(Vec<Tap>, Vec<u32>)> {
    let mut places: Vec<_> = (0..layout.devices.len()).collect();
    places.sort_by_key(|place| layout.devices[*place].index.is_none());
    let mut made = BTreeMap::new();
    for place in places {
        let device = &layout.devices[place];
        let failed = |error: io::Error| {
            io::Error::new(error.kind(), format!("cannot make a device {}: {error}", device.name))
        };
        made.insert(place, make_device(network, device).map_err(failed)?);
    }
    Ok(made.into_values().unzip())
}

fn make_device(network: &mut Network, device: &super::layout::Device) -> io::Result<(Tap, u32)> {
    let tap = Tap::new(&device.name, device.index, device.link)?;
    let index = network.index(&device.name)?;
    let link_address = (device.link == Link::Ethernet).then_some(&tap::ADDRESS[..]);
    network.set_up(index, link_address)?;
    for address in &device.addresses {
        network.add_address(index, address.addr(), address.prefix_len())?;
    }
    Ok((tap, index))
}

/// The kernel adds the route of an IPv6 address later on.
fn wait_for(network: &mut Network, address: IpAddr) -> io::Result<()> {
    const PATIENCE: Duration = Duration::from_secs(10);
    const PAUSE: Duration = Duration::from_millis(1);
    let start = Instant::now();
    while !network.is_local(address).unwrap_or_default() {
        if start.elapsed() > PATIENCE {
            return Err(io::Error::new(
                io::ErrorKind::TimedOut,
                format!("the kernel does not take the address {address}"),
            ));
        }
        thread::sleep(PAUSE);
    }
    Ok(())
}

fn add_routes(
    network: &mut Network,
    layout: &Layout,
    indexes: &[u32],
    has_v6: bool,
) -> io::Result<()> {
    // The first comes first; the others are for answers that are sent by a certain device.
    for (metric, index) in (0..).zip(&indexes[..layout.watched]) {
        network.add_default_route(*index, RouteFamily::Inet, metric)?;
        if has_v6 {
            network.add_default_route(*index, RouteFamily::Inet6, 1024 + metric)?;
        }
    }
    for (address, device) in &layout.routes {
        network.add_host_route(indexes[*device], *address)?;
    }
    for address in &layout.broadcasts {
        network.add_broadcast(indexes[0], *address)?;
    }
    Ok(())
}

/// Joins groups, with as few sockets as the kernel allows.
fn join(groups: &BTreeSet<IpAddr>, index: u32) -> Vec<UdpSocket> {
    let mut sockets = Vec::new();
    for group in groups {
        let is_member = |socket: &UdpSocket| match group {
            IpAddr::V4(group) => socket.join_multicast_v4(group, &Ipv4Addr::UNSPECIFIED).is_ok(),
            IpAddr::V6(group) => socket.join_multicast_v6(group, index).is_ok(),
        };
        if sockets.last().is_some_and(is_member) {
            continue;
        }
        let any: SocketAddr = match group {
            IpAddr::V4(_) => (Ipv4Addr::UNSPECIFIED, 0).into(),
            IpAddr::V6(_) => (Ipv6Addr::UNSPECIFIED, 0).into(),
        };
        // A group that cannot be joined is told by nothing that comes through without rules either.
        sockets.extend(UdpSocket::bind(any).ok().filter(is_member));
    }
    sockets
}
