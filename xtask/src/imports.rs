//! Who imports whom among the files of each crate: there are no circles, and nothing imports the
//! command line. It reads source text, and knows nothing of types: a method call is no import.

mod circle;
mod graph;
mod names;
mod source;

use std::{
    collections::BTreeSet,
    fs,
    path::{Path, PathBuf},
};

use anyhow::{Context as _, Result, bail};
use serde_json::Value;

use crate::{command, workspace::Workspace};
use graph::Graph;

/// Folders that only their own files import from, and why.
const BORDERS: [(&str, &str); 1] =
    [("conntrack/src/cli", "what is typed is known to nothing else in the library")];

/// # Errors
/// Every circle, and every import over a border, is named.
pub(crate) fn check(workspace: &Workspace) -> Result<()> {
    let mut faults = BTreeSet::new();
    for root in roots(workspace)? {
        let modules = source::read(&root, &|path| fs::read_to_string(path))?;
        faults.extend(faults_of(&names::graph(&modules)));
    }
    if faults.is_empty() {
        return Ok(());
    }
    let base = format!("{}/", workspace.root.display());
    let faults: Vec<_> = faults.iter().map(|fault| fault.replace(&base, "")).collect();
    bail!("imports that must not be:\n{}", faults.join("\n"));
}

fn faults_of(graph: &Graph) -> Vec<String> {
    let circles = circle::all(graph).into_iter().map(|circle| circle.to_string());
    circles
        .chain(BORDERS.iter().flat_map(|(folder, why)| over_border(graph, folder, why)))
        .collect()
}

fn over_border<'g>(
    graph: &'g Graph,
    folder: &'g str,
    why: &'g str,
) -> impl Iterator<Item = String> + 'g {
    let is_inside = move |path: &Path| path.ancestors().any(|above| above.ends_with(folder));
    let imports = graph.imports().filter(move |it| !is_inside(it.from) && is_inside(it.to));
    imports.map(move |it| format!("{it}: {why}"))
}

/// The first file of each target of each crate in the workspace.
fn roots(workspace: &Workspace) -> Result<Vec<PathBuf>> {
    let mut cargo = workspace.cargo();
    let metadata = command::output(cargo.args(["metadata", "--no-deps", "--format-version", "1"]))?;
    let metadata: Value = serde_json::from_str(&metadata).context("cargo metadata")?;
    let targets = metadata["packages"].as_array().into_iter().flatten();
    let targets = targets.filter_map(|package| package["targets"].as_array()).flatten();
    let paths = targets.filter_map(|target| Some(target["src_path"].as_str()?.into())).collect();
    Ok(paths)
}
