//! What is known of a directory from one batch to the next: which of its files are there, and with which
//! word of evidence. Only a cache: what it does not know costs system calls, and no more than that.

use std::{
    collections::HashSet,
    hash::{BuildHasher as _, Hash, Hasher},
};

use super::directory::{Directory, Stamp};
use crate::{connection::Evidence, unit::Unit};

/// Names that are known of one directory. A hash table of 2^17 places, filled as far as it goes
/// without doubling: with 9 bytes each, 1.2 MB.
const MAX: usize = (1 << 17) / 8 * 7;

/// The files of one directory that were there when we left it.
///
/// Replacing a file changes the directory's stamp; then the cache is cleared. A change in the same moment
/// in which we create files goes unnoticed until the next one. Even then no link is followed; only the
/// report of an occupied name is missing.
#[derive(Debug, Default)]
pub(super) struct Known {
    /// The directory as it was left.
    left: Option<Stamp>,
    names: HashSet<File>,
    /// The hash of a name and of a unit that the file names.
    units: HashSet<u64>,
}

/// A file that is there: the hash of its name, keyed anew for each run, and in the lowest bits the
/// [`Word`] that it has. If two hashes are ever the same, the missing file is made when its times cannot
/// be set, and may be taken to have the other's word.
#[derive(Clone, Copy, Debug)]
struct File(u64);

/// What is known of the word of evidence that a file has.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Word {
    /// Nothing.
    Unread,
    /// That it is this one, or that there is none.
    Is(Option<Evidence>),
}

impl File {
    const WORD_BITS: u32 = 3;
    const WORD: u64 = (1 << Self::WORD_BITS) - 1;

    const fn new(hash: u64, word: Word) -> Self {
        let word = match word {
            Word::Unread => 0,
            Word::Is(None) => 1,
            Word::Is(Some(evidence)) => 2 + evidence as u64,
        };
        Self(hash & !Self::WORD | word)
    }

    fn word(self) -> Word {
        match self.0 & Self::WORD {
            0 => Word::Unread,
            1 => Word::Is(None),
            word => {
                let evidence = usize::try_from(word - 2).ok().and_then(|it| Evidence::ALL.get(it));
                evidence.map_or(Word::Unread, |evidence| Word::Is(Some(*evidence)))
            }
        }
    }

    const fn name(self) -> u64 {
        self.0 & !Self::WORD
    }
}

impl PartialEq for File {
    fn eq(&self, other: &Self) -> bool {
        self.name() == other.name()
    }
}

impl Eq for File {}

impl Hash for File {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.name().hash(state);
    }
}

impl Known {
    /// Called before a slice; clears the cache if the directory has changed.
    pub(super) fn begin(&mut self, directory: &Directory) {
        let found = directory.stamp();
        if found.is_none() || found != self.left {
            self.names.clear();
            self.units.clear();
            self.left = found;
        }
    }

    /// Called after a slice that changed the directory.
    pub(super) fn leave(&mut self, directory: &Directory) {
        self.left = directory.stamp();
    }

    /// The word of the file `name`, if it was there a moment ago.
    pub(super) fn word(&self, name: &str) -> Option<Word> {
        self.names.get(&self.file(name, Word::Unread)).map(|file| file.word())
    }

    /// The file `name` is there and has this word.
    pub(super) fn set(&mut self, name: &str, word: Word) {
        let file = self.file(name, word);
        if self.names.len() >= MAX && !self.names.contains(&file) {
            self.names.clear();
        }
        self.names.replace(file);
    }

    /// Whether the file `name` names this unit, or has no room for it, as far as that is known.
    pub(super) fn has_unit(&self, name: &str, unit: &Unit) -> bool {
        self.units.contains(&self.units.hasher().hash_one((name, unit)))
    }

    /// The file `name` names this unit, or has no room for it.
    pub(super) fn set_unit(&mut self, name: &str, unit: &Unit) {
        let hash = self.units.hasher().hash_one((name, unit));
        if self.units.len() >= MAX {
            self.units.clear();
        }
        self.units.insert(hash);
    }

    fn file(&self, name: &str, word: Word) -> File {
        File::new(self.names.hasher().hash_one(name), word)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_keeps_the_word_that_was_set_last() {
        let mut known = Known::default();
        assert_eq!(known.word("a"), None);
        let words = Evidence::ALL.map(|evidence| Word::Is(Some(evidence)));
        for word in words.into_iter().chain([Word::Is(None), Word::Unread]) {
            known.set("a", word);
            assert_eq!((known.word("a"), known.word("b")), (Some(word), None));
        }
        assert_eq!(known.names.len(), 1);
    }

    #[test]
    fn a_file_takes_as_much_as_the_hash_of_its_name() {
        assert_eq!(size_of::<File>(), size_of::<u64>());
        let mut known = Known::default();
        for name in 0..MAX + 5 {
            known.set(&name.to_string(), Word::Unread);
        }
        assert_eq!(known.names.len(), 5);
    }
}
