//! `conntrack doctor` on machines that lack something: it names the fix, its status says which modes
//! would start, and it leaves nothing behind. Needs root, to drop privileges.

use std::{
    fs,
    os::unix::fs::{PermissionsExt as _, chown},
    path::Path,
    process::{Command, Output},
    thread,
};

use crate::support::{
    collector::Collector,
    lab::{DEVICE, Lab},
    mount::Mount,
    refusal::{refuse_bpf, refuse_sock_diag},
};

const PROGRAM: &str = env!("CARGO_BIN_EXE_conntrack");

/// Its output and status.
struct Diagnosis {
    lines: Vec<String>,
    status: Option<i32>,
}

impl Diagnosis {
    #[track_caller]
    fn of(command: &mut Command) -> Self {
        let Output { status, stdout, stderr } = command.output().expect("it runs");
        let error = String::from_utf8_lossy(&stderr);
        assert!(stderr.is_empty(), "nothing goes to standard error: {error}");
        let lines = String::from_utf8(stdout).expect("UTF-8");
        let lines: Vec<_> = lines.lines().map(str::to_owned).collect();
        for line in &lines {
            let is_ok = line.starts_with("ok    ");
            let is_bad = line.starts_with("warn  ") || line.starts_with("no    ");
            assert!(is_ok || is_bad && line.contains("; fix: "), "{line}");
        }
        Self { lines, status: status.code() }
    }

    /// The line with this verdict about this.
    #[track_caller]
    fn line(&self, verdict: &str, subject: &str) -> &str {
        let start = format!("{verdict:<5} {subject}: ");
        let line = self.lines.iter().find(|line| line.starts_with(&start));
        line.unwrap_or_else(|| panic!("no {start:?} in {:#?}", self.lines))
    }
}

/// Runs it in the laboratory's host, through another program.
#[track_caller]
fn ask(lab: &Lab, through: &[&str], arguments: &[&str]) -> Diagnosis {
    let [first, rest @ ..] = &[through, &[PROGRAM, "doctor"], arguments].concat()[..] else {
        panic!("a program")
    };
    Diagnosis::of(lab.host.command(first).args(rest))
}

#[test]
fn where_nothing_is_missing_all_is_well_and_nothing_is_left_behind() {
    let lab = Lab::new(&[]);
    let scratch = tempfile::tempdir().expect("a scratch directory");
    let tree = scratch.path().join("tree");
    let path = tree.to_str().expect("UTF-8");
    let diagnosis = ask(&lab, &[], &["-d", DEVICE, "-p", path]);
    assert_eq!(diagnosis.status, Some(0), "{:#?}", diagnosis.lines);
    for subject in [
        "kernel",
        "privilege for --mode ebpf",
        "privilege for --mode pcap",
        "eBPF",
        "clsact",
        "locked memory",
        "libpcap",
        "file capabilities",
        "device",
        "path",
    ] {
        diagnosis.line("ok", subject);
    }
    for subject in ["TCX", "XDP", "Landlock", "free inodes", "free space"] {
        let is_there = |line: &String| line.contains(&format!(" {subject}: "));
        assert!(diagnosis.lines.iter().any(is_there), "{subject}: {:#?}", diagnosis.lines);
    }
    assert!(!tree.exists(), "it makes nothing");
    assert_eq!(lab.hooks(), "");
    assert!(!lab.xdp());
}

#[test]
fn missing_privilege_is_told_for_each_mode() {
    let lab = Lab::new(&[]);
    let ebpf = "setcap cap_bpf,cap_net_admin,cap_perfmon=ep ";
    let pcap = "setcap cap_net_raw=ep ";
    for (bounding, status) in
        [("-all", 1), ("-all,+net_raw", 4), ("-all,+bpf,+net_admin,+perfmon", 3), ("-net_admin", 4)]
    {
        let bounding = format!("--bounding-set={bounding}");
        let diagnosis = ask(&lab, &["setpriv", &bounding], &[]);
        assert_eq!(diagnosis.status, Some(status), "{bounding}: {:#?}", diagnosis.lines);
        let fixes =
            [("privilege for --mode ebpf", ebpf, 3), ("privilege for --mode pcap", pcap, 4)];
        for (subject, fix, fine_if) in fixes {
            let verdict = if status == fine_if { "ok" } else { "no" };
            let line = diagnosis.line(verdict, subject);
            assert!(verdict == "ok" || line.contains(fix), "{line}");
        }
    }
}

