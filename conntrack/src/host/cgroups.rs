//! The control groups of this machine (cgroup2), by their numbers: which unit has which. A group's number is
//! the inode of its directory.
//!
//! All directories are looked at when a number turns up that is not known, and not on a timer. Who may make
//! groups may make unknown numbers turn up: so looking takes at most a small part of the time, and less
//! where it finds nothing. From the first look on, the kernel tells of each group that is made (inotify(7)): the
//! group of a service that runs for a moment is gone when its connections are shown.

use std::{
    collections::{HashMap, HashSet},
    ffi::OsString,
    fs, io,
    mem::MaybeUninit,
    os::{
        fd::{AsFd, OwnedFd},
        unix::ffi::{OsStrExt as _, OsStringExt as _},
    },
    path::{Path, PathBuf},
    time::{Duration, Instant},
};

use rustix::{
    fs::{AtFlags, CWD, Dir, FileType, Mode, OFlags, inotify, openat, statat},
    io::Errno,
};

use crate::unit::Unit;

/// Directories that are looked at. With names and all, some megabytes.
const MAX: usize = 16_384;
/// Numbers that were looked for in vain and are remembered.
const MAX_UNKNOWN: usize = 4_096;
/// After a look there is none for this many times as long as it took.
const REST: u32 = 50;
/// After one that found nothing of what was looked for there is none for this long, the second time in a
/// row for twice as long, and so on.
const VAIN: Duration = Duration::from_secs(1);
const MOST_DOUBLINGS: u32 = 6;

/// Octets of events that are read at once.
const EVENTS: usize = 4_096;

/// Where control groups are mounted.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Mount {
    /// The mount point.
    pub(crate) path: PathBuf,
    /// Whether all groups are below it: else it is a part of the hierarchy.
    pub(crate) is_whole: bool,
}

impl Mount {
    /// The one of this mount namespace.
    ///
    /// # Errors
    /// That the mounts cannot be read.
    pub(crate) fn find() -> io::Result<Option<Self>> {
        Ok(Self::find_in(&fs::read("/proc/self/mountinfo")?))
    }

    /// In the text of `/proc/PID/mountinfo` (proc(5)); one with all groups before others.
    fn find_in(mounts: &[u8]) -> Option<Self> {
        let lines = mounts.split(|octet| *octet == b'\n');
        let mut found = lines.filter_map(Self::of_line).collect::<Vec<_>>();
        found.sort_by_key(|mount| !mount.is_whole);
        found.into_iter().next()
    }

    fn of_line(line: &[u8]) -> Option<Self> {
        let mut fields = line.split(|octet| *octet == b' ');
        let (root, point) = (fields.nth(3)?, fields.next()?);
        let kind = fields.skip_while(|field| *field != b"-").nth(1)?;
        let path = OsString::from_vec(unescaped(point)).into();
        (kind == b"cgroup2").then_some(Self { path, is_whole: root == b"/" })
    }
}

/// Spaces and the like are written as a backslash and three octal digits.
fn unescaped(text: &[u8]) -> Vec<u8> {
    let mut octets = Vec::with_capacity(text.len());
    let mut rest = text;
    while let [first, behind @ ..] = rest {
        let escape = behind.get(..3).filter(|_| *first == b'\\');
        let octet = escape.and_then(|it| u8::from_str_radix(str::from_utf8(it).ok()?, 8).ok());
        octets.push(octet.unwrap_or(*first));
        rest = if octet.is_some() { &behind[3..] } else { behind };
    }
    octets
}

/// A group that is known.
#[derive(Debug)]
struct Group {
    unit: Option<Unit>,
    /// Of a socket: where the service would be that it starts.
    service: Option<PathBuf>,
    /// The look that saw it last.
    look: u64,
}

/// What is known of control groups.
#[derive(Debug, Default)]
pub(crate) struct Groups {
    /// Where to look; else where they are mounted.
    at: Option<PathBuf>,
    known: HashMap<u64, Group>,
    /// Numbers that were not there when they were looked for. No number is used twice.
    unknown: HashSet<u64>,
    /// Looks so far.
    looks: u64,
    /// Looks in a row that found nothing of what was looked for.
    in_vain: u32,
    /// No look before.
    rests_until: Option<Instant>,
    watch: Option<Watch>,
}

