//! Units: whose connections are, by the names of systemd's units and of containers. A name is made of the
//! path of a control group, which anybody may choose who may make one: so it is made of few characters,
//! and what is below a unit does not count, for there its owner names groups.

use std::{fmt, sync::Arc};

/// Octets of a name at most: those of a file's name, and of the user's manager before it.
const LONGEST: usize = 300;

/// Digits of a container's number that are kept, as people type them.
const DIGITS: usize = 12;

/// The name of a unit or a container: printable, without spaces, quotes and commas.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Unit(Arc<str>);

impl Unit {
    /// The unit that the control group at this path is, or belongs to.
    ///
    /// Slices hold units. The first that is none is the unit, or if that is a user's manager, what the user
    /// runs in it. Without systemd, it is the container, or the first directory that is called like a unit.
    pub fn of_group(path: &[u8]) -> Option<Self> {
        let path = String::from_utf8_lossy(path);
        let mut names = path.split('/').filter(|name| !name.is_empty());
        let mut slice = None;
        let first = names.by_ref().find(|name| {
            let is_slice = is_slice(name);
            if is_slice {
                slice = Some(*name);
            }
            !is_slice
        })?;
        let name = if is_manager(first) {
            let below = names.find(|name| !is_slice(name) && *name != "init.scope");
            below.map_or_else(|| first.to_owned(), |it| format!("{first}/{}", of_user(it)))
        } else if is_unit(first) {
            of_system(first, slice)
        } else if let Some(name) = first.strip_prefix("lxc.payload.") {
            format!("lxc-{name}")
        } else {
            names.find_map(|it| {
                container(it, first).or_else(|| is_unit(it).then(|| shortened(it)))
            })?
        };
        Some(Self(escaped(&name).into()))
    }

    /// The unit of this name, as it was printed; `None` if none is called so.
    pub fn named(name: &str) -> Option<Self> {
        let is_name = !name.is_empty() && name.len() <= LONGEST && name.bytes().all(is_plain);
        is_name.then(|| Self(name.into()))
    }

    /// The service that a socket starts, by its name.
    pub(crate) fn service(&self) -> Option<Self> {
        let name = self.0.strip_suffix(".socket")?;
        Some(Self(format!("{name}.service").into()))
    }

    /// The name.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// Whether a person means it who types this: its name, or that without what it ends with.
    pub fn is_meant_by(&self, typed: &str) -> bool {
        let last = self.0.rsplit('/').next().unwrap_or_default();
        let stem = last.strip_suffix(".service");
        *self.0 == *typed || last == typed || stem == Some(typed)
    }
}

impl fmt::Display for Unit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// The units of a connection, in the order in which they were seen.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Units {
    names: Vec<Unit>,
    /// Whether there were more.
    are_more: bool,
}

impl Units {
    /// Kept of one connection.
    pub const MAX: usize = 8;
    /// Octets of all of them as text, at most.
    pub(crate) const LONGEST: usize = Self::MAX * (LONGEST + 1) + Self::MORE.len();
    const MORE: &str = "…";

    /// As they were printed; `None` if this is no list of names.
    pub fn from_text(text: &str) -> Option<Self> {
        Self::of_words(text.split(' ').filter(|word| !word.is_empty()))
    }

    /// What [`Self::words`] gave; `None` if a word is no name.
    pub fn of_words<'a>(words: impl IntoIterator<Item = &'a str>) -> Option<Self> {
        let mut units = Self::default();
        for word in words {
            if word == Self::MORE {
                units.are_more = true;
            } else {
                units.add(&Unit::named(word)?);
            }
        }
        Some(units)
    }

    /// Adds one; whether that changes anything.
    pub fn add(&mut self, unit: &Unit) -> bool {
        if self.names.contains(unit) || self.are_more {
            return false;
        }
        if self.names.len() == Self::MAX {
            self.are_more = true;
        } else {
            self.names.push(unit.clone());
        }
        true
    }

    /// Adds those of another connection.
    pub fn add_all(&mut self, others: &Self) {
        for unit in &others.names {
            self.add(unit);
        }
        self.are_more |= others.are_more;
    }

    /// Each of them.
    pub fn iter(&self) -> impl Iterator<Item = &Unit> {
        self.names.iter()
    }

    /// Their names, and what stands for others.
    pub fn words(&self) -> impl Iterator<Item = &str> {
        let more = self.are_more.then_some(Self::MORE);
        self.names.iter().map(Unit::as_str).chain(more)
    }

    /// Whether there were more than are kept.
    pub const fn are_more(&self) -> bool {
        self.are_more
    }

    /// Whether one of them is meant by this name.
    pub fn has(&self, typed: &str) -> bool {
        self.names.iter().any(|unit| unit.is_meant_by(typed))
    }

    /// Whether none is known.
    pub const fn is_empty(&self) -> bool {
        self.names.is_empty()
    }
}

