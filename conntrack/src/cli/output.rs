//! Where a command prints: standard output, or with `-o FILE` a file that is there whole or not at all. What is
//! no regular file, such as a pipe or a device, is written to as it is.

use std::{
    fmt::Display,
    fs::{self, File, OpenOptions},
    io::{self, BufWriter, ErrorKind, Write as _, stdout},
    path::{Path, PathBuf},
    process,
};

use anyhow::anyhow;

/// Writes to standard output. A broken pipe (`head`) is not an error.
pub(super) fn print(text: &impl Display) -> anyhow::Result<()> {
    let mut output = BufWriter::new(stdout().lock());
    let written = write!(output, "{text}").and_then(|()| output.flush());
    match written {
        Err(error) if error.kind() == ErrorKind::BrokenPipe => Ok(()),
        written => written.map_err(|error| anyhow!("cannot write to standard output: {error}")),
    }
}

/// Writes to this file, or else to standard output.
pub(super) fn put(path: Option<&Path>, text: &impl Display) -> anyhow::Result<()> {
    match path {
        Some(path) => write(path, &text.to_string()),
        None => print(text),
    }
}

/// Writes `text` to `path`.
fn write(path: &Path, text: &str) -> anyhow::Result<()> {
    let written = match fs::metadata(path) {
        Ok(there) if !there.is_file() => OpenOptions::new()
            .write(true)
            .open(path)
            .and_then(|mut it| it.write_all(text.as_bytes())),
        _ => replace(path, text),
    };
    written.map_err(|error| anyhow!("cannot write {}: {error}", path.display()))
}

/// Where a link leads to the file, the file is replaced, not the link.
fn replace(path: &Path, text: &str) -> io::Result<()> {
    let path = fs::canonicalize(path).unwrap_or_else(|_missing| path.to_owned());
    let beside = beside(&path)?;
    let written = fill(&beside, &path, text).and_then(|()| fs::rename(&beside, &path));
    if written.is_err() {
        // Nothing of it is there if it could not be made.
        let _removed = fs::remove_file(&beside);
    }
    written
}

fn fill(beside: &Path, path: &Path, text: &str) -> io::Result<()> {
    let mut file = File::create_new(beside)?;
    if let Ok(there) = fs::metadata(path) {
        file.set_permissions(there.permissions())?;
    }
    file.write_all(text.as_bytes())?;
    file.sync_all()
}

fn beside(path: &Path) -> io::Result<PathBuf> {
    let name = path.file_name().ok_or(ErrorKind::InvalidInput)?;
    let name = format!(".{}.{}", name.to_string_lossy(), process::id());
    Ok(path.with_file_name(name))
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::{PermissionsExt as _, symlink};

    use super::*;

    #[test]
    fn a_file_is_replaced_whole_and_keeps_its_permissions() {
        let scratch = tempfile::tempdir().expect("a scratch directory");
        let [path, link] = ["rules", "link"].map(|name| scratch.path().join(name));
        write(&path, "one").expect("written");
        fs::set_permissions(&path, fs::Permissions::from_mode(0o640)).expect("set");
        symlink("rules", &link).expect("linked");
        write(&link, "two").expect("written");
        assert_eq!(fs::read_to_string(&path).expect("read"), "two");
        assert!(link.is_symlink());
        assert_eq!(fs::metadata(&path).expect("there").permissions().mode() & 0o777, 0o640);
        assert_eq!(
            fs::read_dir(scratch.path()).expect("read").count(),
            2,
            "nothing is left beside"
        );
    }

    #[test]
    fn what_is_no_file_is_not_replaced() {
        let scratch = tempfile::tempdir().expect("a scratch directory");
        let error = write(scratch.path(), "x").expect_err("a directory").to_string();
        assert!(
            error.starts_with(&format!("cannot write {}: ", scratch.path().display())),
            "{error}"
        );
        assert!(scratch.path().is_dir());
        let pipe = scratch.path().join("pipe");
        let made = process::Command::new("mkfifo").arg(&pipe).status().expect("mkfifo runs");
        assert!(made.success());
        let reader = std::thread::spawn({
            let pipe = pipe.clone();
            move || fs::read_to_string(pipe)
        });
        write(&pipe, "rules").expect("written");
        assert_eq!(reader.join().expect("no panic").expect("read"), "rules");
        assert!(!fs::metadata(&pipe).expect("there").is_file());
    }
}
