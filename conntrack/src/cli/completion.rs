//! Completion of a command line: which values to offer, and the answer to a shell that asks. The shells'
//! scripts call this program with the variable [`ASKED`], so that they cannot tell another version's flags;
//! `cargo xtask dist` makes them.

use std::{
    ffi::{OsStr, OsString},
    fs,
    io::{Result, Write},
    path::Path,
};

use clap::{Arg, Command, ValueHint, builder::Str};
use clap_complete::{
    CompleteEnv,
    engine::{ArgValueCompleter, CompletionCandidate},
    env::{Bash, EnvCompleter, Fish, Shells, Zsh},
};

use crate::{program, watch::config::ANY};

/// Set by a shell's script to the shell's name. Not clap's own `COMPLETE`, which others may set.
const ASKED: &str = "CONNTRACK_COMPLETE";

/// Answers a shell that asks about `command`, and ends; returns if none does.
pub(super) fn answer(command: fn() -> Command) {
    let name = program::name();
    let complete = CompleteEnv::with_factory(|| with_values(command()));
    let shells = Shells(&[&Bash, &Fish, &FoundByName(Zsh)]);
    complete.shells(shells).var(ASKED).bin(name).completer(name).complete();
}

/// zsh, which takes the file that it finds for a command as the body of the function that completes it.
/// clap's script defines a function of another name, so it is called.
struct FoundByName(Zsh);

impl EnvCompleter for FoundByName {
    fn name(&self) -> &'static str {
        self.0.name()
    }

    fn is(&self, name: &str) -> bool {
        self.0.is(name)
    }

    fn write_registration(
        &self,
        var: &str,
        name: &str,
        bin: &str,
        completer: &str,
        buf: &mut dyn Write,
    ) -> Result<()> {
        self.0.write_registration(var, name, bin, completer, buf)?;
        let function = format!("_clap_dynamic_completer_{}", name.replace('-', "_"));
        writeln!(buf, "if [[ $funcstack[1] == _{bin} ]]; then {function} \"$@\"; fi")
    }

    fn write_complete(
        &self,
        cmd: &mut Command,
        args: Vec<OsString>,
        current_dir: Option<&Path>,
        buf: &mut dyn Write,
    ) -> Result<()> {
        self.0.write_complete(cmd, args, current_dir, buf)
    }
}

/// `command` and its subcommands, with what to offer as values.
fn with_values(command: Command) -> Command {
    command.mut_args(with_value).mut_subcommands(with_values)
}

fn with_value(arg: Arg) -> Arg {
    let name = arg.get_value_names().and_then(|names| names.first()).map(Str::as_str);
    match name {
        Some("DEV") => arg.add(ArgValueCompleter::new(devices)),
        Some("DIR" | "OTHER") if arg.get_value_hint() != ValueHint::FilePath => {
            arg.value_hint(ValueHint::DirPath)
        }
        _ => arg,
    }
}

/// Devices of this network namespace, and all of them at once.
fn devices(typed: &OsStr) -> Vec<CompletionCandidate> {
    let typed = typed.to_string_lossy();
    let entries = fs::read_dir("/sys/class/net").into_iter().flatten().flatten();
    // Bonding has a file of its own there.
    let is_device = |entry: &fs::DirEntry| entry.path().is_dir();
    let names = entries.filter(is_device).filter_map(|entry| entry.file_name().into_string().ok());
    let mut names: Vec<_> = names.chain([ANY.to_owned()]).collect();
    names.retain(|name| name.starts_with(&*typed));
    names.sort_unstable();
    names.into_iter().map(CompletionCandidate::new).collect()
}
