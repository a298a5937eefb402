//! `conntrack report` on trees that were made by hand. No root, no device.

use std::{
    collections::{BTreeMap, BTreeSet},
    ffi::OsStr,
    fs::{self, File},
    os::unix::ffi::OsStrExt as _,
    path::Path,
    process::Output,
    time::{Duration, Instant, SystemTime},
};

use crate::support::{conntrack, large_tree};
use rustix::fs::{XattrFlags, setxattr};
use serde_json::Value;
use tempfile::TempDir;

const RECORDING: &str = r#"{"version":1,"device":"lan0","since":"2020-01-01T00:00:00Z","mode":"ebpf",
    "hook":"tc (tcx)","flags":["--skip-else"],"ip_local_port_range":[32768,60999],"udp_in":[],"lost":34}"#;

/// A tree with these files and their words of evidence.
fn tree<'a>(files: impl IntoIterator<Item = (&'a str, &'a str)>) -> TempDir {
    let root = tempfile::tempdir().expect("a scratch directory");
    for directory in ["in/tcp", "in/udp", "out/tcp", "out/udp", "else/udp"] {
        fs::create_dir_all(root.path().join(directory)).expect("made");
    }
    set(root.path(), "user.conntrack.recording", RECORDING);
    for (path, word) in files {
        let path = root.path().join(path);
        File::create(&path).expect("made");
        if !word.is_empty() {
            set(&path, "user.conntrack.evidence", word);
        }
    }
    root
}

fn set(path: &Path, name: &str, value: &str) {
    setxattr(path, name, value.as_bytes(), XattrFlags::empty())
        .expect("a file system with extended attributes");
}

fn run(tree: &Path, arguments: &[&str]) -> Output {
    conntrack().arg("report").arg(tree).args(arguments).output().expect("it runs")
}

fn page(tree: &Path) -> String {
    let output = run(tree, &[]);
    assert!(output.status.success(), "{output:?}");
    String::from_utf8(output.stdout).expect("UTF-8")
}

/// The records, as another command tells them.
fn records(tree: &Path) -> Vec<Value> {
    let output = conntrack().args(["show", "-f", "json"]).arg(tree).output().expect("it runs");
    serde_json::from_slice(&output.stdout).expect("an array")
}

/// What stands between the first `from` and the next `to`.
fn between<'a>(text: &'a str, from: &str, to: &str) -> &'a str {
    let start = text.find(from).unwrap_or_else(|| panic!("no {from} in {text}")) + from.len();
    let length = text[start..].find(to).unwrap_or_else(|| panic!("no {to} after {from}"));
    &text[start..start + length]
}

fn section<'a>(page: &'a str, id: &str) -> &'a str {
    between(page, &format!("<section id=\"{id}\""), "</section>")
}

/// The rows of a section's first table, each with the text of its cells.
fn rows(section: &str) -> Vec<Vec<String>> {
    let body = between(section, "<tbody>", "</tbody>");
    let rows = body.split("<tr>").skip(1);
    let cell = |cell: &str| {
        let text: String =
            cell.split('<').map(|it| it.rsplit('>').next().unwrap_or_default()).collect();
        text.trim().to_owned()
    };
    let cells = |row: &str| {
        let cells = row.replace("</th>", "</td>");
        let cells: Vec<_> = cells.split("</td>").map(cell).collect();
        cells[..cells.len() - 1].to_vec()
    };
    rows.map(cells).collect()
}

/// As in a section's row.
fn number(cell: &str) -> usize {
    cell.replace(',', "").parse().unwrap_or_else(|_| panic!("no number: {cell}"))
}

/// Every tag of a page: its name, and its attributes.
fn tags(page: &str) -> Vec<(String, String)> {
    let tags = page.split('<').skip(1).map(|it| it.split_once('>').expect("a tag").0);
    let parts = tags.map(|it| it.split_once(' ').unwrap_or((it, "")));
    parts.map(|(name, attributes)| (name.to_owned(), attributes.to_owned())).collect()
}

