//! The name that this program was called by: `conntrack`, or as packages name it beside netfilter's
//! `conntrack(8)`. What is to be typed is said with it. Rules and their log prefixes keep the name
//! `conntrack`, whatever the program is called.

use std::{env, ffi::OsString, path::Path, sync::LazyLock};

/// Where it was called by no name, or by none that can be typed.
const NAME: &str = "conntrack";

static CALLED: LazyLock<String> = LazyLock::new(|| name_in(env::args_os().next()));

/// What to type to call it again.
pub fn name() -> &'static str {
    &CALLED
}

/// The file's name in the first argument.
fn name_in(first: Option<OsString>) -> String {
    let path = first.unwrap_or_default();
    let name = Path::new(&path).file_name().and_then(|name| name.to_str());
    name.filter(|name| is_plain(name)).unwrap_or(NAME).to_owned()
}

/// No shell has to quote it, and no terminal is driven by it.
fn is_plain(name: &str) -> bool {
    let is_word = |c: char| c.is_ascii_alphanumeric() || "._-".contains(c);
    name.len() <= 64
        && name.chars().all(is_word)
        && name.starts_with(|c: char| c.is_ascii_alphanumeric())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn name_of(first: &str) -> String {
        name_in(Some(first.into()))
    }

    #[test]
    fn it_is_the_name_of_the_file() {
        assert_eq!(name_of("/usr/bin/conntrack-tree"), "conntrack-tree");
        assert_eq!(name_of("./conntrack"), "conntrack");
    }

    #[test]
    fn a_name_that_cannot_be_typed_is_not_taken() {
        for first in ["", "/", "-conntrack", "a b", "a\u{1b}[31m", "$(id)", &"n".repeat(65)] {
            assert_eq!(name_of(first), NAME, "{first:?}");
        }
        assert_eq!(name_in(None), NAME);
    }
}