/// What tells of new groups: the directories in which one was made.
#[derive(Debug)]
struct Watch {
    inotify: OwnedFd,
    top: PathBuf,
    /// Below the top, by the number of their watch.
    watched: HashMap<i32, PathBuf>,
}

impl Watch {
    fn new(top: PathBuf) -> io::Result<Self> {
        let flags = inotify::CreateFlags::CLOEXEC | inotify::CreateFlags::NONBLOCK;
        Ok(Self { inotify: inotify::init(flags)?, top, watched: HashMap::new() })
    }

    /// One that is gone, or more than the user may have, is not watched.
    fn add(&mut self, path: &Path) {
        let flags = inotify::WatchFlags::CREATE
            | inotify::WatchFlags::ONLYDIR
            | inotify::WatchFlags::DONT_FOLLOW;
        let added = inotify::add_watch(&self.inotify, self.top.join(path), flags);
        if let Ok(number) = added {
            self.watched.insert(number, path.to_owned());
        }
    }

    /// The paths of groups that were made since the last call.
    fn made(&mut self) -> Vec<PathBuf> {
        let Self { inotify, watched, .. } = self;
        let mut buffer = [MaybeUninit::uninit(); EVENTS];
        let mut events = inotify::Reader::new(inotify.as_fd(), &mut buffer);
        let mut made = Vec::new();
        // The end is that there is none now. Of what was lost, looking tells.
        while let Ok(event) = events.next() {
            if event.events().contains(inotify::ReadFlags::IGNORED) {
                watched.remove(&event.wd());
            } else if let (Some(path), Some(name)) = (watched.get(&event.wd()), event.file_name())
                && event.events().contains(inotify::ReadFlags::ISDIR)
            {
                made.push(path.join(OsString::from_vec(name.to_bytes().to_vec())));
            }
        }
        made
    }
}

impl Groups {
    /// Looks once if one of these numbers is not known, and now is the time. Whether it looked.
    pub(crate) fn look_for(
        &mut self,
        numbers: impl IntoIterator<Item = u64>,
        now: Instant,
    ) -> bool {
        let wanted: HashSet<_> = numbers.into_iter().filter(|it| self.is_new(*it)).collect();
        if wanted.is_empty() || self.rests_until.is_some_and(|until| now < until) {
            return false;
        }
        self.looks += 1;
        if let Err(error) = self.look() {
            log::debug!("looking at control groups: {error}");
        }
        let missing: Vec<_> = wanted.iter().filter(|it| !self.known.contains_key(it)).collect();
        let is_in_vain = missing.len() == wanted.len();
        if self.unknown.len() + missing.len() > MAX_UNKNOWN {
            self.unknown.clear();
        }
        self.unknown.extend(missing.into_iter().take(MAX_UNKNOWN));
        self.in_vain = if is_in_vain { self.in_vain + 1 } else { 0 };
        let penalty = VAIN * (1 << self.in_vain.saturating_sub(1).min(MOST_DOUBLINGS));
        let took = now.elapsed() * REST;
        self.rests_until = Some(now + if is_in_vain { took.max(penalty) } else { took });
        true
    }

    /// The unit of the group with this number.
    pub(crate) fn unit(&self, number: u64) -> Option<Unit> {
        let Group { unit, service, .. } = self.known.get(&number)?;
        let unit = unit.as_ref()?;
        let is_there = |path: &PathBuf| path.symlink_metadata().is_ok();
        let service = service.as_ref().filter(|path| is_there(path)).and_then(|_| unit.service());
        Some(service.unwrap_or_else(|| unit.clone()))
    }

    /// Has it know the groups that were made since, and those below them.
    pub(crate) fn learn(&mut self) {
        let Some(mut watch) = self.watch.take() else { return };
        let mut left = watch.made();
        if self.known.len() > MAX {
            self.known.retain(|_, group| group.look == self.looks);
        }
        let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
        if let Ok(root) = openat(CWD, &watch.top, flags, Mode::empty()) {
            while let Some(path) = left.pop().filter(|_| self.known.len() < 2 * MAX) {
                let Ok(stat) = statat(&root, &path, AtFlags::SYMLINK_NOFOLLOW) else { continue };
                self.add(stat.st_ino, &watch.top, &path);
                watch.add(&path);
                left.extend(below(&root, &path).into_iter().map(|(_, name)| path.join(name)));
            }
        }
        self.watch = Some(watch);
    }

