//! A recording as one page of HTML, for people: self-contained, no script, nothing that is loaded.
//!
//! | module | what it does |
//! |---|---|
//! | `subject` | what the page is made from |
//! | `tally` | what came of connections, counted |
//! | `parts` | sorts the records: services, what is used, scans, tries, between others |
//! | `groups` | folds the records of one part by port |
//! | `scans` | who tried many ports in vain |
//! | `news` | what was first seen lately |
//! | `differences` | where machines of one role differ |
//! | `figure` | who talks to whom as a Sankey diagram: which flows, and where they are drawn |
//! | `html` | the page's text: the only module that knows markup |
//! | `text` | names, numbers and times as text |
//!
//! Everything that a tree says is text of anybody: it reaches the page as text only (maud escapes it when the
//! page is compiled), without control characters, and shortened.

mod differences;
mod figure;
mod groups;
mod html;
mod news;
mod parts;
mod scans;
mod subject;
mod tally;
mod text;

use std::fmt;

pub use differences::Machine;
pub use subject::{Judged, Subject};

/// The page, to be printed.
#[derive(Debug)]
pub struct Page<'a>(pub Subject<'a>);

impl fmt::Display for Page<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&html::page(&self.0).into_string())
    }
}
