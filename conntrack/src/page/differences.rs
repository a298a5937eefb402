//! Where machines of one role differ: what one does and most do not, and what most do and it does not.

use std::collections::{BTreeMap, BTreeSet};

use super::groups::Asked;
use crate::{connection::Direction, record::Outcome, recording::Recording};

/// What a machine does: it serves a port, or it asks for one.
pub(super) type Habit = (Direction, Asked);

/// A machine, and its habits.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Machine {
    name: String,
    habits: BTreeSet<Habit>,
}

impl Machine {
    /// The machine of a recording.
    pub fn of(recording: &Recording) -> Self {
        let records = recording.records.iter();
        // What nobody answered is somebody else's habit.
        let is_habit = |outcome: Outcome| outcome.is_answered() != Some(false);
        let habits = records
            .filter(|it| it.connection.direction == Direction::Out || is_habit(it.outcome))
            .filter(|it| it.connection.direction != Direction::Else)
            .map(|it| (it.connection.direction, Asked::anywhere(&it.connection)));
        Self { name: recording.part().machine(), habits: habits.collect() }
    }
}

/// How a machine differs from most.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Difference<'a> {
    pub(super) machine: &'a str,
    /// Its habits that at most half of the machines have.
    pub(super) more: Vec<Habit>,
    /// Those that more than half have, but not this one.
    pub(super) less: Vec<Habit>,
}

/// Of these machines those that differ from most; the ones that differ most first. Recordings of one machine count
/// as one.
pub(super) fn differences<'a>(
    machines: &BTreeMap<&'a str, BTreeSet<Habit>>,
) -> Vec<Difference<'a>> {
    let mut counts = BTreeMap::<Habit, usize>::new();
    for habit in machines.values().flatten() {
        *counts.entry(*habit).or_default() += 1;
    }
    let is_usual = |habit: &Habit| counts.get(habit).is_some_and(|it| it * 2 > machines.len());
    let usual: BTreeSet<_> = counts.keys().copied().filter(|it| is_usual(it)).collect();
    let differ = machines.iter().map(|(machine, habits)| Difference {
        machine,
        more: habits.difference(&usual).copied().collect(),
        less: usual.difference(habits).copied().collect(),
    });
    let mut differ: Vec<_> =
        differ.filter(|it| !it.more.is_empty() || !it.less.is_empty()).collect();
    differ.sort_by_key(|it| (std::cmp::Reverse(it.more.len() + it.less.len()), it.machine));
    differ
}

/// Machines by their names.
pub(super) fn by_name(machines: &[Machine]) -> BTreeMap<&str, BTreeSet<Habit>> {
    let mut named = BTreeMap::<&str, BTreeSet<Habit>>::new();
    for machine in machines {
        named.entry(&machine.name).or_default().extend(&machine.habits);
    }
    named
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::connection::Protocol;

    fn habit(direction: Direction, port: u16) -> Habit {
        (direction, Asked { protocol: Protocol::Tcp, port, at: None })
    }

    fn machine(name: &str, serves: &[u16], uses: &[u16]) -> Machine {
        let serves = serves.iter().map(|port| habit(Direction::In, *port));
        let uses = uses.iter().map(|port| habit(Direction::Out, *port));
        Machine { name: name.to_owned(), habits: serves.chain(uses).collect() }
    }

    #[test]
    fn those_that_do_as_most_do_are_not_named() {
        let machines = [
            machine("web1", &[22, 443], &[5_432]),
            machine("web2", &[22, 443, 8_080], &[5_432]),
            machine("web3", &[443], &[5_432, 25]),
            machine("web4", &[443, 22], &[]),
            machine("web4", &[], &[5_432]),
        ];
        let named = by_name(&machines);
        let found = differences(&named);
        let expected = [
            ("web3", vec![habit(Direction::Out, 25)], vec![habit(Direction::In, 22)]),
            ("web2", vec![habit(Direction::In, 8_080)], Vec::new()),
        ];
        let found: Vec<_> = found.into_iter().map(|it| (it.machine, it.more, it.less)).collect();
        assert_eq!(found, expected);
    }

    #[test]
    fn of_two_that_differ_neither_is_usual() {
        let machines = [machine("a", &[1], &[]), machine("b", &[2], &[])];
        let named = by_name(&machines);
        let found = differences(&named);
        assert!(found.iter().all(|it| it.more.len() == 1 && it.less.is_empty()), "{found:?}");
        assert_eq!(differences(&by_name(&machines[..1])), []);
    }
}
