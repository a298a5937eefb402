//! How a tree was recorded, as its root says itself: JSON in an extended attribute. A tree that says
//! nothing was recorded by something that knew no evidence.

use std::{
    io,
    os::fd::AsFd,
    path::{Path, PathBuf},
    time::SystemTime,
};

use rustix::{
    fs::{CWD, Mode, OFlags, XattrFlags, fgetxattr, fsetxattr, openat},
    io::Errno,
};
use serde::{Deserialize, Deserializer, Serialize, Serializer};

use super::error::TreeError;
use crate::one_or_more;

const ATTRIBUTE: &str = "user.conntrack.recording";

/// The largest one that is read.
const MAX: usize = 16 * 1024;

/// What the field `version` says.
const VERSION: u32 = 1;

/// How a tree was recorded. Read back, it is what anybody may have written there.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Provenance {
    /// Of these fields.
    pub version: u32,
    /// The name of the machine; none for a capture file, and none that was told before it was recorded.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub host: Option<String>,
    /// The devices; none for a capture file. One is a text, as it was before there could be several.
    #[serde(default, rename = "device", with = "one_or_more")]
    pub devices: Vec<String>,
    /// Since when evidence is recorded, in whole seconds. What was last seen before, or in a tree without
    /// this, and has no word is unknown.
    #[serde(default, serialize_with = "to_text", deserialize_with = "from_text")]
    pub since: Option<SystemTime>,
    /// The kind of source: `ebpf`, `pcap`, `file`.
    #[serde(default)]
    pub mode: String,
    /// Where eBPF looks at packets, if it does.
    #[serde(default)]
    pub hook: String,
    /// The arguments that decide what is recorded.
    #[serde(default)]
    pub flags: Vec<String>,
    /// The ports that the kernel chose local ones from, the last one included.
    #[serde(default)]
    pub ip_local_port_range: Option<(u16, u16)>,
    /// The UDP ports that were named as local servers.
    #[serde(default)]
    pub udp_in: Vec<u16>,
    /// What could have been in the tree and is not, counted from the first recording on.
    #[serde(default)]
    pub lost: Option<u64>,
}

impl Default for Provenance {
    fn default() -> Self {
        Self {
            version: VERSION,
            host: None,
            devices: Vec::new(),
            since: None,
            mode: String::new(),
            hook: String::new(),
            flags: Vec::new(),
            ip_local_port_range: None,
            udp_in: Vec::new(),
            lost: None,
        }
    }
}

impl Provenance {
    /// What the tree at `root` says; nothing if it says nothing, or what is not understood.
    ///
    /// # Errors
    /// A root that cannot be opened or read.
    pub fn of(root: &Path) -> Result<Option<Self>, TreeError> {
        // Without "." components and trailing slashes, which would follow a link at the end.
        let root: PathBuf = root.components().collect();
        let failed = |errno| TreeError::io("read", root.clone(), errno);
        let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let directory = openat(CWD, &root, flags, Mode::empty()).map_err(failed)?;
        Self::read(&directory).map_err(failed)
    }

    pub(super) fn read(root: impl AsFd) -> rustix::io::Result<Option<Self>> {
        Ok(text(root)?.and_then(|text| Self::parse(&text)))
    }

    /// The same; or why what is there says nothing.
    pub(super) fn find(root: impl AsFd) -> Result<Option<Self>, &'static str> {
        match text(root) {
            Ok(None) => Ok(None),
            Ok(Some(text)) => Self::parse(&text).map(Some).ok_or("not understood"),
            Err(_refused) => Err("cannot be read"),
        }
    }

    fn parse(text: &[u8]) -> Option<Self> {
        let read = serde_json::from_slice(text).ok();
        read.filter(|it: &Self| it.version == VERSION)
    }

    pub(super) fn write(&self, root: impl AsFd) -> io::Result<()> {
        let text = serde_json::to_vec(self)?;
        Ok(fsetxattr(root, ATTRIBUTE, &text, XattrFlags::empty())?)
    }

    /// Whether a root says something, whatever that is.
    pub(super) fn is_at(root: impl AsFd) -> bool {
        fgetxattr(root, ATTRIBUTE, &mut [0_u8; 0]) != Err(Errno::NODATA)
    }
}

