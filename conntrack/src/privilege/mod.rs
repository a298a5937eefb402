//! Privileges: what watching needs and what is missing, before anything is tried; and, once it is
//! open, giving up the rest ([`Rights`], [`limit_reach`]).

mod landlock;
mod needs;
mod rights;
mod user;

pub use ::landlock::LandlockStatus;
pub use landlock::{Peers, limit_reach};
pub use needs::{NotEnough, Watching, for_ebpf, for_pcap};
pub use rights::{Rights, RightsError, give_up_all};
pub use user::{User, UserError, name_of};
