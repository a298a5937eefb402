//! Which word of evidence a file has after a sighting. No word is read that is known, and none is set that
//! is there.

use rustix::io::Errno;

use super::{
    attributes::Way, directory::Directory, error::TreeError, known::Word, shown::Obstacle,
};
use crate::{
    connection::{Evidence, Protocol, Sighting},
    unit::Unit,
};

/// The file of a connection, once the connection is shown.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Found {
    /// This sighting made it.
    Made,
    /// It was there.
    There(Word),
    /// Nothing is known of it, and only an answer was seen.
    Perhaps,
}

/// The file's word after a sighting.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Kept {
    /// What is known of it; nothing if there is no such file.
    pub(super) word: Option<Word>,
    /// Whether a file that was there has another one now.
    pub(super) is_changed: bool,
}

impl Kept {
    const fn as_it_was(word: Option<Word>) -> Self {
        Self { word, is_changed: false }
    }
}

/// The words of the files in one directory, in one batch.
pub(super) struct Words {
    way: Way,
    /// Words that could not be kept.
    pub(super) unkept: Obstacle,
    kept: u64,
}

impl Words {
    pub(super) fn new(way: Way) -> Self {
        Self { way, unkept: Obstacle::default(), kept: 0 }
    }

    /// Sees to it that the file has the word that it should have after the sighting.
    pub(super) fn keep(
        &mut self,
        directory: &Directory,
        name: &str,
        found: Found,
        sighting: &Sighting,
    ) -> Kept {
        let before = match found {
            Found::Made => None,
            Found::There(word) if !can_change(sighting) => return Kept::as_it_was(Some(word)),
            Found::There(Word::Is(word)) => word,
            Found::Perhaps if !directory.has_file(name) => return Kept::as_it_was(None),
            Found::There(Word::Unread) | Found::Perhaps => {
                match self.way.evidence(directory, name) {
                    Ok(word) => word,
                    Err(Errno::NOENT) => return Kept::as_it_was(None),
                    Err(errno) => {
                        self.fail(directory, name, sighting, errno);
                        return Kept::as_it_was(Some(Word::Unread));
                    }
                }
            }
        };
        let after = if found == Found::Made { sighting.evidence } else { after(before, sighting) };
        if after == before {
            return Kept::as_it_was(Some(Word::Is(before)));
        }
        match self.way.set_evidence(directory, name, after) {
            Ok(()) => {
                self.kept += 1;
                Kept { word: Some(Word::Is(after)), is_changed: found != Found::Made }
            }
            Err(Errno::NOENT) => Kept::as_it_was(None),
            // The word that it has will be read when the connection is seen again.
            Err(errno) => {
                self.fail(directory, name, sighting, errno);
                Kept::as_it_was(Some(Word::Unread))
            }
        }
    }

    /// Sees to it that the file names this unit among its units; whether it does now, or has no room for it.
    pub(super) fn keep_unit(
        &mut self,
        directory: &Directory,
        name: &str,
        is_new: bool,
        unit: &Unit,
    ) -> bool {
        let kept = || {
            let units = if is_new { Ok(None) } else { self.way.units(directory, name) };
            let mut units = units?.unwrap_or_default();
            if units.add(unit) { self.way.set_units(directory, name, &units) } else { Ok(()) }
        };
        match kept() {
            Ok(()) => true,
            // The file system has no attributes, which is told with evidence; or the file is gone.
            Err(Errno::NOENT | Errno::NOSYS | Errno::NOTSUP) => false,
            Err(errno) => {
                self.fail_with(directory, name, errno);
                false
            }
        }
    }

    fn fail(&mut self, directory: &Directory, name: &str, sighting: &Sighting, errno: Errno) {
        if errno == Errno::NOTSUP {
            // No file in here has any.
            self.way = Way::None;
        }
        self.unkept.connections += u64::from(sighting.evidence.is_some());
        self.fail_with(directory, name, errno);
    }

    fn fail_with(&mut self, directory: &Directory, name: &str, errno: Errno) {
        let error = || TreeError::Evidence { path: directory.join(name), source: errno.into() };
        self.unkept.first_error.get_or_insert_with(error);
    }

    /// At the end of a batch.
    pub(super) fn conclude(mut self) -> Obstacle {
        self.unkept.is_over = self.unkept.first_error.is_none() && self.kept > 0;
        self.unkept
    }
}

/// Whether there is a word that a file may have for which the sighting changes it.
fn can_change(sighting: &Sighting) -> bool {
    let may_be_no_reply = sighting.opens && sighting.connection.protocol == Protocol::Udp;
    sighting.evidence.is_some() || may_be_no_reply
}

/// The word of a file that was there before the sighting. Stronger ones replace weaker ones; only a
/// `reply` is no longer one when something was seen that is none, and it cannot become one again.
fn after(before: Option<Evidence>, sighting: &Sighting) -> Option<Evidence> {
    let before = before.filter(|word| *word != Evidence::Reply || !sighting.opens);
    let seen = sighting.evidence.filter(|word| *word != Evidence::Reply);
    before.max(seen)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn stronger_words_replace_weaker_ones_and_a_reply_is_lost() {
        use Evidence::{Answered, Refused, Reply, Served};
        let connection = crate::connection::Connection {
            direction: crate::connection::Direction::In,
            protocol: Protocol::Udp,
            source: crate::connection::Host::Internet,
            source_port: crate::connection::SourcePort::Any,
            destination: crate::connection::Host::Internet,
            destination_port: 514,
        };
        for (before, opens, seen, expected) in [
            (None, true, None, None),
            (None, true, Some(Refused), Some(Refused)),
            (None, true, Some(Answered), Some(Answered)),
            (Some(Refused), true, None, Some(Refused)),
            (Some(Refused), true, Some(Answered), Some(Answered)),
            (Some(Answered), true, Some(Refused), Some(Answered)),
            (Some(Served), true, None, Some(Served)),
            (Some(Answered), true, Some(Served), Some(Answered)),
            // Answers to us.
            (Some(Reply), false, Some(Reply), Some(Reply)),
            (Some(Reply), true, None, None),
            (Some(Reply), true, Some(Served), Some(Served)),
            (Some(Reply), false, Some(Answered), Some(Answered)),
            // What was there was a request.
            (None, false, Some(Reply), None),
            (Some(Answered), false, Some(Reply), Some(Answered)),
        ] {
            let sighting = Sighting { opens, evidence: seen, ..Sighting::opened(connection) };
            assert_eq!(after(before, &sighting), expected, "{before:?} {opens} {seen:?}");
            let changes = after(before, &sighting) != before;
            assert!(can_change(&sighting) || !changes, "{before:?} {opens} {seen:?}");
        }
    }
}