/// Every element that a page may have; `cargo xtask page` asks a browser for the same.
const ELEMENTS: &str = include_str!("support/page-elements.txt");

const ATTRIBUTES: [&str; 24] = [
    "lang",
    "charset",
    "http-equiv",
    "content",
    "name",
    "class",
    "id",
    "href",
    "aria-labelledby",
    "aria-label",
    "scope",
    "datetime",
    "open",
    "role",
    "viewBox",
    "font-size",
    "d",
    "x",
    "y",
    "width",
    "height",
    "text-anchor",
    "dominant-baseline",
    "",
];

/// That a page holds what we write and nothing else.
fn assert_is_harmless(page: &str) {
    assert!(!page.chars().any(|it| it.is_control() && it != '\n'), "a control character");
    assert!(
        !page.contains(['\u{202e}', '\u{200b}', '\u{feff}']),
        "a character that hides something"
    );
    let style = between(page, "<style>", "</style>");
    for word in ["url(", "@import", "expression", "<"] {
        assert!(!style.contains(word), "{word} in the style");
    }
    let page = page.replace(style, "");
    for (name, attributes) in tags(&page) {
        let name = name.trim_start_matches('/');
        let is_known = name == "!DOCTYPE" || ELEMENTS.split_whitespace().any(|it| it == name);
        assert!(is_known, "<{name} {attributes}>");
        let mut rest = attributes.as_str();
        while let Some((before, after)) = rest.split_once("=\"") {
            let attribute = before.trim();
            let attribute = attribute.rsplit(' ').next().unwrap_or_default();
            let (value, after) = after.split_once('"').expect("a value that ends");
            assert!(ATTRIBUTES.contains(&attribute), "<{name} {attribute}={value}>");
            assert!(attribute != "href" || value.starts_with('#'), "{value}");
            rest = after;
        }
    }
    let policy = between(&page, "Content-Security-Policy\" content=\"", "\"");
    assert!(policy.starts_with("default-src 'none'; style-src 'unsafe-inline'"), "{policy}");
    let head = page.find("Content-Security-Policy").expect("a policy");
    assert!(head < page.find("<style>").expect("a style"), "the policy comes first");
}

#[test]
fn a_usual_tree_makes_a_page_of_known_parts_only() {
    let tree = tree([
        ("in/tcp/INTERNET-PORT-10.0.0.2-443", "answered"),
        ("in/tcp/10.0.0.9-PORT-10.0.0.2-22", "refused"),
        ("in/udp/2001:db8::9-PORT-2001:db8::2-53", "served"),
        ("out/udp/10.0.0.2-PORT-10.0.0.1-53", "answered"),
        ("else/udp/10.0.0.7-5353-224.0.0.251-5353", ""),
    ]);
    let page = page(tree.path());
    assert_is_harmless(&page);
    let lost = between(&page, "<dt>Lost</dt>", "</dd>");
    assert!(lost.contains("34 that could have been here are not"), "{lost}");
    assert!(page.contains("<title>lan0 of 10.0.0.2: who talks to whom</title>"));
    assert!(
        section(&page, "services").contains("2 services, 2 connections: 1 answered, 1 served.")
    );
    assert!(section(&page, "tries").contains("1 port, 1 connection: 1 refused."));
    // Each entry of the list above leads to a section, and each section has a heading of its own.
    let ids: BTreeSet<_> = page.split(" id=\"").skip(1).map(|it| between(it, "", "\"")).collect();
    for (_, attributes) in tags(&page) {
        for reference in ["href=\"#", "aria-labelledby=\""] {
            if attributes.contains(reference) {
                assert!(ids.contains(between(&attributes, reference, "\"")), "{attributes}");
            }
        }
    }
    let is = |tag: &str| page.matches(&format!("<{tag}")).count();
    assert_eq!(is("table"), is("caption"), "each table has a caption");
    assert_eq!(
        is("th"),
        page.matches(" scope=\"").count() + is("thead"),
        "each heading has a scope"
    );
}

