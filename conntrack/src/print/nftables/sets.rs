//! Sets with a name: those that hold what was recorded, and those that packets fill.

use std::{collections::BTreeMap, fmt};

use crate::{connection::IpVersion, rules::addresses::AddressSet};

/// Of a line of elements.
const WIDTH: usize = 100;
/// Of a set that packets fill; what does not fit is only counted by the rule that adds to it.
const DYNAMIC_SIZE: usize = 65_535;

/// Sets that rules refer to by name, and how many have asked for each name.
pub(super) struct Sets {
    pub(super) list: Vec<Set>,
    names: BTreeMap<String, usize>,
}

/// A set.
pub(super) struct Set {
    name: String,
    kind: &'static str,
    content: Content,
}

enum Content {
    Fixed(Vec<String>),
    /// Packets add to it, and each element is forgotten after this time.
    Dynamic(&'static str),
}

impl Sets {
    pub(super) const fn of(list: Vec<Set>) -> Self {
        Self { list, names: BTreeMap::new() }
    }

    /// Adds a set; its name, with a number if another one has it.
    pub(super) fn add(&mut self, name: &str, kind: &'static str, elements: Vec<String>) -> String {
        let count = self.names.entry(name.to_owned()).or_default();
        *count += 1;
        let name = if *count == 1 { name.to_owned() } else { format!("{name}_{count}") };
        self.list.push(Set { name: name.clone(), kind, content: Content::Fixed(elements) });
        name
    }
}

/// The name of the set of the internet.
pub(super) const fn internet_set(version: IpVersion) -> &'static str {
    match version {
        IpVersion::V4 => "internet_v4",
        IpVersion::V6 => "internet_v6",
    }
}

pub(super) const fn address_kind(version: IpVersion) -> &'static str {
    match version {
        IpVersion::V4 => "ipv4_addr",
        IpVersion::V6 => "ipv6_addr",
    }
}

impl Set {
    pub(super) fn of_addresses(name: &str, version: IpVersion, addresses: &AddressSet) -> Self {
        let elements = addresses.intervals().map(|it| it.to_string()).collect();
        let content = Content::Fixed(elements);
        Self { name: name.to_owned(), kind: address_kind(version), content }
    }

    /// One that packets fill, of this type; each element is forgotten after a time.
    pub(super) const fn dynamic(name: String, kind: &'static str, timeout: &'static str) -> Self {
        Self { name, kind, content: Content::Dynamic(timeout) }
    }
}

impl fmt::Display for Set {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "    set {} {{", self.name)?;
        match &self.content {
            Content::Fixed(elements) => {
                // Networks that are added by hand may overlap.
                writeln!(f, "        type {}; flags interval; auto-merge;", self.kind)?;
                write_elements(f, elements)?;
            }
            Content::Dynamic(timeout) => {
                writeln!(f, "        type {}; flags dynamic, timeout;", self.kind)?;
                writeln!(f, "        timeout {timeout}; size {DYNAMIC_SIZE};")?;
            }
        }
        writeln!(f, "    }}")
    }
}

/// nft takes no empty braces.
fn write_elements(f: &mut fmt::Formatter<'_>, elements: &[String]) -> fmt::Result {
    let line = format!("        elements = {{ {} }}", elements.join(", "));
    if elements.is_empty() {
        Ok(())
    } else if line.len() <= WIDTH {
        writeln!(f, "{line}")
    } else {
        writeln!(f, "        elements = {{")?;
        write_wrapped(f, elements)?;
        writeln!(f, "        }}")
    }
}

fn write_wrapped(f: &mut fmt::Formatter<'_>, elements: &[String]) -> fmt::Result {
    const INDENT: usize = 12;
    let mut column = 0;
    for (index, element) in elements.iter().enumerate() {
        let comma = if index + 1 < elements.len() { "," } else { "" };
        let width = element.len() + comma.len();
        if column > 0 && column + 1 + width > WIDTH {
            writeln!(f)?;
            column = 0;
        }
        if column == 0 {
            write!(f, "{:INDENT$}{element}{comma}", "")?;
            column = INDENT + width;
        } else {
            write!(f, " {element}{comma}")?;
            column += 1 + width;
        }
    }
    writeln!(f)
}
