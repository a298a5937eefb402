//! Names, numbers and times as text. What a tree says is anybody's: without control characters, without
//! characters that turn what comes after them around, and not longer than a line.

use std::{fmt, time::SystemTime};

use crate::{
    connection::{Connection, Host, Protocol, SourcePort},
    print::ends::with_port,
    show::Services,
    utc::Utc,
};

/// Characters of a name that are shown.
const SHOWN: usize = 120;

/// A name that anybody may have chosen.
pub(super) fn name(text: &str) -> String {
    let mut shown = String::new();
    for (index, character) in text.chars().enumerate() {
        if index == SHOWN {
            shown.push('…');
            break;
        }
        if is_plain(character) {
            shown.push(character);
        } else {
            shown.extend(character.escape_unicode());
        }
    }
    shown
}

/// No control character, and none of those that change the direction of text, have no width, or are not for
/// exchange.
fn is_plain(character: char) -> bool {
    let is_invisible = matches!(character,
        '\u{ad}' | '\u{61c}' | '\u{180e}' | '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}'
        | '\u{2060}'..='\u{206f}' | '\u{fdd0}'..='\u{fdef}' | '\u{feff}' | '\u{fff9}'..='\u{fffb}'
        | '\u{e0000}'..='\u{e007f}');
    let is_no_character = u32::from(character) & 0xfffe == 0xfffe;
    !character.is_control() && !is_invisible && !is_no_character
}

/// A number with its thousands apart.
#[derive(Clone, Copy)]
pub(super) struct Count(pub(super) usize);

impl fmt::Display for Count {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let digits = self.0.to_string();
        for (index, digit) in digits.char_indices() {
            if index > 0 && (digits.len() - index).is_multiple_of(3) {
                f.write_str(",")?;
            }
            write!(f, "{digit}")?;
        }
        Ok(())
    }
}

/// As in `1 port` and `2,000 ports`.
pub(super) fn count_of(count: usize, noun: &str) -> String {
    format!("{} {noun}{}", Count(count), if count == 1 { "" } else { "s" })
}

/// A time for people, to the minute.
pub(super) fn minute(time: SystemTime) -> String {
    let text = Utc(time).to_string();
    text.get(.."2026-01-31T00:00".len()).unwrap_or(&text).replace('T', " ")
}

/// An address, or `INTERNET`.
pub(super) fn host(host: Host) -> String {
    match host {
        Host::Address(address) => address.to_string(),
        Host::Internet => "INTERNET".to_owned(),
    }
}

pub(super) const fn protocol(protocol: Protocol) -> &'static str {
    match protocol {
        Protocol::Tcp => "tcp",
        Protocol::Udp => "udp",
    }
}

/// A port with its protocol and its name, as in `tcp 22 (ssh)`.
pub(super) fn port(of: Protocol, port: u16, services: &Services) -> String {
    let service = service(of, port, services).unwrap_or_default();
    format!("{} {port}{service}", protocol(of))
}

/// A port's name, as in ` (ssh)`.
pub(super) fn service(of: Protocol, port: u16, services: &Services) -> Option<String> {
    services.name(port, of).map(|service| format!(" ({})", name(service)))
}

/// Where a connection comes from.
pub(super) fn source(connection: &Connection) -> String {
    match connection.source_port {
        SourcePort::Any => host(connection.source),
        SourcePort::Number(port) => with_port(connection.source, &port),
    }
}

#[cfg(test)]
mod tests {
    use std::time::{Duration, UNIX_EPOCH};

    use super::*;

    #[test]
    fn thousands_are_apart() {
        let texts = [0, 7, 999, 1_000, 99_999, 1_234_567].map(|it| Count(it).to_string());
        assert_eq!(texts, ["0", "7", "999", "1,000", "99,999", "1,234,567"]);
        assert_eq!([1, 2].map(|it| count_of(it, "port")), ["1 port", "2 ports"]);
    }

    #[test]
    fn names_are_plain_and_short() {
        assert_eq!(name("eth0 <b>\u{e9}"), "eth0 <b>\u{e9}");
        assert_eq!(name("a\u{202e}b\n\0\u{200b}"), "a\\u{202e}b\\u{a}\\u{0}\\u{200b}");
        let long = name(&"x".repeat(10_000));
        assert_eq!((long.chars().count(), long.chars().last()), (SHOWN + 1, Some('…')));
    }

    #[test]
    fn times_are_to_the_minute() {
        assert_eq!(minute(UNIX_EPOCH + Duration::from_secs(1_700_000_000)), "2023-11-14 22:13");
    }
}
