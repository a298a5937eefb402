//! The word of evidence that a connection's file has: an extended attribute. It is read and set through
//! the directory, in one system call, which opens nothing and follows no link.

mod at;

use std::{
    ffi::{CStr, CString},
    os::fd::{AsFd, AsRawFd as _, BorrowedFd},
    path::PathBuf,
};

use rustix::{
    fs::{PROC_SUPER_MAGIC, XattrFlags, lgetxattr, lremovexattr, lsetxattr, statfs},
    io::{Errno, Result},
};

use crate::{connection::Evidence, unit::Units};

const EVIDENCE: &CStr = c"user.conntrack.evidence";
/// Of a connection that a person wants to have a rule, whatever came of it.
const ACCEPTED: &CStr = c"user.conntrack.accepted";

/// The units that a connection is of.
const UNITS: &CStr = c"user.conntrack.units";

/// What a file has where its word should be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Attribute {
    None,
    Word(Evidence),
    /// No word of ours.
    Other,
}

/// How the attributes of a name in a directory are come by.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Way {
    /// setxattrat(2).
    At,
    /// lsetxattr(2) by way of the directory's descriptor in `/proc`.
    Proc,
    /// Neither.
    None,
}

impl Way {
    /// The best one here. Nothing is changed.
    pub(super) fn find(directory: impl AsFd) -> Self {
        let is_proc = || statfs("/proc/self/fd").is_ok_and(|it| it.f_type == PROC_SUPER_MAGIC);
        if at::are_there(directory.as_fd()) {
            Self::At
        } else if is_proc() {
            Self::Proc
        } else {
            Self::None
        }
    }

    /// The word that the file `name` has; a word that is none of ours is none.
    pub(super) fn evidence(self, directory: impl AsFd, name: &str) -> Result<Option<Evidence>> {
        match self.attribute(directory, name)? {
            Attribute::Word(evidence) => Ok(Some(evidence)),
            Attribute::None | Attribute::Other => Ok(None),
        }
    }

    /// What stands where the file `name` has its word.
    pub(super) fn attribute(self, directory: impl AsFd, name: &str) -> Result<Attribute> {
        // Longer than any word.
        let mut word = [0; 16];
        let length = match self.get(directory.as_fd(), name, EVIDENCE, &mut word) {
            Err(Errno::NODATA) => return Ok(Attribute::None),
            Err(Errno::RANGE) => return Ok(Attribute::Other),
            length => length?,
        };
        let word = word.get(..length).and_then(|word| str::from_utf8(word).ok());
        Ok(word.and_then(Evidence::from_word).map_or(Attribute::Other, Attribute::Word))
    }

    /// Gives the file `name` this word, or takes the one that it has.
    pub(super) fn set_evidence(
        self,
        directory: impl AsFd,
        name: &str,
        evidence: Option<Evidence>,
    ) -> Result<()> {
        match evidence {
            Some(word) => self.set(directory.as_fd(), name, EVIDENCE, word.as_str().as_bytes()),
            None => match self.remove(directory.as_fd(), name) {
                Err(Errno::NODATA) => Ok(()),
                removed => removed,
            },
        }
    }

    /// The units that the file `name` names; what is no list of them is none.
    pub(super) fn units(self, directory: impl AsFd, name: &str) -> Result<Option<Units>> {
        let mut text = [0; Units::LONGEST];
        let length = match self.get(directory.as_fd(), name, UNITS, &mut text) {
            Err(Errno::NODATA | Errno::RANGE) => return Ok(None),
            length => length?,
        };
        let text = text.get(..length).and_then(|text| str::from_utf8(text).ok());
        Ok(text.and_then(Units::from_text))
    }

    /// Has the file `name` name these units.
    pub(super) fn set_units(self, directory: impl AsFd, name: &str, units: &Units) -> Result<()> {
        self.set(directory.as_fd(), name, UNITS, units.to_string().as_bytes())
    }

    /// Whether a person wants it to have a rule.
    pub(super) fn is_accepted(self, directory: impl AsFd, name: &str) -> bool {
        self.get(directory.as_fd(), name, ACCEPTED, &mut [0; 16]).is_ok()
    }

    /// Keeps that a person wants it to have a rule.
    pub(super) fn accept(self, directory: impl AsFd, name: &str) -> Result<()> {
        self.set(directory.as_fd(), name, ACCEPTED, b"yes")
    }

    fn get(
        self,
        directory: BorrowedFd<'_>,
        name: &str,
        attribute: &CStr,
        word: &mut [u8],
    ) -> Result<usize> {
        match self {
            Self::At => at::get(directory, &c_string(name)?, attribute, word),
            Self::Proc => lgetxattr(in_proc(directory, name), attribute, word),
            Self::None => Err(Errno::NOSYS),
        }
    }

