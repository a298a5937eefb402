//! Times as people here write them: in this machine's time zone, to the second or to the minute.

use std::{fmt, time::SystemTime};

use jiff::{Timestamp, tz::TimeZone};

use crate::utc::Utc;

/// A time in the time zone of this machine, or of the variable `TZ`.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Local {
    pub(crate) time: SystemTime,
    pub(crate) with_seconds: bool,
}

impl fmt::Display for Local {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // Beyond the year 9999 there are no time zones.
        let Ok(time) = Timestamp::try_from(self.time) else { return Utc(self.time).fmt(f) };
        let format = if self.with_seconds { "%F %T" } else { "%F %H:%M" };
        write!(f, "{}", time.to_zoned(TimeZone::system()).strftime(format))
    }
}
