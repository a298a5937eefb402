//! Whether the programs see anything: frames that the device counted itself, against packets that the
//! programs counted.
//!
//! The two cannot be compared: a device counts frames before they are put together, and later. But where
//! frames pass again and again and no packet is seen at all, somebody takes them before us.

/// Looks in which frames passed and nothing was seen, after which that is said.
const LOOKS: u32 = 5;

/// What was counted when it was looked last.
#[derive(Debug, Default)]
pub(super) struct Sight {
    /// Of the device, and of the programs.
    last: Option<(u64, u64)>,
    unseen: Unseen,
}

#[derive(Debug, Default)]
struct Unseen {
    looks: u32,
    frames: u64,
}

impl Sight {
    /// Looks at both counters; how many frames were not seen, once they were so many times that it is
    /// to be said. It is said again only if something was seen in between.
    pub(super) fn look(
        &mut self,
        frames: Option<u64>,
        packets: impl FnOnce() -> Option<u64>,
    ) -> Option<u64> {
        let frames = frames?;
        let Some((frames_before, packets_before)) = self.last else {
            self.last = Some((frames, packets()?));
            return None;
        };
        if frames == frames_before {
            return None;
        }
        let packets = packets()?;
        self.last = Some((frames, packets));
        // Counters of a device can start anew.
        if packets != packets_before || frames < frames_before {
            self.unseen = Unseen::default();
            return None;
        }
        self.unseen.looks += 1;
        self.unseen.frames += frames - frames_before;
        (self.unseen.looks == LOOKS).then_some(self.unseen.frames)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Looks at these counters one after the other; which looks said something, and what.
    fn said(counters: &[(u64, u64)]) -> Vec<(usize, u64)> {
        let mut sight = Sight::default();
        let looks = counters.iter().enumerate();
        looks
            .filter_map(|(at, (frames, packets))| {
                sight.look(Some(*frames), || Some(*packets)).map(|unseen| (at, unseen))
            })
            .collect()
    }

    #[test]
    fn frames_of_which_none_is_seen_are_said_once() {
        let counters: Vec<_> = (0..20).map(|look| (100 + look * 3, 7)).collect();
        assert_eq!(said(&counters), [(5, 15)]);
    }

    #[test]
    fn where_nothing_passes_nothing_is_missed() {
        assert_eq!(said(&[(100, 7); 20]), []);
    }

    #[test]
    fn where_something_is_seen_now_and_then_nothing_is_said() {
        let counters: Vec<_> = (0..40).map(|look| (100 + look * 3, look / 4)).collect();
        assert_eq!(said(&counters), []);
    }

    #[test]
    fn after_something_was_seen_it_is_another_episode() {
        let blind = |from: u64, packets| (0..7).map(move |look| (from + look, packets));
        let counters: Vec<_> = blind(0, 1).chain(blind(100, 2)).collect();
        assert_eq!(said(&counters), [(5, 5), (12, 5)]);
    }

    #[test]
    fn a_device_that_counts_from_0_again_is_no_flood() {
        let counters = [(u64::MAX - 1, 1), (3, 1), (4, 1), (5, 1), (6, 1), (7, 1), (8, 1)];
        assert_eq!(said(&counters), [(6, 5)]);
    }

    #[test]
    fn where_one_of_them_is_unknown_nothing_is_said() {
        let mut sight = Sight::default();
        for frames in 0..20 {
            assert_eq!(sight.look(None, || Some(1)), None);
            assert_eq!(sight.look(Some(frames), || None), None);
        }
    }
}