    fn set(
        self,
        directory: BorrowedFd<'_>,
        name: &str,
        attribute: &CStr,
        word: &[u8],
    ) -> Result<()> {
        match self {
            Self::At => at::set(directory, &c_string(name)?, attribute, word),
            Self::Proc => lsetxattr(in_proc(directory, name), attribute, word, XattrFlags::empty()),
            Self::None => Err(Errno::NOSYS),
        }
    }

    fn remove(self, directory: BorrowedFd<'_>, name: &str) -> Result<()> {
        match self {
            Self::At => at::remove(directory, &c_string(name)?, EVIDENCE),
            Self::Proc => lremovexattr(in_proc(directory, name), EVIDENCE),
            Self::None => Err(Errno::NOSYS),
        }
    }
}

fn c_string(name: &str) -> Result<CString> {
    CString::new(name).map_err(|_nul| Errno::INVAL)
}

/// The link in `/proc` is followed to the directory that is open, wherever it is by now.
fn in_proc(directory: BorrowedFd<'_>, name: &str) -> PathBuf {
    format!("/proc/self/fd/{}/{name}", directory.as_raw_fd()).into()
}

#[cfg(test)]
mod tests {
    use std::{fs, os::unix::fs::symlink};

    use rustix::fs::{CWD, FileType, Mode, mknodat};

    use super::*;

    const ANSWERED: Option<Evidence> = Some(Evidence::Answered);

    /// The ways that there are here.
    fn ways(directory: &fs::File) -> Vec<Way> {
        let at = at::are_there(directory.as_fd()).then_some(Way::At);
        at.into_iter().chain([Way::Proc]).collect()
    }

    #[test]
    fn each_way_sets_reads_and_takes_a_word() {
        let scratch = tempfile::tempdir().expect("a scratch directory");
        let directory = fs::File::open(scratch.path()).expect("a directory");
        for way in ways(&directory) {
            for other in ways(&directory) {
                fs::write(scratch.path().join("file"), "").expect("made");
                assert_eq!(way.evidence(&directory, "file"), Ok(None));
                for word in Evidence::ALL {
                    way.set_evidence(&directory, "file", Some(word)).expect("set");
                    assert_eq!(other.evidence(&directory, "file"), Ok(Some(word)), "{way:?}");
                }
                other.set_evidence(&directory, "file", None).expect("taken");
                other.set_evidence(&directory, "file", None).expect("there is none");
                assert_eq!(way.evidence(&directory, "file"), Ok(None));
            }
        }
    }

    #[test]
    fn there_is_a_way_and_the_best_one_is_found() {
        let scratch = tempfile::tempdir().expect("a scratch directory");
        let directory = fs::File::open(scratch.path()).expect("a directory");
        assert_eq!(Some(Way::find(&directory)), ways(&directory).first().copied());
        assert!(at::are_there(directory.as_fd()) || crate::host::kernel::version() < (6, 13));
    }

    #[test]
    fn what_is_no_file_of_ours_is_left_alone() {
        let scratch = tempfile::tempdir().expect("a scratch directory");
        let path = |name| scratch.path().join(name);
        let directory = fs::File::open(scratch.path()).expect("a directory");
        fs::write(path("target"), "").expect("made");
        symlink(path("target"), path("link")).expect("linked");
        mknodat(CWD, path("pipe"), FileType::Fifo, Mode::RUSR, 0).expect("made");
        for way in ways(&directory) {
            for name in ["link", "pipe"] {
                assert_eq!(
                    way.set_evidence(&directory, name, ANSWERED),
                    Err(Errno::PERM),
                    "{way:?}"
                );
                assert_eq!(way.evidence(&directory, name), Ok(None));
            }
            assert_eq!(way.evidence(&directory, "target"), Ok(None), "{way:?}");
            for nothing in ["missing", "missing/file"] {
                let set = way.set_evidence(&directory, nothing, ANSWERED);
                assert_eq!(set, Err(Errno::NOENT), "{way:?} {nothing:?}");
                assert_eq!(way.evidence(&directory, nothing), Err(Errno::NOENT), "{nothing:?}");
            }
        }
    }

    #[test]
    fn somebody_else_s_word_is_none() {
        let scratch = tempfile::tempdir().expect("a scratch directory");
        let directory = fs::File::open(scratch.path()).expect("a directory");
        fs::write(scratch.path().join("file"), "").expect("made");
        for way in ways(&directory) {
            for word in [&b""[..], b"Answered", b"answered\n", b"\xff", &[b'x'; 300]] {
                way.set(directory.as_fd(), "file", EVIDENCE, word).expect("set");
                assert_eq!(way.evidence(&directory, "file"), Ok(None), "{word:?}");
            }
        }
    }
}
