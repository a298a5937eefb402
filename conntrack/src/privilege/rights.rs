//! Dropping privileges, for good. They are per thread: the calling thread and threads that it starts
//! later lose them, threads already running keep them.

use std::io;

use rustix::thread::{
    CapabilitySet, CapabilitySets, capabilities, clear_ambient_capability_set,
    remove_capability_from_bounding_set, set_capabilities, set_no_new_privs,
};

use super::{needs::Watching, user::User};
use crate::host::thread::on_own_thread;

/// Capabilities that bypass file ownership.
const ALL_FILES: CapabilitySet = CapabilitySet::DAC_OVERRIDE.union(CapabilitySet::FOWNER);

/// The rights that the tree is written with.
#[derive(Clone, Debug)]
pub struct Rights {
    user: Option<User>,
    /// Retained to write into another user's tree.
    files: CapabilitySet,
}

/// Privileges could not be dropped.
#[derive(Debug, thiserror::Error)]
pub enum RightsError {
    /// Switching to another user failed.
    #[error("cannot become {name}: {source}; --user requires root, or CAP_SETUID and CAP_SETGID")]
    User {
        /// Who.
        name: String,
        /// The kernel's answer.
        source: io::Error,
    },
    /// No thread could be started.
    #[error("cannot start a thread: {0}; raise the limit of processes, or unshare with --fork")]
    Thread(#[source] io::Error),
    /// Any other reason.
    #[error("cannot give up privileges: {0}")]
    Kept(#[source] io::Error),
}

impl Rights {
    /// Those of this user, or else of the current one; without capabilities.
    pub const fn new(user: Option<User>) -> Self {
        Self { user, files: CapabilitySet::empty() }
    }

    /// Adds the capabilities that bypass file ownership, unless a user was asked for: root has always
    /// been able to write into another user's tree. Returns whether anything was added.
    pub fn widen(&mut self) -> bool {
        let before = self.files;
        if self.user.is_none() {
            self.files = held() & ALL_FILES;
        }
        self.files != before
    }

    /// Runs `work` on a thread that has only these rights.
    ///
    /// # Errors
    /// If privileges cannot be dropped or no thread can be started.
    pub fn alone<T: Send>(&self, work: impl FnOnce() -> T + Send) -> Result<T, RightsError> {
        on_own_thread(|| self.give_up_all_but(CapabilitySet::empty()).map(|()| work()))
            .map_err(RightsError::Thread)?
    }

    /// Drops everything but these rights and what `watching` still needs. Threads already running are
    /// not affected.
    ///
    /// # Errors
    /// If privileges cannot be dropped.
    pub fn reduce_to(&self, watching: Watching) -> Result<(), RightsError> {
        self.give_up_all_but(watching.retained(held()))
    }

    fn give_up_all_but(&self, retained: CapabilitySet) -> Result<(), RightsError> {
        clear_bounding_set();
        if let Some(user) = &self.user {
            user.take_over_thread().map_err(|errno| RightsError::User {
                name: user.name().to_owned(),
                source: errno.into(),
            })?;
        }
        limit_capabilities(retained | self.files).map_err(|errno| RightsError::Kept(errno.into()))
    }
}

/// Drops all capabilities of the calling thread.
///
/// # Errors
/// The kernel's refusal.
pub fn give_up_all() -> io::Result<()> {
    Ok(limit_capabilities(CapabilitySet::empty())?)
}

fn limit_capabilities(retained: CapabilitySet) -> rustix::io::Result<()> {
    // Clearing the inheritable set clears this one too; explicit here.
    let sets = CapabilitySets {
        effective: retained,
        permitted: retained,
        inheritable: CapabilitySet::empty(),
    };
    set_capabilities(None, sets)?;
    let _before_4_3 = clear_ambient_capability_set();
    set_no_new_privs(true)
}

/// The bounding set limits what an executed program could gain. Requires `CAP_SETPCAP`; without it,
/// no-new-privs has the same effect.
fn clear_bounding_set() {
    for capability in CapabilitySet::all().iter() {
        let _unknown_or_not_permitted = remove_capability_from_bounding_set(capability);
    }
}

/// Of this thread.
fn held() -> CapabilitySet {
    capabilities(None).map_or(CapabilitySet::empty(), |sets| sets.permitted)
}
