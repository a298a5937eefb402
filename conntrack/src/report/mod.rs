//! Reports: how it goes, told while it goes on: to the service manager, to whoever looks at the
//! terminal, to whatever reads a file of metrics. They read the counters and decide nothing. What
//! is said at the end and on SIGUSR1 is the counters' own text, see [`crate::watch::stats`].

#[cfg(feature = "pcap")]
mod bar;
pub(crate) mod log;
mod metrics;
mod metrics_file;
mod notify;
mod output;
mod prefix;
mod screen;
mod subject;

use std::{
    fmt::{self, Display},
    time::{Duration, Instant, SystemTime},
};

use metrics::About;
pub use metrics_file::{MetricsError, MetricsFile};
pub use notify::Notifier;
pub use screen::Screen;
pub use subject::Subject;

use crate::{connection::Direction, watch::stats::Stats};

/// Whom the agent tells.
pub trait Reporter {
    /// The source is open, or a batch was worked off.
    fn progress(&mut self, stats: &Stats);

    /// Somebody asks.
    fn asked(&mut self, stats: &Stats);

    /// It comes to its end; what was seen last is still to be written.
    fn stopping(&mut self);
}

/// Tells nobody.
impl Reporter for () {
    fn progress(&mut self, _: &Stats) {}
    fn asked(&mut self, _: &Stats) {}
    fn stopping(&mut self) {}
}

/// The ways to tell. Each may lead nowhere.
pub struct Outlets {
    /// To the service manager.
    pub notifier: Notifier,
    /// To a monitoring system.
    pub metrics: Option<MetricsFile>,
    /// To people.
    pub screen: Screen,
}

/// Tells everybody, once an interval.
pub struct Reports {
    subject: Subject,
    outlets: Outlets,
    started: SystemTime,
    interval: Duration,
    due: Instant,
}

impl Reports {
    /// Reports of a run that begins now.
    pub fn new(subject: Subject, interval: Duration, outlets: Outlets) -> Self {
        let started = SystemTime::now();
        let due = Instant::now();
        Self { subject, outlets, started, interval, due }
    }

    /// Tells how it ended, and leaves the screen as it was.
    pub fn end(mut self, stats: &Stats) {
        self.outlets.screen.clear();
        self.write_metrics(stats);
    }

    fn tell(&mut self, stats: &Stats) {
        let summary = Summary(stats).to_string();
        self.outlets.notifier.ready(&format!("{}; {summary}", self.subject));
        self.write_metrics(stats);
        self.outlets.screen.show(summary);
    }

    fn write_metrics(&mut self, stats: &Stats) {
        let Some(file) = &mut self.outlets.metrics else { return };
        let about = About {
            subject: &self.subject,
            started: self.started,
            write_errors: file.errors(),
            messages_left_out: self.outlets.screen.left_out(),
        };
        file.write(&metrics::page(stats, &about));
    }
}

impl Reporter for Reports {
    /// A source that is in a hurry, or a file, has more batches than there is time to tell. Half an
    /// interval, because the next tick may come a little early.
    fn progress(&mut self, stats: &Stats) {
        let now = Instant::now();
        if now >= self.due {
            self.due = now + self.interval / 2;
            self.tell(stats);
        }
    }

    fn asked(&mut self, stats: &Stats) {
        if ::log::log_enabled!(::log::Level::Debug) {
            self.outlets.screen.say(stats.in_detail());
        } else {
            self.outlets.screen.say(stats);
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
