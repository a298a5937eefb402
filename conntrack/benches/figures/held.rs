//! BPF programs and maps that a process holds, found by its descriptors in `/proc`, so that the
//! programs of a running collector can be measured.

use std::{
    fs,
    os::fd::{AsFd as _, OwnedFd},
    time::Duration,
};

use aya::{
    maps::{HashMap, Map, MapData, loaded_maps},
    programs::loaded_programs,
};
use conntrack_common::{flow::FlowKey, seen::Sight};

use super::support::bpf::Hook;

/// The process's program for this hook.
pub(crate) fn program(process: u32, hook: Hook) -> OwnedFd {
    let ids = ids(process, "prog_id:");
    let found = loaded_programs().find_map(|program| {
        let program = program.ok()?;
        let is_it =
            ids.contains(&program.id()) && program.program_type() as u32 == hook.program_type();
        is_it.then(|| program.fd().expect("a program of a running process"))
    });
    let program = found.unwrap_or_else(|| panic!("{process} has no program for {hook:?}"));
    program.as_fd().try_clone_to_owned().expect("a descriptor")
}

/// How long the process's program for this hook has run, and how often. Only while the kernel counts.
pub(crate) fn run_time(process: u32, hook: Hook) -> (Duration, u64) {
    let ids = ids(process, "prog_id:");
    let mut programs = loaded_programs().filter_map(Result::ok);
    let program = programs.find(|program| {
        ids.contains(&program.id()) && program.program_type() as u32 == hook.program_type()
    });
    let program = program.unwrap_or_else(|| panic!("{process} has no program for {hook:?}"));
    (program.run_time(), program.run_count())
}

/// The process's flow map.
pub(crate) fn flow_map(process: u32) -> HashMap<MapData, FlowKey, Sight> {
    let ids = ids(process, "map_id:");
    let found = loaded_maps().find_map(|map| {
        let map = map.ok()?;
        let is_it = ids.contains(&map.id()) && map.name_as_str() == Some("FLOWS");
        is_it.then(|| map.id())
    });
    let id = found.unwrap_or_else(|| panic!("{process} has no flow map"));
    let map = Map::HashMap(MapData::from_id(id).expect("a map of a running process"));
    map.try_into().expect("flow keys and sights")
}

/// How many entries are in the process's flow map.
pub(crate) fn flows(process: u32) -> u64 {
    flow_map(process).keys().map_while(Result::ok).count() as u64
}

/// The numbers behind `field` in all of the process's `fdinfo`.
fn ids(process: u32, field: &str) -> Vec<u32> {
    let entries = fs::read_dir(format!("/proc/{process}/fdinfo")).expect("a running process");
    // A descriptor may have been closed meanwhile.
    let texts = entries.filter_map(|entry| fs::read_to_string(entry.ok()?.path()).ok());
    let ids = |text: String| -> Vec<u32> {
        let values = text.lines().filter_map(|line| line.strip_prefix(field));
        values.filter_map(|value| value.trim().parse().ok()).collect()
    };
    texts.flat_map(ids).collect()
}
