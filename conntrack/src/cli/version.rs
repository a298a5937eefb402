//! What `--version` prints: which build this is, and with which libpcap it runs.

use std::sync::LazyLock;

static TEXT: LazyLock<String> = LazyLock::new(text_now);

pub(super) fn text() -> &'static str {
    &TEXT
}

fn text_now() -> String {
    let version = env!("CARGO_PKG_VERSION");
    let commit = match env!("CONNTRACK_COMMIT") {
        "" => "commit unknown",
        commit => &format!("commit {commit}"),
    };
    format!("{version} ({commit})\nfeatures: {}\n{}", features(), libpcap())
}

fn features() -> String {
    let built = [(cfg!(feature = "ebpf"), "ebpf"), (cfg!(feature = "pcap"), "pcap")];
    built
        .into_iter()
        .filter_map(|(is_in, name)| is_in.then_some(name))
        .collect::<Vec<_>>()
        .join(", ")
}

#[cfg(feature = "pcap")]
fn libpcap() -> String {
    crate::source::pcap::version()
}

#[cfg(not(feature = "pcap"))]
fn libpcap() -> String {
    "without libpcap".to_owned()
}
