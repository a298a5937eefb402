//! Privileges: what watching needs and what is missing, before anything is tried; and, once it is
//! open, giving up the rest ([`Rights`], [`limit_writing`]).

mod landlock;
mod needs;
mod rights;
mod user;

pub use ::landlock::LandlockStatus;
pub use landlock::limit_writing;
pub use needs::{NotEnough, Watching, for_ebpf, for_pcap};
pub use rights::{Rights, RightsError, give_up_all};
pub use user::{User, UserError, name_of};
