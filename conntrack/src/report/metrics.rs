//! The counters as metrics: the text that Prometheus reads (exposition format 0.0.4). Each sample
//! says which device it is about, so that the files of several runs can be read together.
//!
//! Documented in docs/metrics.md.

use std::{
    fmt::{self, Display, Write as _},
    time::{SystemTime, UNIX_EPOCH},
};

use conntrack_common::{
    counters::{Loss, Outcome},
    wire::Skip,
};

use super::{events::Counts, subject::Subject};
use crate::{
    connection::Direction,
    source::{Drained, Reattached},
    tree::Cause,
    watch::stats::Stats,
};

/// What is not in the counters.
pub(super) struct About<'a> {
    pub subject: &'a Subject,
    pub started: SystemTime,
    pub write_errors: u64,
    pub messages_dropped: u64,
    /// If they were asked for.
    pub events: Option<Counts>,
}

/// All metrics.
pub(super) fn page(stats: &Stats, about: &About<'_>) -> String {
    let mut page = Page::new(about.subject);
    page.this_run(about);
    page.packets(stats);
    page.connections(stats);
    page.drained(&stats.source.drained);
    page.reattached(stats.source.reattached);
    page.text
}

/// Type of a metric.
#[derive(Clone, Copy)]
enum Kind {
    /// Only increases.
    Counter,
    /// Increases and decreases.
    Gauge,
}

type Labels<'a> = &'a [(&'a str, &'a str)];

struct Page {
    text: String,
    /// The label that every sample has.
    subject: String,
}

impl Page {
    fn new(subject: &Subject) -> Self {
        let subject = format!("{}=\"{}\"", subject.label(), escaped(&subject.names.join(",")));
        Self { text: String::new(), subject }
    }

    fn this_run(&mut self, about: &About<'_>) {
        let Subject { watching, hook, .. } = about.subject;
        let version = [("version", env!("CARGO_PKG_VERSION"))];
        let source = [("mode", watching.as_str()), ("hook", &label(hook))];
        let started = about.started.duration_since(UNIX_EPOCH).unwrap_or_default();
        self.info("build_info", "Version of the program.", &version);
        self.info("source_info", "How packets are watched.", &source);
        let help = "When this run began, in seconds since 1970.";
        self.number(Kind::Gauge, "start_time_seconds", help, started.as_secs_f64());
        let help = "Times that this file could not be written.";
        self.number(Kind::Counter, "metrics_write_errors_total", help, about.write_errors);
        let help = "Messages dropped because standard error was not read.";
        self.number(Kind::Counter, "messages_dropped_total", help, about.messages_dropped);
        if let Some(Counts { told, lost }) = about.events {
            let help = "Connections that were new or changed, as told by --events.";
            self.number(Kind::Counter, "events_total", help, told);
            let help = "Events that were not read in time; the tree has them.";
            self.number(Kind::Counter, "events_lost_total", help, lost);
        }
    }

    fn packets(&mut self, stats: &Stats) {
        // What is unknown has no sample.
        let packets = |outcome| stats.source.with_outcome(outcome);
        let lost = Loss::ALL.map(|it| (label(it.as_str()), packets(Outcome::Lost(it))));
        let skipped = Skip::ALL.map(|it| (label(it.as_str()), packets(Outcome::Skipped(it))));
        let mut outcomes = vec![("flow".to_owned(), packets(Outcome::Flow))];
        outcomes.extend(skipped);
        outcomes.extend(lost.clone());
        let help = "Packets seen, by what became of them.";
        self.by("outcome", "packets_total", help, known(outcomes));
        let dropped = ("libpcap_buffer_full".to_owned(), Some(stats.source.dropped));
        if !stats.devices.is_empty() {
            let help = "Packets seen, by the device that they passed.";
            let devices = stats.devices.iter().map(|it| (it.device.clone(), it.packets));
            self.by("on", "device_packets_total", help, known(devices));
        }
        let help = "Packets that may have been flows and are in no batch, by cause.";
        let lost = lost.into_iter().chain([dropped]);
        self.by("cause", "packets_lost_total", help, known(lost));
    }

