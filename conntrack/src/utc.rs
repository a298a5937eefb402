//! Times in text: UTC, RFC 3339, to the second or exact.

use std::{
    fmt,
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use humantime::{format_rfc3339, format_rfc3339_seconds};

/// The last second that RFC 3339 has a text for, 9999-12-31T23:59:59Z. A file's time may be later.
const LAST: Duration = Duration::from_secs(253_402_300_799);

/// A time, to be printed.
pub(crate) struct Utc(pub(crate) SystemTime);

impl fmt::Display for Utc {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let since = self.0.duration_since(UNIX_EPOCH).unwrap_or_default();
        format_rfc3339_seconds(UNIX_EPOCH + since.min(LAST)).fmt(f)
    }
}

/// A time to the nanosecond, without a fraction where there is none; of what has no text, the nearest that has.
pub(crate) fn exact(time: SystemTime) -> String {
    let since = time.duration_since(UNIX_EPOCH).unwrap_or_default();
    format_rfc3339(UNIX_EPOCH + since.min(LAST)).to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_time_has_a_text() {
        let far = Duration::from_secs(1 << 40);
        assert_eq!(Utc(UNIX_EPOCH - far).to_string(), "1970-01-01T00:00:00Z");
        assert_eq!(Utc(UNIX_EPOCH + far).to_string(), "9999-12-31T23:59:59Z");
        let second = UNIX_EPOCH + Duration::from_millis(1_700_000_000_999);
        assert_eq!(Utc(second).to_string(), "2023-11-14T22:13:20Z");
        assert_eq!(exact(second), "2023-11-14T22:13:20.999000000Z");
        assert_eq!(exact(UNIX_EPOCH + far), "9999-12-31T23:59:59Z");
    }
}
