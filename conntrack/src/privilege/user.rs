//! Users, looked up in the user databases (nsswitch.conf(5)).

use std::{ffi::CString, io};

use nix::unistd;
use rustix::{
    process::{Gid, Uid},
    thread::{set_keep_capabilities, set_thread_groups, set_thread_res_gid, set_thread_res_uid},
};

/// A user with their groups, as at login.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct User {
    name: String,
    id: u32,
    group: u32,
    groups: Vec<u32>,
}

/// Why a user cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum UserError {
    /// No user with this name or number.
    #[error("no such user: {0}; `getent passwd` lists them")]
    NotFound(String),
    /// A number without an entry, whose group is unknown.
    #[error("no such user: {0}; name the group too, as in --user {0}:{0}")]
    NoGroup(u32),
    /// The lookup failed.
    #[error("cannot look up the user {name}: {source}")]
    Lookup {
        /// Who.
        name: String,
        /// The error of the database.
        source: io::Error,
    },
}

impl User {
    /// Finds a user by name, by number, or by `UID:GID`, which needs no entry in the databases.
    ///
    /// # Errors
    /// [`UserError::NotFound`] if there is none.
    pub fn find(text: &str) -> Result<Self, UserError> {
        let failed = |source| UserError::Lookup { name: text.to_owned(), source };
        if let Some(user) = unistd::User::from_name(text).map_err(|errno| failed(errno.into()))? {
            return Self::with_groups(user).map_err(failed);
        }
        let (id, group) = ids(text).ok_or_else(|| UserError::NotFound(text.to_owned()))?;
        if let Some(group) = group {
            return Ok(Self { name: text.to_owned(), id, group, groups: vec![group] });
        }
        let user = unistd::User::from_uid(unistd::Uid::from_raw(id));
        let user = user.map_err(|errno| failed(errno.into()))?.ok_or(UserError::NoGroup(id))?;
        Self::with_groups(user).map_err(failed)
    }

    /// Adds supplementary groups.
    fn with_groups(user: unistd::User) -> io::Result<Self> {
        let name = CString::new(user.name.as_str())?;
        let groups = unistd::getgrouplist(&name, user.gid)?;
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

    /// Switches the calling thread to the user, for good. Permitted capabilities stay.
    pub(super) fn take_over_thread(&self) -> rustix::io::Result<()> {
        let user = Uid::from_raw(self.id);
        let group = Gid::from_raw(self.group);
        let groups: Vec<_> = self.groups.iter().copied().map(Gid::from_raw).collect();
        set_keep_capabilities(true)?;
        set_thread_groups(&groups)?;
        set_thread_res_gid(group, group, group)?;
        set_thread_res_uid(user, user, user)
    }
}

/// Parses `UID` or `UID:GID`. The highest number is invalid: to setresuid(2) it means "unchanged".
fn ids(text: &str) -> Option<(u32, Option<u32>)> {
    let number = |text: &str| {
        let is_number = text.bytes().all(|it| it.is_ascii_digit());
        text.parse().ok().filter(|id| is_number && *id != u32::MAX)
    };
    match text.split_once(':') {
        Some((user, group)) => Some((number(user)?, Some(number(group)?))),
        None => Some((number(text)?, None)),
    }
}

/// A user id in words.
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
    fn users_are_found_by_number() {
        assert_eq!(User::find("0").expect("root"), User::find("root").expect("root"));
        let stranger = User::find("4242:4243").expect("needs no entry");
        assert_eq!((stranger.id, stranger.group, stranger.groups), (4242, 4243, vec![4243]));
        assert!(matches!(User::find("4000000000"), Err(UserError::NoGroup(4_000_000_000))));
        for text in
            ["4294967295", "0:4294967295", "4294967296", "-1", "+1", "1:", ":1", "1:1:1", ""]
        {
            assert!(matches!(User::find(text), Err(UserError::NotFound(_))), "{text:?}");
        }
    }

    #[test]
    fn an_id_without_a_name_is_a_number() {
        assert_eq!(name_of(0), "root (uid 0)");
        assert_eq!(name_of(4_000_000_000), "uid 4000000000");
    }
}