impl fmt::Display for Units {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, word) in self.words().enumerate() {
            write!(f, "{}{word}", if index > 0 { " " } else { "" })?;
        }
        Ok(())
    }
}

/// Ends of names that systemd writes, in small letters.
fn is_unit(name: &str) -> bool {
    [".service", ".scope", ".socket", ".mount", ".swap"].iter().any(|end| name.ends_with(end))
}

fn is_slice(name: &str) -> bool {
    const END: &str = ".slice";
    name.ends_with(END)
}

fn is_manager(name: &str) -> bool {
    name.starts_with("user@") && name.ends_with(".service")
}

/// A session has a number that is another one after each login, so it is its user's slice.
fn of_system(name: &str, slice: Option<&str>) -> String {
    match slice {
        Some(slice) if slice.starts_with("user-") && name.starts_with("session-") => {
            slice.to_owned()
        }
        _ => shortened(name),
    }
}

/// What a user runs, without what is another one each time: `app-gnome-firefox-1234.scope` is `firefox`
/// (systemd's `DESKTOP_ENVIRONMENTS`).
fn of_user(name: &str) -> String {
    let Some(app) = name.strip_prefix("app-") else { return shortened(name) };
    let id = if let Some(scope) = app.strip_suffix(".scope") {
        scope.rsplit_once('-').map(|(id, _random)| id)
    } else {
        app.strip_suffix(".service").map(|id| id.split('@').next().unwrap_or(id))
    };
    // A dash within the application's name is escaped.
    let id = id.map(|id| id.rsplit('-').next().unwrap_or(id).replace("\\x2d", "-"));
    id.filter(|id| !id.is_empty()).unwrap_or_else(|| shortened(name))
}

/// Without what is another one each time: a container's number beyond some digits, the number and the ends
/// of the connection that a service was started for.
fn shortened(name: &str) -> String {
    if let Some(container) = name.strip_suffix(".scope").and_then(|stem| {
        let (engine, number) = stem.rsplit_once('-')?;
        is_number_of_container(number).then(|| format!("{engine}-{}", &number[..DIGITS]))
    }) {
        return container;
    }
    match name.strip_suffix(".service").and_then(|stem| stem.split_once('@')) {
        Some((template, instance)) if is_of_connection(instance) => format!("{template}@.service"),
        _ => name.to_owned(),
    }
}

/// `5-192.0.2.1:22-192.0.2.7:50000`, as systemd calls the instances that take one connection each.
fn is_of_connection(instance: &str) -> bool {
    let number = instance.split('-').next().unwrap_or_default();
    let is_number = !number.is_empty() && number.bytes().all(|it| it.is_ascii_digit());
    is_number && instance.matches('-').count() >= 2
}

fn container(name: &str, engine: &str) -> Option<String> {
    is_number_of_container(name).then(|| format!("{engine}-{}", &name[..DIGITS]))
}

fn is_number_of_container(name: &str) -> bool {
    name.len() == 64 && name.bytes().all(|it| it.is_ascii_hexdigit())
}

/// What systemd takes in the name of a unit, and the slash.
const fn is_plain(octet: u8) -> bool {
    octet.is_ascii_alphanumeric()
        || matches!(octet, b':' | b'-' | b'_' | b'.' | b'\\' | b'@' | b'/')
}

/// All else as systemd escapes it.
fn escaped(name: &str) -> String {
    let mut escaped = String::with_capacity(name.len());
    for octet in name.bytes() {
        if is_plain(octet) {
            escaped.push(octet.into());
        } else {
            escaped.extend(["\\x", &format!("{octet:02x}")]);
        }
        if escaped.len() >= LONGEST {
            escaped.truncate(LONGEST);
            break;
        }
    }
    escaped
}

#[cfg(test)]
mod tests {
    use super::*;

    const NUMBER: &str = "0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef";

    fn name(path: &str) -> Option<String> {
        Unit::of_group(path.as_bytes()).map(|unit| unit.to_string())
    }

    #[track_caller]
    fn is_called(path: &str, expected: &str) {
        assert_eq!(name(&path.replace("NUMBER", NUMBER)).as_deref(), Some(expected), "{path}");
    }

    #[test]
    fn a_group_belongs_to_the_unit_that_its_slices_hold() {
        is_called("/system.slice/nginx.service", "nginx.service");
        is_called("system.slice/system-getty.slice/getty@tty1.service", "getty@tty1.service");
        is_called("/init.scope", "init.scope");
        is_called("/system.slice/nginx.service/workers", "nginx.service");
        is_called("/system.slice/cups.socket", "cups.socket");
        is_called("/test/nginx.service", "nginx.service");
        for nothing in ["", "/", "/system.slice", "/test", "/test/other"] {
            assert_eq!(name(nothing), None, "{nothing}");
        }
    }