    /// What gets readable when a group is made, once it was looked at them.
    ///
    /// # Errors
    /// That there are no descriptors left.
    pub(crate) fn events(&self) -> io::Result<Option<OwnedFd>> {
        self.watch.as_ref().map(|watch| watch.inotify.try_clone()).transpose()
    }

    /// Has the kernel tell of new groups from now on; those that there are, are known then.
    ///
    /// # Errors
    /// That they cannot be seen.
    pub(crate) fn watch(&mut self) -> io::Result<()> {
        self.looks += 1;
        self.look()
    }

    fn is_new(&self, number: u64) -> bool {
        number != 0 && !self.known.contains_key(&number) && !self.unknown.contains(&number)
    }

    /// Groups that are gone stay until there is no room for them: what they sent may be told late.
    fn look(&mut self) -> io::Result<()> {
        let Some(top) = self.at.clone().or(Mount::find()?.map(|mount| mount.path)) else {
            return Ok(());
        };
        let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
        let root = openat(CWD, &top, flags, Mode::empty())?;
        let number = statat(&root, "", AtFlags::EMPTY_PATH)?.st_ino;
        self.add(number, &top, Path::new(""));
        let kept = self.watch.take().filter(|watch| watch.top == top);
        let mut watch = kept.map_or_else(|| Watch::new(top.clone()), Ok)?;
        watch.add(Path::new(""));
        let mut left = vec![PathBuf::new()];
        let mut seen = 1;
        while let Some(path) = left.pop() {
            for (number, name) in below(&root, &path) {
                if seen == MAX {
                    log::debug!("more than {MAX} control groups: the others have no names");
                    left.clear();
                    break;
                }
                seen += 1;
                let path = path.join(name);
                self.add(number, &top, &path);
                watch.add(&path);
                left.push(path);
            }
        }
        self.watch = Some(watch);
        if self.known.len() > MAX {
            let look = self.looks;
            self.known.retain(|_, group| group.look == look);
        }
        Ok(())
    }

    fn add(&mut self, number: u64, top: &Path, path: &Path) {
        let unit = Unit::of_group(path.as_os_str().as_bytes());
        let is_socket = path.extension().is_some_and(|it| it == "socket");
        let service = is_socket.then(|| top.join(path.with_extension("service")));
        self.known.insert(number, Group { unit, service, look: self.looks });
    }
}

/// The directories in one of these, with their numbers. One that is gone meanwhile has none.
fn below(root: &OwnedFd, path: &Path) -> Vec<(u64, OsString)> {
    let here = if path.as_os_str().is_empty() { Path::new(".") } else { path };
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    let opened = openat(root.as_fd(), here, flags, Mode::empty());
    let Ok(entries) = opened.and_then(|directory| Dir::read_from(&directory)) else {
        return Vec::new();
    };
    let mut found = Vec::new();
    for entry in entries {
        let Ok(entry) = entry else { break };
        let name = entry.file_name().to_bytes();
        if entry.file_type() == FileType::Directory && name != b"." && name != b".." {
            found.push((entry.ino(), OsString::from_vec(name.to_vec())));
        }
    }
    found
}