#[test]
fn a_kernel_without_bpf_is_told() {
    const ENOSYS: u32 = 38;
    const EPERM: u32 = 1;
    let lab = Lab::new(&[]);
    for (errno, says) in [(ENOSYS, "this kernel has no bpf(2)"), (EPERM, "refused (EPERM)")] {
        let diagnosis = lab.host.enter(|| {
            refuse_bpf(errno, None);
            ask(&lab, &[], &["-d", DEVICE])
        });
        assert_eq!(diagnosis.status, Some(4), "{:#?}", diagnosis.lines);
        let line = diagnosis.line("no", "eBPF");
        assert!(line.contains(says) && line.contains("--mode pcap"), "{line}");
    }
}

#[test]
fn a_device_is_looked_at() {
    let lab = Lab::new(&[]);
    let missing = ask(&lab, &[], &["-d", "nosuchdev0"]);
    assert_eq!(missing.status, Some(1), "{:#?}", missing.lines);
    assert!(missing.line("no", "device").contains(DEVICE), "{:#?}", missing.lines);

    lab.host.run("ip", &["link", "set", DEVICE, "name", "eth0"]);
    let by_default = ask(&lab, &[], &[]);
    assert!(by_default.line("ok", "device").contains("eth0 can be watched"));
    lab.host.run("ip", &["link", "set", "eth0", "name", DEVICE]);
    let none = ask(&lab, &[], &[]);
    assert!(none.line("warn", "device").contains("name one of these with -d"));
    assert_eq!(none.status, Some(0), "the machine is fine");

    let any = ask(&lab, &[], &["-d", "any"]);
    assert_eq!(any.status, Some(4), "{:#?}", any.lines);

    let xdp = Collector::start(&lab.host, &["--mode", "ebpf", "--hook", "xdp"]);
    let taken = ask(&lab, &[], &["-d", DEVICE]);
    assert_eq!(taken.status, Some(0), "{:#?}", taken.lines);
    assert!(taken.line("warn", "XDP on the device").contains("--hook tc"));
    xdp.stop();

    lab.host.run("ip", &["link", "set", DEVICE, "down"]);
    let down = ask(&lab, &[], &["-d", DEVICE]);
    assert!(down.line("warn", "device").contains("ip link set dev ct-host up"));
}

#[test]
fn sockets_that_cannot_be_listed_are_told() {
    let lab = Lab::new(&[]);
    let without = ["setpriv", "--bounding-set=-bpf,-sys_admin"];
    ask(&lab, &without, &[]).line("ok", "sockets");
    let diagnosis = thread::scope(|scope| {
        let refused = scope.spawn(|| {
            refuse_sock_diag();
            ask(&lab, &without, &[])
        });
        refused.join().expect("no panic")
    });
    assert!(diagnosis.line("warn", "sockets").contains("CONFIG_INET_UDP_DIAG"));
    assert_eq!(diagnosis.status, Some(4), "both modes would start as before");
}

#[test]
fn a_file_system_without_extended_attributes_is_told() {
    let lab = Lab::new(&[]);
    let without = ["setpriv", "--bounding-set=-bpf,-sys_admin"];
    let mount = Mount::in_memory("ramfs", "mode=0700");
    let path = mount.tree();
    let diagnosis = ask(&lab, &without, &["-p", path.to_str().expect("UTF-8")]);
    assert!(diagnosis.line("warn", "extended attributes").contains("ext4, xfs, btrfs"));
    assert_eq!(diagnosis.status, Some(4), "both modes would start");

    let scratch = tempfile::tempdir().expect("a scratch directory");
    let diagnosis = ask(&lab, &without, &["-p", scratch.path().to_str().expect("UTF-8")]);
    diagnosis.line("ok", "extended attributes");
}

#[test]
fn a_path_is_looked_at() {
    let lab = Lab::new(&[]);
    let mount = Mount::with_inodes(20);
    fs::set_permissions(mount.path(), fs::Permissions::from_mode(0o1777)).expect("opened up");
    // Without eBPF, which takes most of the time and does not matter here.
    let without = ["setpriv", "--bounding-set=-bpf,-sys_admin"];
    let ask_about = |path: &Path| ask(&lab, &without, &["-p", path.to_str().expect("UTF-8")]);
    assert_eq!(ask_about(&mount.path().join("tree")).status, Some(4));

    let file = mount.path().join("file");
    fs::write(&file, "").expect("written");
    let theirs = mount.path().join("theirs");
    fs::create_dir(&theirs).expect("made");
    chown(&theirs, Some(65534), None).expect("given away");
    let linked = mount.path().join("linked");
    fs::create_dir(&linked).expect("made");
    std::os::unix::fs::symlink("/tmp", linked.join("out")).expect("linked");
    for (path, says) in [
        (file, "is a file, not a directory; fix: move it away"),
        (theirs, "belongs to nobody"),
        (linked, "out is a symbolic link"),
        (mount.path().to_owned(), "holds other things, such as "),
        (mount.path().join("missing/tree"), "missing does not exist; fix: make it first"),
    ] {
        let diagnosis = ask_about(&path);
        assert_eq!(diagnosis.status, Some(1), "{:#?}", diagnosis.lines);
        let line = diagnosis.line("no", "path");
        assert!(line.contains(says), "{line}");
    }

    let tree = mount.path().join("tree");
    fs::create_dir(&tree).expect("made");
    for number in 0..mount.free_inodes() {
        fs::write(mount.path().join(number.to_string()), "").expect("written");
    }
    let full = ask_about(&tree);
    assert_eq!(full.status, Some(4), "{:#?}", full.lines);
    assert!(full.line("warn", "free inodes").contains("only 0 %"));
}

