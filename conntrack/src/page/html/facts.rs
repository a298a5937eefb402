//! What was recorded: machine, device, window, what was lost.

use std::{collections::BTreeSet, net::IpAddr, time::UNIX_EPOCH};

use maud::{Markup, html};

use super::parts::{self, time};
use crate::{
    page::{
        subject::Subject,
        text::{Count, count_of, name},
    },
    record::Record,
    tree::Provenance,
};

/// Addresses and machines that are named.
const NAMED: usize = 6;

pub(super) struct Facts<'a> {
    page: &'a Subject<'a>,
    provenance: Option<&'a Provenance>,
    /// This machine's, as far as it spoke.
    addresses: BTreeSet<IpAddr>,
}

impl<'a> Facts<'a> {
    pub(super) fn of(page: &'a Subject<'a>) -> Self {
        let own = |it: &Record| it.connection.own_address();
        let addresses = page.recording.records.iter().filter_map(own).collect();
        Self { page, provenance: page.recording.provenance.as_ref(), addresses }
    }

    /// What the page is called.
    pub(super) fn title(&self) -> String {
        let host = self.provenance.and_then(|it| it.host.as_deref()).map(name);
        let address = self.addresses.first().map(ToString::to_string);
        let machines = self.page.recording.machines().len();
        let machines = (machines > 1).then(|| count_of(machines, "machine"));
        let machine = machines.or(host).or(address);
        let device = self.provenance.map(|it| it.devices.join(", "));
        match (device.filter(|it| !it.is_empty()), machine) {
            (Some(device), Some(machine)) => {
                format!("{} of {machine}: who talks to whom", name(&device))
            }
            (Some(device), None) => format!("{}: who talks to whom", name(&device)),
            (None, Some(machine)) => format!("{machine}: who talks to whom"),
            (None, None) => "Who talks to whom".to_owned(),
        }
    }

    pub(super) fn markup(&self) -> Markup {
        html! {
            dl.facts {
                div { dt { "Machine" } dd { (self.machine()) } }
                div { dt { "Addresses" } dd { (self.own_addresses()) } }
                div { dt { "Device" } dd { (self.device()) } }
                div { dt { "Recorded" } dd { (self.window()) } }
                div { dt { "Answers" } dd { (self.evidence()) } }
                div { dt { "Lost" } dd { (self.lost()) } }
                @if let Some(left_out) = self.left_out() {
                    div { dt { "Not here" } dd { (left_out) } }
                }
            }
        }
    }

    fn machine(&self) -> Markup {
        let host = self.provenance.and_then(|it| it.host.as_deref());
        let machines = self.page.recording.machines();
        let more = machines.len().saturating_sub(NAMED);
        html! {
            @if machines.len() > 1 {
                (Count(machines.len())) ": "
                @for (index, machine) in machines.iter().take(NAMED).enumerate() {
                    @if index > 0 { ", " }
                    (name(machine))
                }
                @if more > 0 { " and " (Count(more)) " more" }
            } @else if let Some(host) = host {
                (name(host))
            } @else {
                "unknown"
            }
        }
    }

    fn own_addresses(&self) -> Markup {
        let more = self.addresses.len().saturating_sub(NAMED);
        html! {
            @if self.addresses.is_empty() { "unknown: nothing arrived or left" }
            @for (index, address) in self.addresses.iter().take(NAMED).enumerate() {
                @if index > 0 { ", " }
                span.address { (parts::address(&address.to_string())) }
            }
            @if more > 0 { " and " (Count(more)) " more" }
        }
    }

    fn device(&self) -> Markup {
        let Some(it) = self.provenance else { return html! { "unknown: the tree does not say" } };
        let devices = self.page.recording.devices().into_iter().collect::<Vec<_>>().join(", ");
        let own = it.devices.join(", ");
        let device = [own, devices].into_iter().find(|it| !it.is_empty());
        html! {
            @match (device, it.mode.as_str()) {
                (Some(device), _) => (name(&device)),
                (None, "file") => "none: a capture file",
                (None, _) => "unknown",
            }
            @if !it.mode.is_empty() && it.mode != "file" {
                span.aside { ", " (name(&it.mode)) @if !it.hook.is_empty() { " at " (name(&it.hook)) } }
            }
            @if !it.flags.is_empty() {
                span.aside { ", with " code { (name(&it.flags.join(" "))) } }
            }
        }
    }

    /// From the first sight of a connection to the last.
    fn window(&self) -> Markup {
        let records = &self.page.recording.records;
        let first =
            records.iter().map(Record::first_seen).reduce(|a, b| Some(a?.min(b?))).flatten();
        let last = records.iter().map(|it| it.last_seen).max();
        html! {
            @match (first, last) {
                (_, None) => "nothing",
                (Some(first), Some(last)) => { (time(first)) " to " (time(last)) },
                (None, Some(last)) => { "from an unknown time to " (time(last)) },
            }
        }
    }

    fn evidence(&self) -> Markup {
        match self.provenance.and_then(|it| it.since) {
            None => html! { "not recorded: what came of connections is unknown" },
            Some(since) if since <= UNIX_EPOCH => html! { "recorded throughout" },
            Some(since) => html! { "recorded since " (time(since)) },
        }
    }

    fn lost(&self) -> Markup {
        match self.provenance.and_then(|it| it.lost) {
            None => html! { "unknown" },
            Some(0) => html! { "nothing" },
            Some(lost) => {
                let lost = usize::try_from(lost).unwrap_or(usize::MAX);
                html! { strong.warning { (Count(lost)) " that could have been here are not" } }
            }
        }
    }

    fn left_out(&self) -> Option<Markup> {
        let [strangers, unreadable] =
            [&self.page.recording.strangers, &self.page.recording.unreadable].map(Vec::len);
        let left_out = self.page.recording.left_out;
        (strangers + unreadable + left_out > 0).then(|| {
            html! {
                @if left_out > 0 {
                    (count_of(left_out, "connection")) " of the recording are not in what was read"
                    @if strangers + unreadable > 0 { ", " }
                }
                @if strangers > 0 { (count_of(strangers, "file")) " that stand for no connection" }
                @if strangers > 0 && unreadable > 0 { ", " }
                @if unreadable > 0 { "the evidence of " (count_of(unreadable, "file")) }
            }
        })
    }
}
