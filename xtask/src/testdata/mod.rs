//! `cargo xtask testdata`: writes the captures under `testdata/`, or with `--check` compares them with
//! the committed ones.
//!
//! It makes captures only. The expected results (`<case>.tree`, `<case>.mtimes`) and the flags
//! (`<case>.args`) are written by hand from the rules: a program that wrote both sides would only
//! agree with itself.

mod capture;
mod cases;
mod container;
mod frame;
mod link_type;
mod packet;

use std::collections::BTreeSet;
use std::fs;
use std::io::ErrorKind;
use std::path::{Path, PathBuf};

use anyhow::{Context as _, bail};

use capture::Capture;

/// Write the capture files under testdata/.
#[derive(clap::Args)]
pub(crate) struct Args {
    /// compare instead of writing
    #[arg(long)]
    pub(crate) check: bool,
}

/// Writes what differs (without `--check`), then compares all.
pub(crate) fn run(args: &Args) -> anyhow::Result<()> {
    let dir = directory()?;
    let captures = cases::captures();
    if !args.check {
        write(&dir, &captures)?;
    }
    let mut faults = differing(&dir, &captures)?;
    faults.extend(strays(&dir, &captures)?);
    if faults.is_empty() {
        return Ok(());
    }
    bail!("testdata is not as it should be:\n  {}", faults.join("\n  "))
}

fn directory() -> anyhow::Result<PathBuf> {
    let workspace =
        Path::new(env!("CARGO_MANIFEST_DIR")).parent().context("xtask has no parent directory")?;
    Ok(workspace.join("testdata"))
}

fn write(dir: &Path, captures: &[Capture]) -> anyhow::Result<()> {
    for capture in captures {
        let path = dir.join(capture.path);
        if contents(&path)?.as_ref() == Some(&capture.bytes) {
            continue;
        }
        if let Some(parent) = path.parent() {
            fs::create_dir_all(parent)
                .with_context(|| format!("cannot make {}", parent.display()))?;
        }
        fs::write(&path, &capture.bytes)
            .with_context(|| format!("cannot write {}", path.display()))?;
        println!("wrote testdata/{}", capture.path);
    }
    Ok(())
}

/// A file's bytes, or `None` where there is no such file.
fn contents(path: &Path) -> anyhow::Result<Option<Vec<u8>>> {
    match fs::read(path) {
        Ok(bytes) => Ok(Some(bytes)),
        Err(error) if error.kind() == ErrorKind::NotFound => Ok(None),
        Err(error) => Err(error).with_context(|| format!("cannot read {}", path.display())),
    }
}

/// One line for each capture of the table that is missing or has other bytes.
fn differing(dir: &Path, captures: &[Capture]) -> anyhow::Result<Vec<String>> {
    let mut faults = Vec::new();
    for Capture { path, bytes } in captures {
        match contents(&dir.join(path))? {
            None => faults.push(format!("{path} is missing: run `cargo xtask testdata`")),
            Some(found) if found != *bytes => faults
                .push(format!("{path} differs from the case table: run `cargo xtask testdata`")),
            Some(_) => {}
        }
    }
    Ok(faults)
}

/// One line for each file without a case, and for each case without its `.args` or `.tree`.
fn strays(dir: &Path, captures: &[Capture]) -> anyhow::Result<Vec<String>> {
    let present = names(dir)?;
    let table: BTreeSet<&str> = captures.iter().map(|capture| capture.path).collect();
    let stems: BTreeSet<&str> =
        table.iter().filter_map(|path| path.split_once('.')).map(|(stem, _)| stem).collect();
    let mut faults = Vec::new();
    for name in &present {
        let (stem, extension) = name.split_once('.').unwrap_or((name, ""));
        let case = stem.split('+').next().unwrap_or(stem);
        let owned = match extension {
            "pcap" | "pcapng" => table.contains(name.as_str()),
            "args" | "tree" | "mtimes" => stems.contains(case),
            _ => name == "README.md",
        };
        if !owned {
            faults
                .push(format!("{name} belongs to no case of the table: remove it or add its case"));
        }
    }
    faults.extend(missing_sheets(&present, &stems));
    Ok(faults)
}

/// Every case and every variant needs both arguments and tree.
fn missing_sheets(present: &BTreeSet<String>, stems: &BTreeSet<&str>) -> Vec<String> {
    let mut wanted: BTreeSet<&str> =
        stems.iter().copied().filter(|stem| !stem.starts_with(cases::BROKEN)).collect();
    wanted.extend(
        present.iter().filter_map(|name| name.strip_suffix(".args").or(name.strip_suffix(".tree"))),
    );
    wanted
        .iter()
        .flat_map(|stem| [format!("{stem}.args"), format!("{stem}.tree")])
        .filter(|sheet| !present.contains(sheet))
        .map(|sheet| format!("{sheet} is missing: write it by hand, see testdata/README.md"))
        .collect()
}

/// The files in `dir` and in its directory of broken captures, as paths below `dir`.
fn names(dir: &Path) -> anyhow::Result<BTreeSet<String>> {
    let mut names = BTreeSet::new();
    for folder in ["", cases::BROKEN] {
        let path = dir.join(folder);
        for entry in
            fs::read_dir(&path).with_context(|| format!("cannot list {}", path.display()))?
        {
            let entry = entry?;
            if entry.file_type()?.is_file() {
                names.insert(format!("{folder}{}", entry.file_name().to_string_lossy()));
            }
        }
    }
    Ok(names)
}

#[cfg(test)]
mod tests {
    use super::{Args, run};

    #[test]
    fn committed_captures_are_the_tables() -> anyhow::Result<()> {
        run(&Args { check: true })
    }
}
