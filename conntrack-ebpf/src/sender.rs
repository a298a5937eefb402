//! Which control group a packet was sent by: that of the local socket that it is of.
#![expect(unsafe_code, reason = "a kernel helper, a field of the context")]

use aya_ebpf::{
    helpers::generated::bpf_skb_cgroup_id,
    programs::{TcContext, XdpContext},
};

use crate::maps;

/// A packet that a socket of this machine may have sent.
pub(crate) trait Sender {
    /// The number of the control group that the socket was made in: the inode of its directory. 0 where
    /// there is none.
    fn cgroup(&self) -> u64;
}

impl Sender for TcContext {
    /// Of a packet that arrived, over veth say, the socket may be the other end's; it is no sender here.
    #[inline(always)]
    fn cgroup(&self) -> u64 {
        let skb = self.skb.skb;
        // SAFETY: the context is the kernel's own.
        if !maps::asks_cgroups() || unsafe { (*skb).ingress_ifindex } != 0 {
            return 0;
        }
        // SAFETY: as above.
        unsafe { bpf_skb_cgroup_id(skb) }
    }
}

impl Sender for XdpContext {
    /// It sees what arrives.
    #[inline(always)]
    fn cgroup(&self) -> u64 {
        0
    }
}
