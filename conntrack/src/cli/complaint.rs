//! What is wrong with a command line: clap's own words, what is likely meant, and which help to read.

use std::{ffi::OsString, os::unix::ffi::OsStrExt as _};

use clap::{
    Command, Error,
    error::{ContextKind, ContextValue, ErrorKind},
};

use conntrack_common::counters::MAX_DEVICES;

use crate::{
    host::device::Device,
    program,
    report::log::{printable, shell_quoted},
    watch::config::ANY,
};

/// Options of netfilter's program of the same name that mean nothing here (conntrack(8)).
const NETFILTER_S: [&str; 24] = [
    "-L",
    "-G",
    "-U",
    "-E",
    "-F",
    "-C",
    "-S",
    "-A",
    "-s",
    "--dump",
    "--get",
    "--delete",
    "--create",
    "--update",
    "--event",
    "--flush",
    "--stats",
    "--src",
    "--dst",
    "--orig-src",
    "--orig-dst",
    "--proto",
    "--state",
    "--zone",
];

/// The lines for standard error, without the program's name.
pub(super) fn lines(error: &Error, arguments: &[OsString], command: &Command) -> Vec<String> {
    let is_odd = arguments.iter().any(|it| it.to_string_lossy().contains(char::is_control));
    let printable_error = if is_odd { about_printable(arguments, command) } else { None };
    let error = printable_error.as_ref().unwrap_or(error);
    let text = error.to_string();
    let words = text.strip_prefix("error: ").unwrap_or(&text);
    let words = words.split("\nFor more information").next().unwrap_or_default();
    let mut lines: Vec<_> = words.trim_end().lines().map(printable).collect();
    match stray(error) {
        Some(word) => lines = stray_lines(&word, arguments, &lines, command),
        None => lines.extend(hint(error).map(|hint| format!("\n  tip: {hint}"))),
    }
    lines.push(format!("\nFor more information, try '{} --help'.", subject(arguments, command)));
    lines.join("\n").lines().map(str::to_owned).collect()
}

/// The same error about the arguments as they are printed: a line break in one would pass for the end of
/// a line.
fn about_printable(arguments: &[OsString], command: &Command) -> Option<Error> {
    let printed = arguments.iter().map(|it| printable(&it.to_string_lossy()));
    command
        .clone()
        .try_get_matches_from([program::name().to_owned()].into_iter().chain(printed))
        .err()
}

/// The command whose help is meant.
fn subject(arguments: &[OsString], command: &Command) -> String {
    let first = arguments.first().and_then(|word| word.to_str());
    match first.filter(|word| command.find_subcommand(word).is_some()) {
        Some(subcommand) => format!("{} {subcommand}", program::name()),
        None => program::name().to_owned(),
    }
}

fn hint(error: &Error) -> Option<String> {
    let Some(ContextValue::String(flag)) = error.get(ContextKind::InvalidArg) else { return None };
    match error.kind() {
        ErrorKind::UnknownArgument
            if NETFILTER_S.contains(&flag.split(['=', ' ']).next().unwrap_or_default()) =>
        {
            Some(format!(
                "{flag} is an option of netfilter's conntrack(8), which lists the kernel's table of \
                 connections; it is another program, of the package conntrack-tools"
            ))
        }
        _ => None,
    }
}

/// The word where a subcommand stands and that is none.
fn stray(error: &Error) -> Option<String> {
    match error.get(ContextKind::InvalidSubcommand) {
        Some(ContextValue::String(word)) => Some(word.clone()),
        _ => None,
    }
}

