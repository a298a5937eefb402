//! The live line: what was lost, for how long it has been going on, what is new in the tree. Losses come
//! first, and red; a narrow terminal gets fewer words.

use std::{
    env,
    time::{Duration, Instant},
};

use super::elapsed::Elapsed;
use crate::{
    connection::Direction,
    watch::stats::{Count, Stats},
};

const RED: &str = "\x1b[31m";
const PLAIN: &str = "\x1b[m";

/// What the line says.
#[derive(Clone, Copy, Debug)]
pub(super) struct Live {
    started: Instant,
    lost: Count,
    /// In, out, else.
    new: [u64; 3],
    packets: Count,
}

impl Live {
    pub(super) fn of(stats: &Stats, started: Instant) -> Self {
        let new = Direction::ALL.map(|direction| stats.files.get(direction));
        Self { started, lost: stats.lost().total(), new, packets: stats.packets_seen() }
    }

    /// In one row of this width. The last column stays empty: some terminals wrap after it.
    pub(super) fn drawn(&self, columns: u16) -> String {
        let width = usize::from(columns).saturating_sub(1);
        let elapsed = self.started.elapsed();
        let forms = [self.in_words(elapsed), self.in_short(elapsed)];
        let [words, short] = &forms;
        let (lost, rest) = if length(words) <= width { words } else { short };
        let lost: String = lost.chars().take(width).collect();
        let rest: String = rest.chars().take(width - lost.chars().count()).collect();
        if self.is_alarming() { format!("{RED}{lost}{PLAIN}{rest}") } else { lost + &rest }
    }

    /// <https://no-color.org>: the variable is there and not empty.
    fn is_alarming(&self) -> bool {
        let wants_no_colour = env::var_os("NO_COLOR").is_some_and(|it| !it.is_empty());
        self.lost != Count(Some(0)) && !wants_no_colour
    }

    fn in_words(&self, elapsed: Duration) -> (String, String) {
        let Self { lost, new: [inward, outward, others], packets, .. } = self;
        let rest = format!(
            "; {}; new connections: {inward} in, {outward} out, {others} else; packets seen: {packets}",
            Elapsed(elapsed)
        );
        (format!("lost: {lost}"), rest)
    }

    fn in_short(&self, elapsed: Duration) -> (String, String) {
        let Self { lost, new: [inward, outward, others], .. } = self;
        let elapsed = Elapsed(elapsed);
        let rest = format!(" {elapsed} new: {inward} in {outward} out {others} else");
        (format!("lost: {lost}"), rest)
    }
}

fn length((lost, rest): &(String, String)) -> usize {
    lost.chars().count() + rest.chars().count()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn live(lost: Option<u64>) -> Live {
        Live {
            started: Instant::now(),
            lost: Count(lost),
            new: [3, 12, 0],
            packets: Count(Some(1_234)),
        }
    }

    #[test]
    fn it_has_the_words_that_fit() {
        let words = "lost: 0; 0:00:00; new connections: 3 in, 12 out, 0 else; packets seen: 1234";
        assert_eq!(live(Some(0)).drawn(100), words);
        assert_eq!(live(Some(0)).drawn(40), "lost: 0 0:00:00 new: 3 in 12 out 0 else");
        assert_eq!(live(Some(0)).drawn(10), "lost: 0 0");
        assert_eq!(live(Some(0)).drawn(1), "");
        assert_eq!(live(Some(0)).drawn(0), "");
    }

    #[test]
    fn a_loss_is_red_and_what_is_unknown_too() {
        for (lost, text) in [(Some(84), "84"), (None, "unknown")] {
            let drawn = live(lost).drawn(100);
            assert!(drawn.starts_with(&format!("{RED}lost: {text}{PLAIN}; 0:00:00;")), "{drawn:?}");
        }
        assert_eq!(live(Some(84)).drawn(8), format!("{RED}lost: 8{PLAIN}"));
    }
}
