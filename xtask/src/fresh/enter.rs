//! Commands in namespaces of their own, and inside the minimal Debian. They are killed when this
//! program ends, however it ends, and their mounts with them. What is typed there is in `newcomer`.

use std::{env, path::Path, process::Command};

use super::{home::HOME, root::Root, toolchain::Toolchain};
use crate::workspace::Workspace;

const PATH: &str = "/root/.cargo/bin:/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";

/// Kept of our environment: variables about the terminal and about proxies.
const KEPT: [&str; 7] =
    ["TERM", "CI", "http_proxy", "https_proxy", "HTTPS_PROXY", "no_proxy", "NO_PROXY"];

/// What entering requires.
pub(crate) struct Entrance<'a> {
    pub(crate) workspace: &'a Workspace,
    pub(crate) root: &'a Root,
    pub(crate) toolchain: &'a Toolchain,
}

impl Entrance<'_> {
    /// `words` as typed in `directory` inside.
    pub(crate) fn command<'w>(
        &self,
        directory: &str,
        words: impl IntoIterator<Item = &'w str>,
    ) -> Command {
        let mut command = apart(self.workspace);
        command.arg("sh").arg(self.workspace.root.join("xtask/src/fresh/enter.sh"));
        command.arg(self.root.path()).arg(self.toolchain.sysroot()).arg(self.toolchain.inner());
        command.args(["env", "-i", "-C", directory, "LANG=C.UTF-8"]);
        command.arg(format!("HOME={HOME}")).arg(format!("PATH={PATH}"));
        let kept = KEPT.iter().filter_map(|name| Some(format!("{name}={}", env::var(name).ok()?)));
        command.args(kept).args(words);
        command
    }
}

/// Append a program and its arguments: it runs in mount and PID namespaces of its own. It is killed
/// when we end, and all its processes when it ends.
pub(crate) fn apart(workspace: &Workspace) -> Command {
    let mut command = workspace.program("setpriv");
    command.args(["--pdeathsig", "KILL", "unshare", "--mount", "--pid", "--fork"]);
    command.arg("--kill-child=KILL");
    command
}

/// The same, as root of a network namespace, too: a copy of `root`, which may be written, is at `scratch/root`.
pub(crate) fn beside_copy(workspace: &Workspace, root: &Root, scratch: &Path) -> Command {
    let mut command = apart(workspace);
    command.arg("--net").arg("sh").arg(workspace.root.join("xtask/src/fresh/copy.sh"));
    command.arg(root.path()).arg(scratch);
    command
}
