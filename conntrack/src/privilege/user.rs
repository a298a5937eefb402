//! Users of this machine, as its databases name them (nsswitch.conf(5)).

use std::ffi::CString;

use nix::unistd;
use rustix::{
    process::{Gid, Uid},
    thread::{set_keep_capabilities, set_thread_groups, set_thread_res_gid, set_thread_res_uid},
};

/// A user with the groups that a login of theirs has.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct User {
    name: String,
    id: u32,
    group: u32,
    groups: Vec<u32>,
}

/// Why somebody's rights cannot be had.
#[derive(Debug, thiserror::Error)]
pub enum UserError {
    /// There is nobody of that name.
    #[error("no such user: {0}; `getent passwd` lists them")]
    NotFound(String),
    /// The databases did not say.
    #[error("cannot look up the user {name}: {why}")]
    Lookup {
        /// Whom.
        name: String,
        /// What was said.
        why: String,
    },
}

impl User {
    /// The user of this name.
    ///
    /// # Errors
    /// [`UserError::NotFound`] where there is none.
    pub fn find(name: &str) -> Result<Self, UserError> {
        let failed =
            |why: &dyn ToString| UserError::Lookup { name: name.to_owned(), why: why.to_string() };
        let user = unistd::User::from_name(name).map_err(|errno| failed(&errno))?;
        let user = user.ok_or_else(|| UserError::NotFound(name.to_owned()))?;
        let c_name = CString::new(name).map_err(|error| failed(&error))?;
        let groups = unistd::getgrouplist(&c_name, user.gid).map_err(|errno| failed(&errno))?;
        Ok(Self {
            name: user.name,
            id: user.uid.as_raw(),
            group: user.gid.as_raw(),
            groups: groups.into_iter().map(unistd::Gid::as_raw).collect(),
        })
    }

    /// The user's name.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// The user's id.
    pub const fn id(&self) -> u32 {
        self.id
    }

    /// Makes the calling thread the user's, for good. Its permitted capabilities stay.
    pub(super) fn take_over_thread(&self) -> rustix::io::Result<()> {
        let (user, group) = (Uid::from_raw(self.id), Gid::from_raw(self.group));
        let groups: Vec<_> = self.groups.iter().copied().map(Gid::from_raw).collect();
        set_keep_capabilities(true)?;
        set_thread_groups(&groups)?;
        set_thread_res_gid(group, group, group)?;
        set_thread_res_uid(user, user, user)
    }
}

/// Whom an id is of, in words.
pub fn name_of(id: u32) -> String {
    match unistd::User::from_uid(unistd::Uid::from_raw(id)) {
        Ok(Some(user)) => format!("{} (uid {id})", user.name),
        _ => format!("uid {id}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn users_are_found_by_name() {
        let root = User::find("root").expect("every machine has one");
        assert_eq!((root.name(), root.id()), ("root", 0));
        assert!(root.groups.contains(&0));
        assert!(matches!(User::find("no such user"), Err(UserError::NotFound(_))));
        assert!(User::find("with\0zero").is_err());
    }

    #[test]
    fn an_id_without_a_name_is_a_number() {
        assert_eq!(name_of(0), "root (uid 0)");
        assert_eq!(name_of(4_000_000_000), "uid 4000000000");
    }
}