/// To clap it is an unknown subcommand. It is more likely a device, a directory, or a second file from a
/// shell pattern behind `--read`.
fn stray_lines(
    word: &str,
    arguments: &[OsString],
    by_clap: &[String],
    command: &Command,
) -> Vec<String> {
    let starts_with = |it: &OsString, text: &str| it.as_bytes().starts_with(text.as_bytes());
    let has = |short: &str, long: &str| {
        arguments.iter().any(|it| starts_with(it, short) || starts_with(it, long))
    };
    let is_similar = by_clap.iter().any(|line| line.contains("similar subcommand"));
    let complaint = format!("unexpected argument '{}'", printable(word));
    let tip = if has("-r", "--read") {
        "--read takes one file; merge several with mergecap (-w - FILE...) and read its output with \
         --read -"
            .to_owned()
    } else if is_similar && Device::find(word).is_err() {
        return by_clap.to_vec();
    } else if command.find_subcommand(word).is_some() {
        format!("a command goes first: {} {} ...", program::name(), printable(word))
    } else {
        format!("to watch a device: {} {}", program::name(), meant(arguments))
    };
    vec![complaint, format!("\n  tip: {tip}")]
}

/// The arguments with the flags that are missing before a device and a directory.
fn meant(arguments: &[OsString]) -> String {
    let words: Vec<_> = arguments.iter().filter_map(|it| it.to_str()).collect();
    let given = |short: &str, long: &str| {
        let at = words.iter().position(|it| *it == short || *it == long)?;
        words.get(at + 1).copied()
    };
    let given = (given("-d", "--device"), given("-p", "--path"));
    let mut strays: Vec<_> = words.iter().take_while(|it| !it.starts_with('-')).copied().collect();
    if strays.is_empty() {
        strays.extend(words.last());
    }
    let (device, path) = match (&*strays, given) {
        ([one, other, ..], _) if one.contains('/') => (Some(*other), Some(*one)),
        ([one, other, ..], _) => (Some(*one), Some(*other)),
        ([one], (Some(device), _)) => (Some(device), Some(*one)),
        ([one], (None, path)) if path.is_none() && one.contains('/') => (None, Some(*one)),
        ([one], (None, path)) => (Some(*one), path),
        ([], given) => given,
    };
    format!("-d {} -p {}", quoted(device.unwrap_or("eth0")), quoted(path.unwrap_or("DIR")))
}

fn quoted(word: &str) -> String {
    shell_quoted(word).unwrap_or_else(|| printable(word))
}

/// Why a file is no help without the addresses of its machine.
pub(super) fn local_is_missing(mut command: Command) -> Error {
    command.error(
        ErrorKind::MissingRequiredArgument,
        "--read takes --local IP, an address of the machine that the file was captured on: without it \
         nobody can tell what came in and what went out",
    )
}

/// Why these devices cannot be watched together, whatever they are.
pub(super) fn of_devices(devices: &[String]) -> Option<String> {
    const MOST: usize = MAX_DEVICES as usize;
    if devices.iter().any(|it| it == ANY) && devices.iter().any(|it| it != ANY) {
        return Some(format!(
            "--device {ANY} is all devices already, and cannot be used with others"
        ));
    }
    let is_too_many = devices.len() > MOST;
    is_too_many
        .then(|| format!("--device can be given {MOST} times; --device {ANY} is all devices"))
}

/// XDP is eBPF's.
pub(super) fn hook_without_ebpf(mut command: Command) -> Error {
    let complaint = "--hook xdp is for eBPF and cannot be used with --mode pcap";
    command.error(ErrorKind::ArgumentConflict, complaint)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn meant_by(line: &str) -> String {
        meant(&line.split(' ').map(OsString::from).collect::<Vec<_>>())
    }

    #[test]
    fn a_device_and_a_directory_are_told_what_to_type() {
        for (typed, meant) in [
            ("eth0 /tmp/x", "-d eth0 -p /tmp/x"),
            ("/tmp/x eth0", "-d eth0 -p /tmp/x"),
            ("eth9 x", "-d eth9 -p x"),
            ("eth9", "-d eth9 -p DIR"),
            ("/tmp/x", "-d eth0 -p /tmp/x"),
            ("-d eth9 /tmp/x", "-d eth9 -p /tmp/x"),
            ("-p x eth9", "-d eth9 -p x"),
            ("eth9 $(reboot)", "-d eth9 -p '$(reboot)'"),
        ] {
            assert_eq!(meant_by(typed), meant, "{typed}");
        }
    }
}