/// Whether this process sees control groups as the machine has them; else it is in a namespace of its own
/// (`PROC_CGROUP_INIT_INO` in the kernel's `include/linux/proc_ns.h`).
///
/// # Errors
/// That it cannot be told.
pub(crate) fn is_initial_namespace() -> io::Result<bool> {
    const INITIAL: u64 = 0xEFFF_FFFB;
    match statat(CWD, "/proc/self/ns/cgroup", AtFlags::empty()) {
        Ok(stat) => Ok(stat.st_ino == INITIAL),
        // A kernel without control groups.
        Err(Errno::NOENT) => Ok(true),
        Err(errno) => Err(errno.into()),
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::MetadataExt as _;

    use tempfile::TempDir;

    use super::*;

    /// Directories stand for groups: their inodes are numbers, too.
    fn groups(paths: &[&str]) -> (TempDir, Groups) {
        let top = tempfile::tempdir().expect("a scratch directory");
        for path in paths {
            fs::create_dir_all(top.path().join(path)).expect("made");
        }
        let groups = Groups { at: Some(top.path().to_owned()), ..Groups::default() };
        (top, groups)
    }

    fn number(top: &TempDir, path: &str) -> u64 {
        fs::metadata(top.path().join(path)).expect("a directory").ino()
    }

    fn name(groups: &Groups, number: u64) -> Option<String> {
        groups.unit(number).map(|unit| unit.to_string())
    }

    #[test]
    fn a_number_is_looked_for_once_and_others_that_were_there_are_known_by_then() {
        let (top, mut groups) = groups(&["system.slice/a.service/sub", "system.slice/b.service"]);
        let [a, b, sub] =
            ["system.slice/a.service", "system.slice/b.service", "system.slice/a.service/sub"]
                .map(|path| number(&top, path));
        assert!(groups.look_for([a], Instant::now()));
        assert!(!groups.look_for([a, b, sub], Instant::now()));
        assert_eq!(name(&groups, a).as_deref(), Some("a.service"));
        assert_eq!(name(&groups, sub).as_deref(), Some("a.service"));
        assert_eq!(name(&groups, b).as_deref(), Some("b.service"));
        assert_eq!(name(&groups, number(&top, "")), None);
        fs::remove_dir(top.path().join("system.slice/b.service")).expect("removed");
        assert_eq!(name(&groups, b).as_deref(), Some("b.service"), "it was there a moment ago");
    }

    #[test]
    fn a_group_that_is_gone_by_then_was_told_of_when_it_was_made() {
        let (top, mut groups) = groups(&["system.slice"]);
        groups.watch().expect("watched");
        let numbers = ["system.slice/a.service", "system.slice/b.slice/c.service"].map(|path| {
            fs::create_dir_all(top.path().join(path)).expect("made");
            let number = number(&top, path);
            groups.learn();
            number
        });
        fs::remove_dir_all(top.path().join("system.slice")).expect("removed");
        groups.learn();
        assert_eq!(name(&groups, numbers[0]).as_deref(), Some("a.service"));
        assert_eq!(name(&groups, numbers[1]).as_deref(), Some("c.service"));
    }

    #[test]
    fn unknown_numbers_are_not_looked_for_each_time() {
        let (_top, mut groups) = groups(&["a.service"]);
        let start = Instant::now();
        let mut looks = 0;
        // A minute of them, ten in a second.
        for tenth in 0..600_u32 {
            let unknown = u64::MAX - u64::from(tenth);
            looks +=
                u32::from(groups.look_for([unknown], start + tenth * Duration::from_millis(100)));
        }
        assert!((4..=8).contains(&looks), "{looks}");
        assert!(!groups.look_for([u64::MAX], start + Duration::from_hours(1)), "known as unknown");
    }

    #[test]
    fn a_socket_is_its_service_where_that_is_there() {
        let (top, mut groups) = groups(&["system.slice/cups.socket", "system.slice/x.socket"]);
        let [cups, x] = ["cups", "x"].map(|it| number(&top, &format!("system.slice/{it}.socket")));
        groups.look_for([cups], Instant::now());
        assert_eq!(name(&groups, cups).as_deref(), Some("cups.socket"));
        fs::create_dir(top.path().join("system.slice/cups.service")).expect("made");
        assert_eq!(name(&groups, cups).as_deref(), Some("cups.service"));
        assert_eq!(name(&groups, x).as_deref(), Some("x.socket"));
    }

    #[test]
    fn the_mount_with_all_groups_comes_before_others() {
        let line = |root: &str, point: &str, kind: &str| {
            format!("36 35 0:98 {root} {point} rw,nosuid master:1 - {kind} none rw\n")
        };
        let part = line("/docker/1", "/a", "cgroup2");
        let whole = line("/", "/sys/fs/my\\040groups\\134", "cgroup2");
        let other = line("/", "/sys", "sysfs");
        let find = |text: String| Mount::find_in(text.as_bytes());
        assert_eq!(find(other.clone()), None);
        let found = find(other.clone() + &part + &whole).expect("a mount");
        assert_eq!((found.path.to_str(), found.is_whole), (Some("/sys/fs/my groups\\"), true));
        assert!(!find(other + &part).expect("a mount").is_whole);
        assert_eq!(find("\n - \n1 2 3\n".to_owned()), None);
    }
}
