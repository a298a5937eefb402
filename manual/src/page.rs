//! One manual page: a text by hand, in which places are marked for what the program itself knows.

use anyhow::Result;
use clap::Command;
use clap_mangen::Man;

/// Of all pages.
pub(crate) struct Manual<'a> {
    /// What the program is called, `conntrack` or `conntrack-tree`.
    pub(crate) name: &'a str,
    /// When it was made, as 2026-01-31.
    pub(crate) date: &'a str,
}

/// The page of the program, and those of its commands.
const PROGRAM: &str = include_str!("../pages/conntrack.man");
const COMMANDS: [(&str, &str); 8] = [
    ("apply", include_str!("../pages/apply.man")),
    ("audit", include_str!("../pages/audit.man")),
    ("diff", include_str!("../pages/diff.man")),
    ("doctor", include_str!("../pages/doctor.man")),
    ("dropped", include_str!("../pages/dropped.man")),
    ("report", include_str!("../pages/report.man")),
    ("rules", include_str!("../pages/rules.man")),
    ("show", include_str!("../pages/show.man")),
];
const OTHER_COMMAND: &str = include_str!("../pages/other.man");

/// For administrators.
const SECTION: &str = "8";

/// A page, and the name of its file.
pub(crate) struct Page {
    pub(crate) file: String,
    pub(crate) text: String,
}

impl Manual<'_> {
    /// The page of the program, then those of its commands.
    ///
    /// # Errors
    /// clap's part cannot be written, which does not happen in memory.
    pub(crate) fn pages(&self) -> Result<Vec<Page>> {
        let command = conntrack::cli::command().name(self.name.to_owned());
        let mut command = command.bin_name(self.name).disable_help_subcommand(true);
        command.build();
        let mut pages = vec![self.page(&command, self.name, PROGRAM, &command)?];
        for subcommand in command.get_subcommands().filter(|it| !it.is_hide_set()) {
            let name = subcommand.get_name();
            let text = COMMANDS.iter().find(|(command, _)| *command == name);
            let text = text.map_or(OTHER_COMMAND, |(_, text)| text);
            pages.push(self.page(subcommand, &self.page_name(name), text, &command)?);
        }
        Ok(pages)
    }

    fn page_name(&self, subcommand: &str) -> String {
        format!("{}-{subcommand}", self.name)
    }

    fn page(&self, command: &Command, name: &str, text: &str, program: &Command) -> Result<Page> {
        let about = about(command);
        let man = Man::new(command.clone());
        let marked = [
            ("@OPTIONS@", options(&man)?),
            ("@COMMANDS@", self.commands(program)),
            ("@SEE_ALSO@", self.see_also(program, name)),
            ("@ABOUT@", escaped(&about)),
            ("@PAGE@", name.replacen(&format!("{}-", self.name), &format!("{} ", self.name), 1)),
            ("@UNIT@", self.name.to_owned()),
            ("@NAME@", self.name.to_owned()),
        ];
        let mut text = format!("{}{text}", self.head(name, &about));
        for (mark, known) in marked {
            text = text.replace(mark, known.trim_end());
        }
        Ok(Page { file: format!("{name}.{SECTION}"), text: wrapped(&text) })
    }

    fn head(&self, name: &str, about: &str) -> String {
        let version = env!("CARGO_PKG_VERSION");
        let title = name.to_uppercase();
        let about = escaped(&uncapitalised(about));
        format!(
            ".TH {title} {SECTION} {} \"conntrack {version}\" \"System Administration\"\n\
             .SH NAME\n{} \\- {about}\n",
            self.date,
            escaped(name)
        )
    }

    /// Each command with what it is for.
    fn commands(&self, program: &Command) -> String {
        let entry = |command: &Command| {
            let page = self.page_name(command.get_name());
            format!(".TP\n.BR {page} ({SECTION})\n{}.\n", escaped(&about(command)))
        };
        let entries = program.get_subcommands().filter(|it| !it.is_hide_set()).map(entry);
        format!(".SH COMMANDS\nWithout a command, it records.\n{}", entries.collect::<String>())
    }

    /// The other pages.
    fn see_also(&self, program: &Command, but: &str) -> String {
        let commands = program.get_subcommands().filter(|it| !it.is_hide_set());
        let names = commands.map(|command| self.page_name(command.get_name()));
        let names = [self.name.to_owned()].into_iter().chain(names).filter(|name| name != but);
        let lines = names.map(|name| format!(".BR {name} ({SECTION})"));
        lines.collect::<Vec<_>>().join(",\n")
    }
}

/// In one line, without a full stop.
fn about(command: &Command) -> String {
    let about = command.get_about().map(ToString::to_string).unwrap_or_default();
    about.split_whitespace().collect::<Vec<_>>().join(" ").trim_end_matches('.').to_owned()
}

/// Headings of options are parts of one section.
fn options(man: &Man) -> Result<String> {
    let mut text = Vec::new();
    man.render_options_section(&mut text)?;
    let text = String::from_utf8(text)?.replace(".SH ", ".SS ").replace(".SS OPTIONS\n", "");
    // A line break around an empty line adds nothing.
    Ok(format!(".SH OPTIONS\n{}", text.replace("\n.br\n\n.br\n", "\n.sp\n")))
}