/// What stands there, if anything; nothing of what is too long.
fn text(root: impl AsFd) -> rustix::io::Result<Option<Vec<u8>>> {
    let mut text = vec![0; MAX];
    match fgetxattr(root, ATTRIBUTE, &mut text[..]) {
        Ok(length) => text.truncate(length),
        Err(Errno::RANGE) => text.clear(),
        Err(Errno::NODATA | Errno::NOTSUP) => return Ok(None),
        Err(errno) => return Err(errno),
    }
    Ok(Some(text))
}

#[expect(clippy::ref_option, reason = "what serde calls")]
fn to_text<S: Serializer>(time: &Option<SystemTime>, serializer: S) -> Result<S::Ok, S::Error> {
    let text = time.map(|time| humantime::format_rfc3339_seconds(time).to_string());
    text.serialize(serializer)
}

fn from_text<'de, D: Deserializer<'de>>(text: D) -> Result<Option<SystemTime>, D::Error> {
    let text = Option::<String>::deserialize(text)?;
    let parse = |text: String| humantime::parse_rfc3339(&text).map_err(serde::de::Error::custom);
    text.map(parse).transpose()
}

#[cfg(test)]
mod tests {
    use std::time::{Duration, UNIX_EPOCH};

    use super::*;

    fn full() -> Provenance {
        Provenance {
            host: Some("web1".to_owned()),
            devices: vec!["eth0".to_owned()],
            since: Some(UNIX_EPOCH + Duration::from_secs(1_700_000_000)),
            mode: "ebpf".to_owned(),
            hook: "tc (tcx)".to_owned(),
            flags: vec!["--skip-else".to_owned()],
            ip_local_port_range: Some((32_768, 60_999)),
            udp_in: vec![514],
            lost: Some(0),
            ..Provenance::default()
        }
    }

    #[test]
    fn it_is_json_and_comes_back() {
        let scratch = tempfile::tempdir().expect("a scratch directory");
        let root = std::fs::File::open(scratch.path()).expect("a directory");
        assert!(!Provenance::is_at(&root));
        assert_eq!(Provenance::of(scratch.path()).expect("read"), None);
        for written in [full(), Provenance::default()] {
            written.write(&root).expect("written");
            assert!(Provenance::is_at(&root));
            assert_eq!(Provenance::of(scratch.path()).expect("read"), Some(written));
        }
        let text = serde_json::to_string(&full()).expect("text");
        assert_eq!(
            text,
            r#"{"version":1,"host":"web1","device":"eth0","since":"2023-11-14T22:13:20Z","mode":"ebpf","hook":"tc (tcx)","flags":["--skip-else"],"ip_local_port_range":[32768,60999],"udp_in":[514],"lost":0}"#
        );
    }

    #[test]
    fn devices_are_one_text_or_several() {
        for (devices, written) in [
            (&[][..], r#""device":null"#),
            (&["eth0"], r#""device":"eth0""#),
            (&["eth0", "wg0"], r#""device":["eth0","wg0"]"#),
        ] {
            let devices = devices.iter().map(|it| (*it).to_owned()).collect();
            let provenance = Provenance { devices, ..full() };
            let text = serde_json::to_string(&provenance).expect("text");
            assert!(text.contains(written), "{text}");
            assert_eq!(Provenance::parse(text.as_bytes()), Some(provenance));
        }
        let one = Provenance::parse(br#"{"version":1,"device":["eth0"]}"#).expect("understood");
        assert_eq!(one.devices, ["eth0"]);
    }

    #[test]
    fn what_is_not_understood_says_nothing() {
        for text in [
            "",
            "null",
            "{}",
            "answered",
            r#"{"version":2}"#,
            r#"{"version":1,"since":"yesterday"}"#,
            r#"{"version":1,"since":1700000000}"#,
            r#"{"version":1,"ip_local_port_range":[1]}"#,
            r#"{"version":1,"ip_local_port_range":[-1,99999]}"#,
            r#"{"version":1,"lost":-1}"#,
            r#"{"version":1,"device":7}"#,
            r#"{"version":1,"device":["eth0",7]}"#,
            &"[".repeat(MAX),
        ] {
            assert_eq!(Provenance::parse(text.as_bytes()), None, "{text}");
        }
        assert_eq!(Provenance::parse(b"\xff\xfe"), None);
        let least = Some(Provenance::default());
        for text in [r#"{"version":1}"#, r#"{"version":1,"since":null,"lost":null,"more":{}}"#] {
            assert_eq!(Provenance::parse(text.as_bytes()), least, "{text}");
        }
    }
}