#[test]
fn what_a_tree_says_is_text() {
    let tree = tree([("in/tcp/INTERNET-PORT-10.0.0.2-443", "<script>alert(0)</script>")]);
    let hostile = serde_json::json!({
        "version": 1,
        "device": "\"><script>alert(1)</script><img src=x onerror=alert(1)>\u{202e}",
        "mode": "</title><b>",
        "hook": "</style><script>alert(2)</script>",
        "flags": ["--flag=\u{0}\u{1b}[31m\u{200b}", "x".repeat(1_000), "'><svg onload=alert(3)>"],
        "since": "2020-01-01T00:00:00Z",
        "lost": u64::MAX,
    });
    set(tree.path(), "user.conntrack.recording", &hostile.to_string());
    for name in [&b"<script>alert(4)<script>"[..], b"\xff\xfe", b"\"><img src=x>", b"\xe2\x80\xae"]
    {
        File::create(tree.path().join("in/tcp").join(OsStr::from_bytes(name))).expect("made");
    }
    let page = page(tree.path());
    assert_is_harmless(&page);
    assert!(page.contains("&lt;script&gt;alert(1)&lt;/script&gt;&lt;img src=x"), "{page}");
    assert!(
        page.contains("4 files that stand for no connection, the evidence of 1 file"),
        "{page}"
    );
    assert!(page.contains("18,446,744,073,709,551,615 that could have been here are not"));
}

#[test]
fn an_empty_tree_makes_a_page_that_says_so() {
    let tree = tempfile::tempdir().expect("a scratch directory");
    fs::create_dir(tree.path().join("in")).expect("made");
    let page = page(tree.path());
    assert_is_harmless(&page);
    assert!(!page.contains("<svg"));
    assert!(between(&page, "<dt>Lost</dt>", "</dd>").ends_with("unknown"), "not 0");
    assert!(section(&page, "figure").contains("Nothing arrived for this machine or left it."));
}

/// A tree in which everything is found: services, scans, tries, and more peers than bars.
fn varied_tree() -> TempDir {
    let mut files = Vec::new();
    for peer in 1..=40 {
        files.push((format!("in/tcp/10.1.{}.{peer}-PORT-10.0.0.2-5432", peer % 20), "answered"));
        files.push((format!("out/tcp/10.0.0.2-PORT-10.{peer}.2.1-{}", 9_000 + peer % 17), ""));
    }
    for port in 1..=30 {
        let word = if port % 2 == 0 { "refused" } else { "" };
        files.push((format!("in/tcp/10.9.9.9-PORT-10.0.0.2-{port}"), word));
    }
    files.push(("in/tcp/10.9.9.8-PORT-10.0.0.2-8080".to_owned(), ""));
    files.push(("in/udp/10.9.9.8-PORT-10.0.0.2-40000".to_owned(), "reply"));
    files.push(("else/udp/10.0.0.7-5353-224.0.0.251-5353".to_owned(), ""));
    tree(files.iter().map(|(path, word)| (path.as_str(), *word)))
}

