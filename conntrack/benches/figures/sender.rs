//! Sends frames in great numbers from the laboratory's peer to the watched device, by a packet socket
//! that receives nothing. What is in a frame is the caller's affair.
#![expect(unsafe_code, reason = "rustix has no address of a packet socket")]

use std::{
    io::IoSlice,
    os::fd::OwnedFd,
    thread,
    time::{Duration, Instant},
};

use rustix::{
    io::Errno,
    net::{
        AddressFamily, MMsgHdr, SendAncillaryBuffer, SendFlags, SocketType,
        addr::{SocketAddrArg, SocketAddrLen, SocketAddrOpaque},
        bind,
        netdevice::name_to_index,
        sendmmsg, socket,
    },
};

use super::support::lab::{Lab, PEER_DEVICE};

/// Frames for each system call.
const BATCH: u64 = 64;

/// Longer than any sending takes.
const PATIENCE: Duration = Duration::from_mins(2);

/// The peer's end of the wire.
pub(crate) struct Sender {
    socket: OwnedFd,
}

/// Turns a template into the frame of this number, from 0 on.
pub(crate) type Make<'a> = dyn Fn(u64, &mut [u8]) + 'a;

/// What to send.
#[derive(Clone, Copy)]
pub(crate) struct Load<'a> {
    /// The template of each frame.
    pub(crate) template: &'a [u8],
    pub(crate) make: &'a Make<'a>,
    pub(crate) frames: u64,
    /// Frames a second; `None`: as fast as possible.
    pub(crate) rate: Option<u64>,
}

impl Sender {
    pub(crate) fn of(lab: &Lab) -> Self {
        let socket = lab.peer.enter(|| {
            // No protocol: for sending only, so that receiving is not part of what is measured.
            let socket = socket(AddressFamily::PACKET, SocketType::RAW, None);
            let socket = socket.expect("a packet socket");
            let device = name_to_index(&socket, PEER_DEVICE).expect("a device");
            bind(&socket, &Device::of(device)).expect("bound");
            socket
        });
        Self { socket }
    }

    /// Sends all of it; returns how long that took.
    pub(crate) fn send(&self, load: Load<'_>) -> Duration {
        let mut frames = vec![load.template.to_vec(); BATCH.min(load.frames) as usize];
        let start = Instant::now();
        let mut number = 0;
        while number < load.frames {
            let due =
                load.rate.map(|rate| start + Duration::from_secs_f64(number as f64 / rate as f64));
            thread::sleep(
                due.map_or(Duration::ZERO, |due| due.saturating_duration_since(Instant::now())),
            );
            let batch = BATCH.min(load.frames - number);
            let frames = &mut frames[..batch as usize];
            for (frame, number) in frames.iter_mut().zip(number..) {
                (load.make)(number, frame);
            }
            self.send_all(frames);
            number += batch;
            assert!(start.elapsed() < PATIENCE, "only {number} frames were sent");
        }
        start.elapsed()
    }

    /// Sends again what the device's queue had no room for (ENOBUFS).
    fn send_all(&self, mut frames: &[Vec<u8>]) {
        while !frames.is_empty() {
            let slices: Vec<_> = frames.iter().map(|frame| [IoSlice::new(frame)]).collect();
            let mut controls: Vec<_> =
                frames.iter().map(|_| SendAncillaryBuffer::default()).collect();
            let messages = slices.iter().zip(&mut controls);
            let mut messages: Vec<_> =
                messages.map(|(slices, control)| MMsgHdr::new(slices, control)).collect();
            match sendmmsg(&self.socket, &mut messages, SendFlags::empty()) {
                Ok(sent) => frames = &frames[sent..],
                Err(Errno::NOBUFS | Errno::INTR) => {}
                Err(errno) => panic!("cannot send: {errno}"),
            }
        }
    }
}

/// `struct sockaddr_ll` (`include/uapi/linux/if_packet.h`) of a device.
#[repr(C)]
struct Device {
    family: u16,
    protocol: u16,
    index: u32,
    rest: [u8; 12],
}

impl Device {
    const fn of(index: u32) -> Self {
        Self { family: AddressFamily::PACKET.as_raw(), protocol: 0, index, rest: [0; 12] }
    }
}

// SAFETY: the pointer is to a whole `Device`, which begins with its family and outlives the call.
unsafe impl SocketAddrArg for Device {
    unsafe fn with_sockaddr<R>(
        &self,
        f: impl FnOnce(*const SocketAddrOpaque, SocketAddrLen) -> R,
    ) -> R {
        f(std::ptr::from_ref(self).cast(), size_of::<Self>() as SocketAddrLen)
    }
}