    #[test]
    fn who_owns_a_unit_does_not_choose_its_name() {
        is_called("/system.slice/web.service/sshd.service", "web.service");
        is_called("/system.slice/docker-NUMBER.scope/init/sshd.service", "docker-0123456789ab");
        is_called(
            "/user.slice/user-7.slice/user@7.service/sshd.service",
            "user@7.service/sshd.service",
        );
        is_called("/lxc.payload.web/system.slice/sshd.service", "lxc-web");
    }

    #[test]
    fn what_is_another_one_each_time_is_left_out() {
        is_called("/user.slice/user-1000.slice/session-12.scope", "user-1000.slice");
        let user = |rest| format!("/user.slice/user-1000.slice/user@1000.service/{rest}");
        is_called(&user("app.slice/app-gnome-firefox-4711.scope"), "user@1000.service/firefox");
        is_called(&user("app.slice/app-firefox-4711.scope"), "user@1000.service/firefox");
        is_called(&user("app.slice/app-gnome-my\\x2dapp@1f.service"), "user@1000.service/my-app");
        is_called(&user("app.slice/syncthing.service"), "user@1000.service/syncthing.service");
        is_called(
            &user("user.slice/libpod-NUMBER.scope/container"),
            "user@1000.service/libpod-0123456789ab",
        );
        is_called(&user("init.scope"), "user@1000.service");
        is_called("/system.slice/sshd@5-192.0.2.1:22-192.0.2.7:50000.service", "sshd@.service");
        is_called("/system.slice/openvpn@office-1.service", "openvpn@office-1.service");
    }

    #[test]
    fn containers_are_called_by_twelve_digits() {
        is_called("/machine.slice/libpod-NUMBER.scope", "libpod-0123456789ab");
        is_called("/machine.slice/libpod-conmon-NUMBER.scope", "libpod-conmon-0123456789ab");
        is_called("/docker/NUMBER", "docker-0123456789ab");
        is_called("/kubepods/burstable/pod12-34/NUMBER", "kubepods-0123456789ab");
        is_called(
            "/kubepods.slice/kubepods-besteffort.slice/kubepods-besteffort-pod12.slice/crio-NUMBER.scope",
            "crio-0123456789ab",
        );
    }

    #[test]
    fn a_hostile_name_is_printable_and_bounded() {
        is_called(
            "/system.slice/a \"b\"\n,\u{1b}[31m`$(id)`.service",
            "a\\x20\\x22b\\x22\\x0a\\x2c\\x1b\\x5b31m\\x60\\x24\\x28id\\x29\\x60.service",
        );
        let long = format!("/system.slice/{}.service", "é".repeat(120));
        let name = Unit::of_group(long.as_bytes()).expect("a unit");
        assert_eq!(name.as_str().len(), LONGEST);
        assert_eq!(Unit::named(name.as_str()), Some(name));
        let not_text = Unit::of_group(b"/system.slice/\xff\xfe.service").expect("a unit");
        assert!(not_text.as_str().bytes().all(is_plain));
        for nothing in ["", "a b", "a\"", "a\n", "…"] {
            assert_eq!(Unit::named(nothing), None, "{nothing:?}");
        }
    }

    #[test]
    fn units_are_added_up_to_a_number_and_never_lost() {
        let mut units = Units::default();
        for number in 0..Units::MAX {
            let unit = Unit::named(&format!("u{number}.service")).expect("a name");
            assert!(units.add(&unit));
            assert!(!units.add(&unit));
        }
        let one_more = Unit::named("more.service").expect("a name");
        assert!(units.add(&one_more));
        assert!(!units.add(&one_more));
        let text = units.to_string();
        assert!(
            text.starts_with("u0.service u1.service ") && text.ends_with(" u7.service …"),
            "{text}"
        );
        assert_eq!(Units::from_text(&text), Some(units));
        assert_eq!(Units::from_text("a.service \"x\""), None);
        assert_eq!(Units::from_text(""), Some(Units::default()));
    }

    #[test]
    fn a_person_may_leave_out_what_a_name_ends_with() {
        let unit = Unit::of_group(b"/system.slice/nginx.service").expect("a unit");
        assert!(unit.is_meant_by("nginx") && unit.is_meant_by("nginx.service"));
        assert!(!unit.is_meant_by("ngin") && !unit.is_meant_by(""));
        let app = Unit::named("user@1000.service/firefox").expect("a name");
        assert!(app.is_meant_by("firefox") && app.is_meant_by("user@1000.service/firefox"));
    }
}