#[test]
fn figures_and_tables_agree_with_the_records() {
    let tree = varied_tree();
    let records = records(tree.path());
    let page = page(tree.path());
    assert_is_harmless(&page);

    // Each record is in one part.
    let sum = |id: &str, column: usize| -> usize {
        rows(section(&page, id)).iter().map(|row| number(&row[column])).sum()
    };
    let parts = [("services", 3), ("uses", 2), ("tries", 3), ("scans", 2), ("others", 3)];
    let sums = parts.map(|(id, column)| sum(id, column));
    assert_eq!(sums, [40, 40, 2, 30, 1]);
    assert_eq!(sums.iter().sum::<usize>(), records.len());
    assert_eq!(rows(section(&page, "all")).len(), records.len());

    // The table of the figure counts what the records say, by direction and by what came of it.
    let mut shown = BTreeMap::<(String, bool), usize>::new();
    for row in rows(section(&page, "figure")) {
        *shown.entry((row[0].clone(), row[4] == "answered")).or_default() += number(&row[3]);
    }
    let mut recorded = BTreeMap::<(String, bool), usize>::new();
    for record in &records {
        let text = |field: &str| record[field].as_str().expect("text").to_owned();
        let is_scan = text("source") == "10.9.9.9";
        if text("direction") != "else" && !is_scan && text("evidence") != "reply" {
            *recorded.entry((text("direction"), text("evidence") == "answered")).or_default() += 1;
        }
    }
    assert_eq!(shown, recorded);
    let said = section(&page, "figure");
    assert!(said.contains("30 in scans, 1 that only answered, 1 between others"), "{said}");

    // What is drawn is what is in the table.
    for class in ["wide", "narrow"] {
        let drawing = between(said, &format!("<svg class=\"{class}\""), "</svg>");
        let flows = drawing.matches("<path").count();
        assert_eq!(flows, rows(said).len(), "{class}");
        let titles = drawing.split("<path").skip(1).map(|it| between(it, "<title>", "</title>"));
        let drawn: usize = titles
            .map(|it| {
                number(
                    it.rsplit(": ").next().and_then(|it| it.split(' ').next()).expect("a number"),
                )
            })
            .sum();
        assert_eq!(drawn, recorded.values().sum::<usize>(), "{class}");
    }
}

#[test]
fn a_file_of_json_lines_makes_the_page_of_its_tree() {
    let tree = varied_tree();
    let file = tree.path().with_extension("jsonl");
    let lines =
        conntrack().args(["show", "-f", "jsonl"]).arg(tree.path()).output().expect("it runs");
    fs::write(&file, lines.stdout).expect("written");
    let pages = [page(tree.path()), page(&file)];
    fs::remove_file(&file).expect("removed");
    // But for the minute that it was made in.
    let [one, other] = pages.map(|it| it.split("<footer>").next().expect("a page").to_owned());
    assert_eq!(one, other);
}

#[test]
fn machines_that_differ_from_most_are_named() {
    let folder = tempfile::tempdir().expect("a scratch directory");
    let mut command = conntrack();
    command.arg("report");
    for (host, ports) in
        [("web1", &[22, 443][..]), ("web2", &[22, 443]), ("web<b>3", &[443, 8_080])]
    {
        let connection = |port: &i32| {
            serde_json::json!({
                "type": "connection", "host": host, "direction": "in", "protocol": "tcp",
                "source": "INTERNET", "source_port": null, "destination": "10.0.0.2",
                "destination_port": port, "evidence": "answered", "accepted": false,
                "first_seen": null, "last_seen": "2026-11-20T10:00:00Z", "made": null,
                "units": ["nginx.service"],
            })
        };
        let head = serde_json::json!({
            "type": "recording", "version": 1, "written_by": "", "host": host, "device": "eth0",
            "addresses": [], "window": null, "since": "2026-01-01T00:00:00Z", "mode": "ebpf",
            "hook": "", "flags": [], "ip_local_port_range": null, "udp_in": [], "lost": 0,
            "connections": ports.len(), "left_out": 0,
        });
        let lines: Vec<_> = [head].into_iter().chain(ports.iter().map(connection)).collect();
        let lines = lines.iter().map(ToString::to_string).collect::<Vec<_>>().join("\n");
        let path = folder.path().join(format!("{}.jsonl", &host[..4]));
        let path = if host.len() > 4 { path.with_extension("3.jsonl") } else { path };
        fs::write(&path, lines).expect("written");
        command.arg("-p").arg(path);
    }
    let output = command.output().expect("it runs");
    assert!(output.status.success(), "{output:?}");
    let page = String::from_utf8(output.stdout).expect("UTF-8");
    assert_is_harmless(&page);
    assert!(section(&page, "services").contains("<span class=\"unit\">nginx.service</span>"));
    assert!(
        section(&page, "figure").contains("<title>tcp 443 nginx.service: 1 connection</title>")
    );
    let differ = section(&page, "machines");
    assert!(differ.contains("Of 3 machines, 1 differs from"), "{differ}");
    let row = &rows(differ)[0];
    assert!(row[0].contains("web&lt;b&gt;3"), "{row:?}");
    assert!(row[1].contains("serves tcp 8080") && row[2].contains("serves tcp 22"), "{row:?}");
    assert!(page.contains("<title>eth0 of 3 machines: who talks to whom</title>"), "{page}");
}

