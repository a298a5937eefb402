//! What whoever takes rules back needs, in files below `/run`: gone after a reboot, as the rules are. The
//! script that goes back, and the scripts that are loaded: `nft` holds a lock on one as long as it reads it.

use std::{
    fs::{self, File},
    io::{self, Seek as _, Write as _},
    os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _},
    path::{Path, PathBuf},
    process, thread,
    time::{Duration, Instant},
};

use rustix::fs::{FlockOperation, flock};

use super::table::{self, LEARNING};
use crate::host::programs::ProgramError;

const DIRECTORY: &str = "/run/conntrack-apply";
const UNDO: &str = "undo.nft";
/// `nft` is given up on, or somebody stopped whoever runs it.
const LONGEST_LOAD: Duration = Duration::from_secs(10);
const PAUSE: Duration = Duration::from_millis(5);
const LOADED: [&str; 2] = ["learning.nft", "rules.nft"];

/// The files of one `conntrack apply`.
pub(super) struct State {
    directory: PathBuf,
    /// Locked.
    loaded: Vec<File>,
}

impl State {
    /// Writes them.
    pub(super) fn write(undo: &[u8], rules: &[u8]) -> io::Result<Self> {
        let directory = Path::new(DIRECTORY).join(process::id().to_string());
        make_private(Path::new(DIRECTORY))?;
        make_private(&directory)?;
        write(&directory.join(UNDO), undo)?;
        let scripts = [LEARNING.as_bytes(), rules];
        let loaded = LOADED.iter().zip(scripts).map(|(name, script)| {
            let file = write(&directory.join(name), script)?;
            flock(&file, FlockOperation::LockExclusive)?;
            Ok(file)
        });
        let loaded = loaded.collect::<io::Result<_>>()?;
        Ok(Self { directory, loaded })
    }

    /// Those of another process.
    pub(super) fn at(directory: &Path) -> Self {
        Self { directory: directory.to_owned(), loaded: Vec::new() }
    }

    pub(super) fn directory(&self) -> &Path {
        &self.directory
    }

    /// The script that goes back.
    pub(super) fn undo(&self) -> PathBuf {
        self.directory.join(UNDO)
    }

    pub(super) fn load_learning(&self) -> Result<(), ProgramError> {
        self.loaded.first().map_or(Ok(()), table::load_file)
    }

    pub(super) fn load_rules(&self) -> Result<(), ProgramError> {
        self.loaded.last().map_or(Ok(()), table::load_file)
    }

    /// Waits until nobody is loading any more: whoever does, and whoever had it done, hold the lock.
    pub(super) fn wait_for_loads(&self) {
        let start = Instant::now();
        for name in LOADED {
            let Ok(file) = File::open(self.directory.join(name)) else { continue };
            while flock(&file, FlockOperation::NonBlockingLockExclusive).is_err()
                && start.elapsed() < LONGEST_LOAD
            {
                thread::sleep(PAUSE);
            }
        }
    }

    /// Nothing is loaded any more.
    pub(super) fn release(&mut self) {
        self.loaded.clear();
    }

    /// Rules are kept: `conntrack apply --undo` goes back.
    pub(super) fn keep(&self) -> io::Result<()> {
        fs::rename(self.undo(), Path::new(DIRECTORY).join(UNDO))?;
        self.remove();
        Ok(())
    }

    pub(super) fn remove(&self) {
        let _gone = fs::remove_dir_all(&self.directory);
    }
}

/// Of the rules that were kept last, the script that goes back.
pub(super) fn kept() -> io::Result<Vec<u8>> {
    fs::read(Path::new(DIRECTORY).join(UNDO))
}

pub(super) fn forget_kept() {
    let _gone = fs::remove_file(Path::new(DIRECTORY).join(UNDO));
}

fn make_private(directory: &Path) -> io::Result<()> {
    fs::DirBuilder::new().recursive(true).mode(0o700).create(directory)
}

/// A file that nobody else reads, at its beginning.
fn write(path: &Path, text: &[u8]) -> io::Result<File> {
    let mut options = File::options();
    let mut file =
        options.read(true).write(true).create(true).truncate(true).mode(0o600).open(path)?;
    file.write_all(text)?;
    file.rewind()?;
    Ok(file)
}
