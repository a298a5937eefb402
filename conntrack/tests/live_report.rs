//! `conntrack report --rules`: the kernel is asked, and the page says what it said.

use std::{fs, path::Path, process::Output};

use rustix::process::geteuid;
use tempfile::TempDir;

use crate::support::conntrack;

/// Two that arrived and one that left.
const LINES: &str = r#"{"type":"recording","version":1,"written_by":"","host":"web1","device":"lan0","addresses":[],"window":null,"since":"2026-01-01T00:00:00Z","mode":"ebpf","hook":"","flags":[],"ip_local_port_range":null,"udp_in":[],"lost":0,"connections":3,"left_out":0}
{"type":"connection","host":"web1","direction":"in","protocol":"tcp","source":"10.0.0.9","source_port":null,"destination":"10.0.0.2","destination_port":22,"evidence":"answered","accepted":false,"first_seen":null,"last_seen":"2026-11-20T10:00:00Z","made":null}
{"type":"connection","host":"web1","direction":"in","protocol":"tcp","source":"10.0.0.9","source_port":null,"destination":"10.0.0.2","destination_port":443,"evidence":"answered","accepted":false,"first_seen":null,"last_seen":"2026-11-20T10:00:00Z","made":null}
{"type":"connection","host":"web1","direction":"out","protocol":"tcp","source":"10.0.0.2","source_port":null,"destination":"10.0.0.1","destination_port":25,"evidence":"answered","accepted":false,"first_seen":null,"last_seen":"2026-11-20T10:00:00Z","made":null}
"#;

/// Lets in one of the two.
const RULES: &str = "table inet t { chain i { type filter hook input priority 0; policy drop; \
    ct state established accept; tcp dport 443 accept; }; }\n";

struct Files(TempDir);

impl Files {
    fn new() -> Self {
        let folder = tempfile::tempdir().expect("a scratch directory");
        fs::write(folder.path().join("web1.jsonl"), LINES).expect("written");
        fs::write(folder.path().join("rules.nft"), RULES).expect("written");
        Self(folder)
    }

    fn path(&self, name: &str) -> std::path::PathBuf {
        self.0.path().join(name)
    }

    fn report(&self, rules: &Path) -> Output {
        let mut program = conntrack();
        program.arg("report").arg("-p").arg(self.path("web1.jsonl")).arg("--rules").arg(rules);
        program.output().expect("it runs")
    }
}

#[test]
fn the_page_says_what_the_kernel_refuses() {
    assert!(geteuid().is_root(), "it takes root to make a network namespace");
    let files = Files::new();
    let output = files.report(&files.path("rules.nft"));
    assert!(output.status.success(), "{output:?}");
    let page = String::from_utf8(output.stdout).expect("UTF-8");
    let start = page.find("<section id=\"rules\"").expect("a section");
    let section = &page[start..][..page[start..].find("</section>").expect("its end")];
    let said = "of 3 connections that need a rule, 2 would be accepted and 1 refused.";
    assert!(section.contains(said), "{section}");
    let body = &section[section.find("<tbody>").expect("a table")..];
    assert!(body.contains("tcp 22") && !body.contains("tcp 443"), "{body}");

    // Rules that are none are an error, not an empty section.
    fs::write(files.path("broken.nft"), "table inet {").expect("written");
    let output = files.report(&files.path("broken.nft"));
    assert_eq!((output.status.code(), output.stdout.len()), (Some(1), 0), "{output:?}");
}