#[test]
fn what_is_new_is_told_by_when_files_were_made() {
    let tree = varied_tree();
    let new = |page: &str| {
        rows(section(page, "new")).iter().map(|row| row[1].clone()).collect::<Vec<_>>()
    };
    let all = records(tree.path()).len().to_string();
    assert_eq!(new(&page(tree.path())), [all.clone(), all.clone(), all.clone()]);
    // As a copy has it: made after it was last seen.
    let age = |path: &str| {
        let file = File::options().write(true).open(tree.path().join(path)).expect("there");
        file.set_modified(SystemTime::now() - Duration::from_hours(2_000)).expect("set");
    };
    age("in/tcp/10.9.9.8-PORT-10.0.0.2-8080");
    let known = format!("at least {}", records(tree.path()).len() - 1);
    assert_eq!(new(&page(tree.path())), [known.as_str(), &known, &known, "1"]);
    for entry in records(tree.path()) {
        let text = |field: &str| entry[field].as_str().map_or("PORT".to_owned(), str::to_owned);
        let from = entry["source_port"].as_u64().map_or("PORT".to_owned(), |it| it.to_string());
        age(&format!(
            "{}/{}/{}-{from}-{}-{}",
            text("direction"),
            text("protocol"),
            text("source"),
            text("destination"),
            entry["destination_port"]
        ));
    }
    assert_eq!(new(&page(tree.path())), ["unknown", "unknown", "unknown", &all]);
}

#[test]
fn it_goes_to_a_file_and_failures_are_said_in_a_line() {
    let tree = varied_tree();
    let file = tree.path().with_extension("html");
    let output = run(tree.path(), &["-o", file.to_str().expect("a path")]);
    assert!(output.status.success() && output.stdout.is_empty(), "{output:?}");
    let written = fs::read_to_string(&file).expect("written");
    fs::remove_file(&file).expect("removed");
    assert!(written.starts_with("<!DOCTYPE html>") && written.ends_with("</html>"));

    let missing = tree.path().join("missing");
    for (tree, arguments) in [
        (missing.as_path(), &[][..]),
        (tree.path(), &["--rules", "/nowhere/rules.nft"]),
        (tree.path(), &["-o", "/nowhere/report.html"]),
    ] {
        let output = run(tree, arguments);
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        assert_eq!((output.status.code(), output.stdout.as_slice()), (Some(1), &b""[..]), "{said}");
        assert_eq!(said.lines().count(), 1, "{said}");
    }
}

#[test]
fn a_hundred_thousand_files_make_a_page_that_can_be_read() {
    let tree = large_tree();
    let start = Instant::now();
    let page = page(tree.path());
    // It takes a second; other tests run beside this one.
    assert!(start.elapsed() < Duration::from_secs(30), "{:?}", start.elapsed());
    assert!(page.len() < 2_000_000, "{} octets", page.len());
    let rest = between(section(&page, "all"), "<p class=\"rest\">", "</p>");
    assert!(rest.contains("Here are 1,000 of 100,000"), "{rest}");
    assert!(rest.contains("<code>conntrack show DIR -f csv</code>"), "{rest}");
}
