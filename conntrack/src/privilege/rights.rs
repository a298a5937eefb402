//! Giving up privileges, for good. The kernel keeps them for each thread: what is given up here, the
//! calling thread no longer has, nor those that it starts from then on; its elder siblings still do.

use std::io;

use rustix::thread::{
    CapabilitySet, CapabilitySets, capabilities, clear_ambient_capability_set,
    remove_capability_from_bounding_set, set_capabilities, set_no_new_privs,
};

use super::{needs::Watching, user::User};
use crate::host::thread::on_own_thread;

/// Whose files it takes no owner to write to.
const ALL_FILES: CapabilitySet = CapabilitySet::DAC_OVERRIDE.union(CapabilitySet::FOWNER);

/// The rights that the tree is written with.
#[derive(Clone, Debug)]
pub struct Rights {
    user: Option<User>,
    /// For a tree that is not ours.
    files: CapabilitySet,
}

/// The kernel did not let privileges be given up.
#[derive(Debug, thiserror::Error)]
pub enum RightsError {
    /// To another user's.
    #[error("cannot become {name}: {why}; --user takes root, or CAP_SETUID and CAP_SETGID")]
    User {
        /// Who.
        name: String,
        /// What was said.
        why: io::Error,
    },
    /// There is no thread to do so.
    #[error("cannot start a thread: {0}; raise the limit of processes, or unshare with --fork")]
    Thread(io::Error),
    /// For any other reason.
    #[error("cannot give up privileges: {0}")]
    Kept(io::Error),
}

impl Rights {
    /// Those of this user, or else of whoever runs the program; either way without capabilities.
    pub const fn new(user: Option<User>) -> Self {
        Self { user, files: CapabilitySet::empty() }
    }

    /// Adds the right to write to all files, where nobody asked for another user's: to root, a tree
    /// was always open, also one that is another's. Whether there is more to it now.
    pub fn widen(&mut self) -> bool {
        let before = self.files;
        if self.user.is_none() {
            self.files = held() & ALL_FILES;
        }
        self.files != before
    }

    /// Runs `work` on a thread that has these rights and no others.
    ///
    /// # Errors
    /// What cannot be given up, or that no thread can be started.
    pub fn alone<T: Send>(&self, work: impl FnOnce() -> T + Send) -> Result<T, RightsError> {
        on_own_thread(|| self.give_up_all_but(CapabilitySet::empty()).map(|()| work()))
            .map_err(RightsError::Thread)?
    }

    /// Gives up everything but these rights and what `watching` goes on needing. Threads that are
    /// running already keep theirs.
    ///
    /// # Errors
    /// What cannot be given up.
    pub fn reduce_to(&self, watching: Watching) -> Result<(), RightsError> {
        self.give_up_all_but(watching.retained(held()))
    }

    fn give_up_all_but(&self, retained: CapabilitySet) -> Result<(), RightsError> {
        clear_bounding_set();
        if let Some(user) = &self.user {
            user.take_over_thread().map_err(|errno| RightsError::User {
                name: user.name().to_owned(),
                why: errno.into(),
            })?;
        }
        limit_capabilities(retained | self.files).map_err(|errno| RightsError::Kept(errno.into()))
    }
}

/// Gives up every capability of the calling thread.
///
/// # Errors
/// The kernel's refusal.
pub fn give_up_all() -> io::Result<()> {
    Ok(limit_capabilities(CapabilitySet::empty())?)
}

fn limit_capabilities(retained: CapabilitySet) -> rustix::io::Result<()> {
    // What is ambient has to be inheritable, so this clears that set too; here it is said.
    let sets = CapabilitySets {
        effective: retained,
        permitted: retained,
        inheritable: CapabilitySet::empty(),
    };
    set_capabilities(None, sets)?;
    let _before_4_3 = clear_ambient_capability_set();
    set_no_new_privs(true)
}

/// What a program could be given that we start; we start none. It takes `CAP_SETPCAP`, and without
/// that, no-new-privs bars the same way.
fn clear_bounding_set() {
    for capability in CapabilitySet::all().iter() {
        let _unknown_or_not_permitted = remove_capability_from_bounding_set(capability);
    }
}

/// Of this thread.
fn held() -> CapabilitySet {
    capabilities(None).map_or(CapabilitySet::empty(), |sets| sets.permitted)
}
