//! The licences of what is linked into the program, which have to go with it: of crates, as their own
//! files say, and of the C libraries, as Debian's files say.

use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
    path::Path,
};

use anyhow::{Context as _, Result};
use serde_json::Value;

use crate::{
    command,
    musl::Target,
    setup,
    workspace::{self, Workspace},
};

/// Beginnings of names of files about licences.
const NAMES: [&str; 5] = ["LICENSE", "LICENCE", "COPYING", "COPYRIGHT", "NOTICE"];

/// What is handed out: the program, and the programs for the kernel inside it.
const OURS: [&str; 2] = ["conntrack", "conntrack-ebpf"];

/// The text.
pub(super) fn text(workspace: &Workspace, target: &Target) -> Result<String> {
    let mut text =
        "What is linked into conntrack besides its own sources, and the licences of it.\n\
        The standard library of Rust is under MIT or Apache-2.0.\n"
            .to_owned();
    for (library, file) in setup::copyrights(workspace, target) {
        text += &heading(library);
        text += &fs::read_to_string(&file).with_context(|| file.display().to_string())?;
    }
    // Many crates have the same text.
    let mut owners = BTreeMap::<String, Vec<String>>::new();
    for package in linked(workspace, target)? {
        let name = name(&package);
        let manifest = package["manifest_path"].as_str().context("no manifest")?;
        let folder = Path::new(manifest).parent().context("no folder")?;
        let licences = licences(folder)?;
        owners.entry(licences).or_default().push(name);
    }
    for (licences, owners) in owners {
        text += &heading(&owners.join("\n"));
        text += &licences;
    }
    Ok(text)
}

fn heading(of: &str) -> String {
    format!("\n{}\n{of}\n\n", "-".repeat(78))
}

fn name(package: &Value) -> String {
    let field = |name: &str| package[name].as_str().unwrap_or("unknown").to_owned();
    format!("{} {}, under {}", field("name"), field("version"), field("license"))
}

/// The texts of all such files.
fn licences(folder: &Path) -> Result<String> {
    let mut files = workspace::entries(folder)?;
    files.retain(|path| {
        let name = path.file_name().map(|name| name.to_string_lossy().to_uppercase());
        path.is_file() && name.is_some_and(|name| NAMES.iter().any(|it| name.starts_with(it)))
    });
    files.sort();
    let text = |path| fs::read(path).map(|text| String::from_utf8_lossy(&text).into_owned());
    let texts: std::io::Result<Vec<_>> = files.iter().map(text).collect();
    Ok(texts.with_context(|| folder.display().to_string())?.join("\n"))
}

/// Crates of others that become part of what is handed out.
fn linked(workspace: &Workspace, target: &Target) -> Result<Vec<Value>> {
    let mut cargo = workspace.cargo();
    cargo.current_dir(&workspace.root);
    cargo.args(["metadata", "--format-version=1", "--locked", "--filter-platform", target.rust]);
    let metadata: Value = serde_json::from_str(&command::output(&mut cargo)?)?;
    let packages = metadata["packages"].as_array().context("no packages")?;
    let nodes = metadata["resolve"]["nodes"].as_array().context("no graph")?;
    let id = |package: &Value| package["id"].as_str().unwrap_or_default().to_owned();
    let is_ours = |package: &Value| OURS.iter().any(|name| package["name"] == *name);
    let mut pending: Vec<_> = packages.iter().filter(|it| is_ours(it)).map(id).collect();
    let mut reached = BTreeSet::new();
    while let Some(next) = pending.pop() {
        if reached.insert(next.clone()) {
            let node = nodes.iter().find(|node| node["id"] == *next);
            pending.extend(node.into_iter().flat_map(dependencies));
        }
    }
    let is_of_others = |package: &&Value| !package["source"].is_null();
    let linked = packages.iter().filter(|it| reached.contains(&id(it))).filter(is_of_others);
    Ok(linked.cloned().collect())
}

/// What this node is linked with; not what only builds or tests it, where the kind has a name.
fn dependencies(node: &Value) -> Vec<String> {
    let is_linked = |it: &&Value| {
        let kinds = it["dep_kinds"].as_array();
        kinds.is_some_and(|kinds| kinds.iter().any(|kind| kind["kind"].is_null()))
    };
    let all = node["deps"].as_array().into_iter().flatten().filter(is_linked);
    all.filter_map(|it| it["pkg"].as_str()).map(str::to_owned).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_only_builds_or_tests_is_not_linked() {
        let node = serde_json::json!({"deps": [
            {"pkg": "a", "dep_kinds": [{"kind": null}]},
            {"pkg": "b", "dep_kinds": [{"kind": "build"}]},
            {"pkg": "c", "dep_kinds": [{"kind": "dev"}, {"kind": null}]},
        ]});
        assert_eq!(dependencies(&node), ["a", "c"]);
    }
}