#[test]
fn file_capabilities_that_do_not_count_are_told() {
    let lab = Lab::new(&[]);
    let scratch = tempfile::tempdir().expect("a scratch directory");
    fs::set_permissions(scratch.path(), fs::Permissions::from_mode(0o755)).expect("opened up");
    let program = scratch.path().join("conntrack");
    fs::copy(PROGRAM, &program).expect("copied");
    let set = Command::new("setcap").arg("cap_net_raw=ep").arg(&program).status();
    assert!(set.expect("setcap runs").success());

    let as_nobody = ["--reuid", "nobody", "--regid", "65534", "--clear-groups"];
    let ask_as_nobody = |command: &mut Command, then: &[&str]| {
        Diagnosis::of(command.args(as_nobody).args(then).arg(&program).arg("doctor"))
    };
    let counts = ask_as_nobody(&mut lab.host.command("setpriv"), &[]);
    assert_eq!(counts.status, Some(4), "{:#?}", counts.lines);
    counts.line("ok", "file capabilities");

    // Two steps: the first still has root's capabilities to pass on.
    let then = ["setpriv", "--no-new-privs"];
    let no_new_privs = ask_as_nobody(&mut lab.host.command("setpriv"), &then);
    assert_eq!(no_new_privs.status, Some(1), "{:#?}", no_new_privs.lines);
    let line = no_new_privs.line("warn", "file capabilities");
    assert!(line.contains("AmbientCapabilities="), "{line}");

    // In a mount namespace of its own, so that the mount ends with it.
    let script = "mount --bind \"$0\" \"$0\" && mount -o remount,bind,nosuid \"$0\" && exec \"$@\"";
    let mut command = Command::new("unshare");
    command.args(["--mount", "--net", "sh", "-c", script]).arg(scratch.path()).arg("setpriv");
    let nosuid = ask_as_nobody(&mut command, &[]);
    assert_eq!(nosuid.status, Some(1), "{:#?}", nosuid.lines);
    let line = nosuid.line("warn", "file capabilities");
    assert!(line.contains("mounted nosuid"), "{line}");
}

#[test]
fn a_device_that_this_user_cannot_watch_is_not_fine() {
    let lab = Lab::new(&[]);
    let unprivileged = ask(&lab, &["setpriv", "--bounding-set=-all"], &["-d", DEVICE]);
    let line = unprivileged.line("no", "device");
    assert!(line.contains("this user cannot watch it"), "{line}");
    let pcap = ask(&lab, &["setpriv", "--bounding-set=-all,+net_raw"], &["-d", DEVICE]);
    assert!(pcap.line("ok", "device").ends_with("can be watched with --mode pcap"));
}

#[test]
fn what_was_found_is_told_to_programs() {
    let lab = Lab::new(&[]);
    let mut command = lab.host.command("setpriv");
    command.args(["--bounding-set=-all,+net_raw", PROGRAM, "doctor", "-f", "json", "-d", DEVICE]);
    let output = command.output().expect("it runs");
    assert_eq!(output.status.code(), Some(4));
    let told: serde_json::Value = serde_json::from_slice(&output.stdout).expect("JSON");
    assert_eq!(told["modes"]["ebpf"], false);
    assert_eq!(told["modes"]["pcap"], true);
    let checks = told["checks"].as_array().expect("a list");
    let of = |subject: &str| {
        let check = checks.iter().find(|check| check["subject"] == subject);
        check.unwrap_or_else(|| panic!("no {subject} in {told}"))
    };
    assert_eq!(of("privilege for --mode ebpf")["verdict"], "no");
    assert!(of("privilege for --mode ebpf")["fix"].is_string());
    assert_eq!(of("device")["verdict"], "ok");
    assert!(of("device")["fix"].is_null());
}
