//! Control groups that are called like units, and processes in them that serve or ask. A socket belongs to
//! the group that made it, so threads will not do.

use std::{
    env, fs,
    io::{BufRead as _, BufReader, Read as _, Write as _, stdin},
    net::{Ipv6Addr, SocketAddr, TcpListener, TcpStream, UdpSocket},
    path::{Path, PathBuf},
    process::{self, Child, ChildStdout, Stdio},
    sync::atomic::{AtomicU32, Ordering},
    thread,
};

use rustix::{fs::lgetxattr, io::Errno};

use super::{PATIENCE, lab::Namespace, mount::Mount, wait_until};

/// What a process in a group is to do.
const ROLE: &str = "CONNTRACK_TEST_ROLE";

/// A group of one's own, which holds others; removed with them when the test ends.
pub struct Groups {
    top: PathBuf,
    _mount: Mount,
}

impl Groups {
    /// Mounts the hierarchy once more: `ip netns exec` hides the one below `/sys`.
    pub fn new() -> Self {
        static NEXT: AtomicU32 = AtomicU32::new(0);
        let mount = Mount::in_memory("cgroup2", "rw");
        let number = NEXT.fetch_add(1, Ordering::Relaxed);
        let top = mount.path().join(format!("ct-test-{}-{number}.slice", process::id()));
        fs::create_dir(&top).expect("a control group");
        Self { top, _mount: mount }
    }

    /// The group of this name.
    pub fn make(&self, name: &str) -> PathBuf {
        let group = self.top.join(name);
        fs::create_dir_all(&group).expect("a control group");
        group
    }
}

impl Drop for Groups {
    /// A group can be removed once its last process is gone, which is a moment after it was waited for.
    fn drop(&mut self) {
        if !wait_until(PATIENCE, || remove(&self.top)) {
            eprintln!("{} is left behind", self.top.display());
        }
    }
}

fn remove(group: &Path) -> bool {
    let below = fs::read_dir(group).into_iter().flatten().flatten();
    let below = below.filter(|entry| entry.file_type().is_ok_and(|it| it.is_dir()));
    below.for_each(|entry| {
        remove(&entry.path());
    });
    fs::remove_dir(group).is_ok()
}

/// A process in a group; killed when it goes out of scope.
pub struct Worker {
    child: Child,
    /// Open as long as it may say something.
    _said: BufReader<ChildStdout>,
}

impl Worker {
    /// Serves TCP and UDP at this port, of all addresses. `worker` is the test that [`work`]s.
    pub fn serve(group: &Path, namespace: &Namespace, worker: &str, port: u16) -> Self {
        Self::start(group, namespace, worker, &format!("serve {port}"))
    }

    /// Connects or sends to each of these, as in `tcp 192.0.2.1:80`, and stays.
    pub fn ask(group: &Path, namespace: &Namespace, worker: &str, whom: &[String]) -> Self {
        Self::start(group, namespace, worker, &format!("ask {}", whom.join(" ")))
    }

    fn start(group: &Path, namespace: &Namespace, worker: &str, role: &str) -> Self {
        let enter = "echo 0 > \"$1/cgroup.procs\" && exec \"$2\" --exact \"$3\" --nocapture";
        let program = env::current_exe().expect("this program");
        let mut child = namespace
            .command("sh")
            .args(["-c", enter, "sh"])
            .arg(group)
            .arg(program)
            .arg(worker)
            .env(ROLE, role)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .expect("sh runs");
        let mut said = BufReader::new(child.stdout.take().expect("piped"));
        let is_ready =
            said.by_ref().lines().map_while(Result::ok).any(|line| line.contains("ready"));
        assert!(is_ready, "{role}");
        Self { child, _said: said }
    }

    /// Has it end, and waits for that.
    pub fn end(mut self) {
        drop(self.child.stdin.take());
        assert!(self.child.wait().expect("waited for").success());
    }
}

impl Drop for Worker {
    fn drop(&mut self) {
        let _ended = self.child.kill();
        let _status = self.child.wait();
    }
}

/// What a process in a group does; nothing in one that was not started for it.
pub fn work() {
    let Ok(role) = env::var(ROLE) else { return };
    let mut words = role.split(' ');
    let kept = match words.next() {
        Some("serve") => {
            serve(words.next().and_then(|it| it.parse().ok()).expect("a port"));
            None
        }
        Some("ask") => Some(ask(&words.collect::<Vec<_>>())),
        _ => panic!("{role}"),
    };
    println!("ready");
    let _until_it_is_closed = stdin().read_to_end(&mut Vec::new());
    drop(kept);
}

fn serve(port: u16) {
    let at = SocketAddr::from((Ipv6Addr::UNSPECIFIED, port));
    let listener = TcpListener::bind(at).expect("a listener");
    let socket = UdpSocket::bind(at).expect("a socket");
    thread::spawn(move || {
        for mut stream in listener.incoming().flatten() {
            let _told = stream.write(b"!");
        }
    });
    thread::spawn(move || {
        while let Ok((_, from)) = socket.recv_from(&mut [0; 8]) {
            let _told = socket.send_to(b"!", from);
        }
    });
}

fn ask(whom: &[&str]) -> (Vec<TcpStream>, Vec<UdpSocket>) {
    let (mut streams, mut sockets) = (Vec::new(), Vec::new());
    for [protocol, to] in whom.as_chunks::<2>().0 {
        let to: SocketAddr = to.parse().expect("an address and a port");
        if *protocol == "tcp" {
            // Also what is refused was tried.
            streams.extend(TcpStream::connect(to));
        } else {
            let own = if to.is_ipv4() { "0.0.0.0:0" } else { "[::]:0" };
            let socket = UdpSocket::bind(own).expect("a socket");
            socket.send_to(b"?", to).expect("sent");
            sockets.push(socket);
        }
    }
    (streams, sockets)
}

/// The units that a file names; empty where there are none.
pub fn units(file: &Path) -> String {
    let mut value = [0; 4096];
    match lgetxattr(file, "user.conntrack.units", &mut value) {
        Ok(length) => String::from_utf8_lossy(&value[..length]).into_owned(),
        Err(Errno::NODATA | Errno::NOENT) => String::new(),
        Err(error) => panic!("{}: {error}", file.display()),
    }
}
