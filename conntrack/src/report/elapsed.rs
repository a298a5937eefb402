//! How long something went on, as a clock shows it.

use std::{fmt, time::Duration};

/// Hours, minutes and seconds, behind days where there are some.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Elapsed(pub(crate) Duration);

impl fmt::Display for Elapsed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        const DAY: u64 = 24 * 3600;
        let seconds = self.0.as_secs();
        let [days, hours, minutes] = [seconds / DAY, seconds % DAY / 3600, seconds / 60 % 60];
        let seconds = seconds % 60;
        if days > 0 {
            return write!(f, "{days}d {hours:02}:{minutes:02}:{seconds:02}");
        }
        write!(f, "{hours}:{minutes:02}:{seconds:02}")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_is_read_like_a_clock() {
        for (seconds, text) in [
            (0, "0:00:00"),
            (3_661, "1:01:01"),
            (86_399, "23:59:59"),
            (2 * 86_400 + 5, "2d 00:00:05"),
        ] {
            assert_eq!(Elapsed(Duration::from_secs(seconds)).to_string(), text);
        }
    }
}
