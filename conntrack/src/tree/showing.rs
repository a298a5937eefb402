//! Showing a batch in slices. On a slow file system a batch can take minutes, in which signals and the
//! watchdog must be served.

use super::{
    directory::Directory,
    error::TreeError,
    evidence::{Found, Kept, Words},
    known::{Known, Word},
    last_seen::LastSeen,
    limits::Room,
    name::push_file_name,
    shown::Shown,
    telling::Telling,
};
use crate::connection::{Direction, Protocol, Sighting, Whose};
use crate::unit::Unit;

/// A batch that is being shown.
#[derive(Debug)]
pub struct Showing {
    /// Sorted by directory; `else` comes last and gets what `in` and `out` leave of the limits.
    sightings: Vec<Sighting>,
    /// Index of the first that is not yet shown.
    next: usize,
    pub(super) last_seen: LastSeen,
    pub(super) shown: Shown,
}

impl Showing {
    pub(super) fn new(sightings: Vec<Sighting>, last_seen: LastSeen) -> Self {
        let sightings = merged(sightings);
        Self { sightings, next: 0, last_seen, shown: Shown::default() }
    }

    /// Whether all are shown.
    pub const fn is_done(&self) -> bool {
        self.next >= self.sightings.len()
    }

    /// How many are left.
    pub const fn left(&self) -> usize {
        self.sightings.len().saturating_sub(self.next)
    }

    /// Directory of the next sighting.
    pub(super) fn directory(&self) -> Option<(Direction, Protocol)> {
        let Sighting { connection, .. } = self.sightings.get(self.next)?;
        Some((connection.direction, connection.protocol))
    }

    /// Index after the last sighting of that directory.
    fn end_of_directory(&self) -> usize {
        let of = |it: &Sighting| Some((it.connection.direction, it.connection.protocol));
        let directory = self.directory();
        let rest = &self.sightings[self.next..];
        self.next + rest.partition_point(|it| of(it) == directory)
    }

    /// Fails all that are left.
    pub(super) fn fail(&mut self, error: TreeError) {
        self.skip(self.sightings.len(), error);
    }

    /// Fails those of the next directory.
    pub(super) fn fail_directory(&mut self, error: TreeError) {
        self.skip(self.end_of_directory(), error);
    }

    /// Fails all that are left, because of a shutdown.
    pub(super) fn give_up(&mut self) {
        let rest = &self.sightings[self.next..];
        let connections = rest.iter().filter(|sighting| sighting.has_packet).count();
        self.next = self.sightings.len();
        self.shown.fail(connections, TreeError::Unfinished { connections });
    }

    fn skip(&mut self, end: usize, error: TreeError) {
        self.shown.fail(end - self.next, error);
        self.next = end;
    }
}

/// One sighting for each connection, in order, and behind it one for each further unit whose it is.
fn merged(mut sightings: Vec<Sighting>) -> Vec<Sighting> {
    sightings.sort_unstable_by(|a, b| (&a.connection, &a.whose).cmp(&(&b.connection, &b.whose)));
    let mut merged = Vec::<Sighting>::with_capacity(sightings.len());
    let mut first = 0;
    for sighting in sightings {
        match merged.get_mut(first) {
            Some(of_all) if of_all.connection == sighting.connection => {
                of_all.merge(&sighting);
                let is_unit = matches!(sighting.whose, Whose::Unit(_));
                if is_unit && !matches!(of_all.whose, Whose::Unit(_)) {
                    of_all.whose = sighting.whose;
                } else if is_unit && merged.last().is_some_and(|it| it.whose != sighting.whose) {
                    merged.push(Sighting::only_whose(sighting.connection, sighting.whose));
                }
            }
            _ => {
                first = merged.len();
                merged.push(sighting);
            }
        }
    }
    merged
}

/// A slice: part of a batch, in one directory.
pub(super) struct Slice<'a> {
    pub(super) directory: Directory,
    pub(super) known: &'a mut Known,
    pub(super) room: &'a mut Room,
    pub(super) words: Words,
    pub(super) last_seen: LastSeen,
    /// Which connections are told one by one.
    pub(super) telling: Telling,
}

impl Slice<'_> {
    /// Shows sightings of this directory until `is_time_up`.
    pub(super) fn show(mut self, showing: &mut Showing, is_time_up: impl Fn() -> bool) {
        self.known.begin(&self.directory);
        let made_before = showing.shown.made.total();
        let end = showing.end_of_directory();
        let mut name = String::new();
        while showing.next < end {
            let sighting = showing.sightings[showing.next].clone();
            showing.next += 1;
            name.clear();
            push_file_name(&mut name, &sighting.connection);
            if let Err(error) = self.show_one(&sighting, &name, &mut showing.shown) {
                showing.shown.fail(1, error);
            }
            if is_time_up() {
                break;
            }
        }
        if showing.shown.made.total() > made_before {
            self.known.leave(&self.directory);
        }
        showing.shown.unkept(self.words.conclude());
    }

    /// What answers a connection makes no file, and is kept where one is there: made in an earlier batch
    /// or an earlier run.
    fn show_one(
        &mut self,
        sighting: &Sighting,
        name: &str,
        shown: &mut Shown,
    ) -> Result<(), TreeError> {
        let known = self.known.word(name);
        let found = match (sighting.has_packet, known) {
            (true, _) if self.show_file(sighting, name, known.is_some(), shown)? => Found::Made,
            (true, known) => Found::There(known.unwrap_or(Word::Unread)),
            (false, Some(word)) => Found::There(word),
            (false, None) => Found::Perhaps,
        };
        let Kept { word, is_changed } = self.words.keep(&self.directory, name, found, sighting);
        match word {
            Some(word) if Some(word) != known => self.known.set(name, word),
            _ => {}
        }
        if let (Whose::Unit(unit), Some(_)) = (&sighting.whose, word) {
            self.keep_unit(name, found == Found::Made, unit);
        }
        if let (true, Some(Word::Is(evidence))) =
            (is_changed && self.telling == Telling::Changed, word)
        {
            shown.changed.push(Sighting { evidence, ..sighting.clone() });
        }
        Ok(())
    }

    /// Nothing is read or set where the unit is known to be there.
    fn keep_unit(&mut self, name: &str, is_new: bool, unit: &Unit) {
        if !is_new && self.known.has_unit(name, unit) {
            return;
        }
        if self.words.keep_unit(&self.directory, name, is_new, unit) {
            self.known.set_unit(name, unit);
        }
    }

    /// Returns whether the file was created.
    fn show_file(
        &mut self,
        sighting: &Sighting,
        name: &str,
        known: bool,
        shown: &mut Shown,
    ) -> Result<bool, TreeError> {
        let direction = sighting.connection.direction;
        let held_back = self.room.held_back(direction);
        let made = self.directory.show(name, known, held_back, self.last_seen)?;
        if made {
            shown.new.extend((self.telling >= Telling::New).then(|| sighting.clone()));
            shown.made.count(direction);
            self.room.use_up(direction);
        } else {
            shown.touched.count(direction);
        }
        Ok(made)
    }
}
