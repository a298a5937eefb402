//! Reports of a running collector: to the service manager, the terminal and the metrics file. They read
//! the counters and decide nothing. The report at the end and on SIGUSR1 is formatted by
//! [`crate::watch::stats`].

#[cfg(feature = "pcap")]
mod bar;
pub(crate) mod elapsed;
mod events;
mod journal;
mod lines;
mod live;
pub(crate) mod log;
mod metrics;
mod metrics_file;
mod notify;
mod output;
mod prefix;
mod queue;
mod screen;
mod subject;
mod told;

use std::{
    fmt::{self, Display},
    time::{Duration, Instant, SystemTime},
};

use ::log::Level;
pub use events::{Events, Origin};
pub use lines::Lines;
use live::Live;
use metrics::About;
pub use metrics_file::{MetricsError, MetricsFile};
pub use notify::Notifier;
pub use screen::Screen;
pub use subject::Subject;
pub use told::Told;

use crate::{connection::Direction, watch::stats::Stats};

/// Receives the counters from the agent.
pub trait Reporter {
    /// The source is open, or a batch was handled.
    fn progress(&mut self, stats: &Stats);

    /// SIGUSR1 arrived.
    fn asked(&mut self, stats: &Stats);

    /// What a batch showed.
    fn connections(&mut self, told: &Told<'_>);

    /// The run is ending; the last batch is still to be written.
    fn stopping(&mut self);
}

/// Ignores everything.
impl Reporter for () {
    fn progress(&mut self, _: &Stats) {}
    fn asked(&mut self, _: &Stats) {}
    fn connections(&mut self, _: &Told<'_>) {}
    fn stopping(&mut self) {}
}

/// Where reports go. Each outlet may be disabled.
pub struct Outlets {
    /// Service manager.
    pub notifier: Notifier,
    /// Monitoring system.
    pub metrics: Option<MetricsFile>,
    /// Who wants to see each new connection.
    pub lines: Option<Lines>,
    /// Programs that want to have each connection.
    pub events: Option<Events>,
    /// People.
    pub screen: Screen,
}

/// How a run ended.
#[derive(Debug)]
pub struct Ended {
    /// How long it went on.
    pub elapsed: Duration,
    /// What became of events, if they were asked for.
    pub events: Option<(Level, String)>,
}

/// Reports to all outlets, once an interval.
pub struct Reports {
    subject: Subject,
    outlets: Outlets,
    started: SystemTime,
    begun: Instant,
    interval: Duration,
    due: Instant,
}

impl Reports {
    /// Starts reporting.
    pub fn new(subject: Subject, interval: Duration, outlets: Outlets) -> Self {
        let started = SystemTime::now();
        let begun = Instant::now();
        Self { subject, outlets, started, begun, interval, due: begun }
    }

    /// Hands on the last events, writes the final metrics and clears the live line.
    pub fn end(mut self, stats: &Stats) -> Ended {
        self.outlets.screen.clear();
        if let Some(events) = &self.outlets.events {
            events.finish();
        }
        self.write_metrics(stats);
        Ended { elapsed: self.begun.elapsed(), events: self.events() }
    }

    /// What became of events.
    fn events(&self) -> Option<(Level, String)> {
        self.outlets.events.as_ref().map(|events| events.counts().line())
    }

    fn tell(&mut self, stats: &Stats) {
        let summary = Summary(stats).to_string();
        self.outlets.notifier.ready(&format!("{}; {summary}", self.subject));
        self.write_metrics(stats);
        self.outlets.screen.show(Live::of(stats, self.begun));
    }

    fn write_metrics(&mut self, stats: &Stats) {
        let Some(file) = &mut self.outlets.metrics else { return };
        let about = About {
            subject: &self.subject,
            started: self.started,
            write_errors: file.errors(),
            messages_dropped: self.outlets.screen.dropped(),
            events: self.outlets.events.as_ref().map(Events::counts),
        };
        file.write(&metrics::page(stats, &about));
    }
}

impl Reporter for Reports {
    /// Batches can come faster than once an interval, for example from a file. Half an interval, because
    /// the next tick may be a little early.
    fn progress(&mut self, stats: &Stats) {
        let now = Instant::now();
        if now >= self.due {
            self.due = now + self.interval / 2;
            self.tell(stats);
        }
    }

    fn asked(&mut self, stats: &Stats) {
        let in_detail = ::log::log_enabled!(::log::Level::Debug);
        let mut lines = stats.lines(in_detail);
        lines.extend(self.events());
        self.outlets.screen.say_report(&lines);
    }

    fn connections(&mut self, told: &Told<'_>) {
        if let Some(lines) = &mut self.outlets.lines {
            lines.tell(told.new, told.seen.unwrap_or_else(SystemTime::now));
        }
        if let Some(events) = &self.outlets.events {
            events.tell(told);
        }
    }

    fn stopping(&mut self) {
        self.outlets.notifier.stopping();
    }
}

/// The counters in one line.
struct Summary<'a>(&'a Stats);

impl Display for Summary<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self(stats) = self;
        let [inward, outward, others] = Direction::ALL.map(|it| stats.files.get(it));
        let packets = stats.packets_seen();
        write!(
            f,
            "new connections: {inward} in, {outward} out, {others} else; packets seen: {packets}; \
             lost: {}",
            stats.lost().total()
        )
    }
}