/// Columns of a line in a page's source.
const WIDTH: usize = 79;

/// Breaks lines of text between words. Requests stay one line, and so does what a tag consists of.
fn wrapped(text: &str) -> String {
    let mut wrapped = String::new();
    let mut is_tag = false;
    for line in text.lines() {
        let is_request = line.starts_with(['.', '\'']);
        if is_request || is_tag {
            wrapped += line;
        } else {
            wrap(line, &mut wrapped);
        }
        wrapped.push('\n');
        is_tag = line == ".TP";
    }
    wrapped
}

fn wrap(line: &str, into: &mut String) {
    let mut column = 0;
    for word in line.split(' ') {
        // Requests begin with these.
        let may_begin = !word.starts_with(['.', '\'']);
        if column > 0 && column + 1 + word.len() > WIDTH && may_begin {
            into.push('\n');
            column = 0;
        } else if column > 0 {
            into.push(' ');
            column += 1;
        }
        *into += word;
        column += word.len();
    }
}

/// A hyphen that can be copied to a command line.
fn escaped(text: &str) -> String {
    text.replace('\\', "\\e").replace('-', "\\-")
}

fn uncapitalised(text: &str) -> String {
    let mut characters = text.chars();
    characters
        .next()
        .map_or_else(String::new, |first| first.to_lowercase().chain(characters).collect())
}

#[cfg(test)]
mod tests {
    use std::{fs, process::Command as Program};

    use super::*;

    const NAMES: [&str; 2] = ["conntrack", "conntrack-tree"];

    fn pages(name: &str) -> Vec<Page> {
        Manual { name, date: "2026-01-31" }.pages().expect("pages")
    }

    /// What a program says about a page.
    fn complaints(page: &Page, program: &str, arguments: &[&str]) -> String {
        let place = tempfile::tempdir().expect("a directory");
        let path = place.path().join(&page.file);
        fs::write(&path, &page.text).expect("written");
        let mut program = Program::new(program);
        let output = program.args(arguments).arg(&path).env("LC_ALL", "C.UTF-8").output();
        let output = output.unwrap_or_else(|error| panic!("{program:?}: {error}"));
        // man prints the page and complains on standard error, mandoc complains where it prints.
        let printed = if arguments.contains(&"lint") { output.stdout } else { Vec::new() };
        String::from_utf8([printed, output.stderr].concat()).expect("UTF-8")
    }

    #[test]
    fn man_and_mandoc_have_nothing_to_complain_about() {
        for page in NAMES.into_iter().flat_map(pages) {
            let of_man = complaints(&page, "man", &["--warnings", "--local-file", "-Tutf8"]);
            let of_mandoc = complaints(&page, "mandoc", &["-T", "lint"]);
            assert_eq!((of_man.as_str(), of_mandoc.as_str()), ("", ""), "{}", page.file);
        }
    }

    #[test]
    fn a_fault_is_complained_about() {
        let page =
            Page { file: "x.8".into(), text: ".TH X 8\n.SH NAME\nx \\- y\n.NOSUCH\n".into() };
        assert!(!complaints(&page, "man", &["--warnings", "--local-file", "-Tutf8"]).is_empty());
        assert!(!complaints(&page, "mandoc", &["-T", "lint"]).is_empty());
    }

    #[test]
    fn each_command_has_a_page_by_hand() {
        let command = conntrack::cli::command();
        for subcommand in command.get_subcommands().filter(|it| it.get_name() != "help") {
            let name = subcommand.get_name();
            assert!(COMMANDS.iter().any(|(command, _)| *command == name), "no pages/{name}.man");
            assert!(pages("conntrack").iter().any(|it| it.file == format!("conntrack-{name}.8")));
        }
    }

    #[test]
    fn each_flag_is_explained_and_hidden_ones_are_not() {
        let pages = pages("conntrack");
        let of_program = &pages.first().expect("a page").text;
        let command = conntrack::cli::command();
        for flag in command.get_arguments().filter_map(|it| Some((it.get_long()?, it))) {
            let (long, flag) = flag;
            let is_there = of_program.contains(&format!("\\-\\-{}\\fR", long.replace('-', "\\-")));
            assert_eq!(is_there, !flag.is_hide_set(), "--{long}");
        }
    }

    #[test]
    fn every_mark_is_replaced_and_every_name_is_the_one_it_is_called_by() {
        for page in pages("conntrack-tree") {
            assert!(
                !page.text.contains('@') || page.text.contains("conntrack-tree@"),
                "{}",
                page.text
            );
            let other = page.text.lines().find(|line| line.starts_with("conntrack "));
            assert_eq!(other, None, "{}", page.file);
        }
    }

    #[test]
    fn lines_break_between_words_but_not_before_a_request() {
        let line = format!("{} .b c", "a".repeat(WIDTH));
        assert_eq!(
            wrapped(&format!("{line}\n.B {line}\n")),
            format!("{}\nc\n.B {line}\n", line.trim_end_matches(" c"))
        );
    }
}