    fn connections(&mut self, stats: &Stats) {
        let directions =
            [(Direction::In, "in"), (Direction::Out, "out"), (Direction::Else, "else")];
        let help = "Flows recorded, each once per interval in which it was seen.";
        self.number(Kind::Counter, "flows_total", help, stats.flows);
        let help = "Connections shown, each once per interval in which it was seen.";
        let shown = directions.map(|(it, name)| (name.to_owned(), stats.connections.get(it)));
        self.by("direction", "connections_total", help, shown);
        let help = "Connections, each once per interval, that are not shown, by cause.";
        let lost = Cause::ALL.map(|it| (label(it.as_str()), stats.not_shown[it as usize]));
        self.by("cause", "connections_lost_total", help, lost);
        let help = "Connections, each once per interval, that are shown without their evidence.";
        self.number(Kind::Counter, "evidence_lost_total", help, stats.evidence_unkept);
        let help = "Files that were not in the tree before.";
        let made = directions.map(|(it, name)| (name.to_owned(), stats.files.get(it)));
        self.by("direction", "files_created_total", help, made);
    }

    fn drained(&mut self, drained: &Drained) {
        let [last, total] = [drained.last, drained.total].map(|time| time.as_secs_f64());
        let help = "Flows that the last drain found in the flow map.";
        self.number(Kind::Gauge, "flow_map_entries", help, drained.found);
        let help = "Flows that the flow map has room for.";
        self.number(Kind::Gauge, "flow_map_max_entries", help, drained.capacity);
        let help = "Times that the flow map was drained.";
        self.number(Kind::Counter, "drains_total", help, drained.drains);
        let help = "Time spent on draining the flow map.";
        self.number(Kind::Counter, "drain_seconds_total", help, total);
        let help = "Time that the last drain took.";
        self.number(Kind::Gauge, "last_drain_seconds", help, last);
    }

    fn reattached(&mut self, reattached: Reattached) {
        let Reattached { taken_away, device_gone } = reattached;
        let help = "Times that watching was taken up again, by what had ended it.";
        let causes = [("taken_away", taken_away), ("device_gone", device_gone)];
        let causes = causes.map(|(cause, times)| (cause.to_owned(), times));
        self.by("cause", "reattached_total", help, causes);
    }

    /// A metric whose labels are what it says.
    fn info(&mut self, name: &str, help: &str, labels: Labels<'_>) {
        self.family(Kind::Gauge, name, help);
        self.sample(name, labels, 1);
    }

    fn number(&mut self, kind: Kind, name: &str, help: &str, number: impl Display) {
        self.family(kind, name, help);
        self.sample(name, &[], number);
    }

    /// A counter for each value of a label.
    fn by(
        &mut self,
        name_of_label: &str,
        name: &str,
        help: &str,
        numbers: impl IntoIterator<Item = (String, u64)>,
    ) {
        self.family(Kind::Counter, name, help);
        for (value, number) in numbers {
            self.sample(name, &[(name_of_label, &value)], number);
        }
    }

    fn family(&mut self, kind: Kind, name: &str, help: &str) {
        let kind = match kind {
            Kind::Counter => "counter",
            Kind::Gauge => "gauge",
        };
        push_line(&mut self.text, format_args!("# HELP conntrack_{name} {help}"));
        push_line(&mut self.text, format_args!("# TYPE conntrack_{name} {kind}"));
    }

    fn sample(&mut self, name: &str, labels: Labels<'_>, number: impl Display) {
        let labels = labels.iter().map(|(name, value)| format!(",{name}=\"{}\"", escaped(value)));
        let labels: String = labels.collect();
        let line = format_args!("conntrack_{name}{{{}{labels}}} {number}", self.subject);
        push_line(&mut self.text, line);
    }
}

fn push_line(text: &mut String, line: fmt::Arguments<'_>) {
    // A String takes every text.
    let _written = writeln!(text, "{line}");
}

/// Words of the report as a label's value: `bad IP header` is `bad_ip_header`.
fn label(words: &str) -> String {
    let words = words.split(|it: char| !it.is_ascii_alphanumeric()).filter(|word| !word.is_empty());
    words.collect::<Vec<_>>().join("_").to_ascii_lowercase()
}

fn escaped(value: &str) -> String {
    value.replace('\\', r"\\").replace('"', "\\\"").replace('\n', r"\n")
}

fn known(
    numbers: impl IntoIterator<Item = (String, Option<u64>)>,
) -> impl Iterator<Item = (String, u64)> {
    numbers.into_iter().filter_map(|(value, number)| Some((value, number?)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_label_is_the_report_s_words_in_snake_case() {
        assert_eq!(label("TCP not opening"), "tcp_not_opening");
        assert_eq!(label("else file held back by --max-files"), "else_file_held_back_by_max_files");
        assert_eq!(label("native XDP and TC (TCX)"), "native_xdp_and_tc_tcx");
        assert_eq!(label(""), "");
    }

    #[test]
    fn a_name_ends_no_label() {
        assert_eq!(escaped("a\"} 1\nb\\"), r#"a\"} 1\nb\\"#);
    }
}
