//! Who talks to whom, drawn, and the same as a table.

use maud::{Markup, html};

use super::parts::{self, address, class, column, folded, number_column};
use crate::page::{
    figure::{
        Bar, Figure, Flow, Side,
        layout::{BAR_WIDTH, Layout, Place, Ribbon, Size},
    },
    parts::{Parts, total, total_of_scans},
    tally::Class,
    text::{Count, count_of},
};

/// A drawing for a window of some width.
struct Drawing {
    /// Which windows.
    class: &'static str,
    size: Size,
    /// Of labels, whose letters are all of one width.
    font: f64,
}

const WIDE: Drawing =
    Drawing { class: "wide", size: Size { width: 900.0, margin: 190.0 }, font: 11.0 };
const NARROW: Drawing =
    Drawing { class: "narrow", size: Size { width: 328.0, margin: 92.0 }, font: 9.0 };

/// Of a letter, in sizes of the font.
const LETTER: f64 = 0.61;
/// Between a bar and its label.
const SPACE: f64 = 5.0;
/// A flow that has room for an edge.
const THICK: f64 = 3.0;
/// Above the bars, for the columns' headings; and below them.
const TOP: f64 = 24.0;
const BOTTOM: f64 = 4.0;

const HEADINGS: [&str; 3] = ["asks here", "ports", "asked from here"];

pub(super) fn section(figure: &Figure, parts: &Parts<'_>) -> Markup {
    let heading = "Who talks to whom";
    if figure.flows.is_empty() {
        let lead =
            html! { "Nothing arrived for this machine or left it." (left_out(parts, figure)) };
        return parts::section("figure", heading, &lead, &html! {});
    }
    let lead = html! {
        "From the left, who asks this machine; in the middle, for which ports; to the right, whom it asks. A flow is "
        "as thick as it has connections, however often each was used: " (count_of(figure.total(), "connection")) "."
        (left_out(parts, figure))
    };
    let content = html! {
        figure {
            (drawing(figure, &WIDE))
            (drawing(figure, &NARROW))
            figcaption {
                @for it in Class::ALL { span.key { i class=(class(it)) {} (it.as_str()) } }
                a href="#flows" { "The same as a table" }
            }
        }
        div id="flows" { (folded(false, &count_of(figure.flows.len(), "flow"), &table(figure))) }
    };
    parts::section("figure", heading, &lead, &content)
}

/// Its colour, and whether it has an edge.
fn look(flow: &Flow, ribbon: &Ribbon) -> String {
    let edge = if ribbon.thickness >= THICK { " thick" } else { "" };
    format!("{}{edge}", class(flow.class))
}

/// What is in the recording and not in the figure.
fn left_out(parts: &Parts<'_>, figure: &Figure) -> Markup {
    let replies = parts.shown.len() - figure.total();
    let left_out = [
        (total_of_scans(&parts.scans), "in scans"),
        (replies, "that only answered"),
        (total(&parts.others), "between others"),
    ];
    let left_out: Vec<_> = left_out.into_iter().filter(|(count, _)| *count > 0).collect();
    html! {
        @if !left_out.is_empty() {
            " Not drawn: "
            @for (index, (count, what)) in left_out.iter().enumerate() {
                @if index > 0 { ", " }
                (Count(*count)) " " (what)
            }
            "."
        }
    }
}

fn drawing(figure: &Figure, of: &Drawing) -> Markup {
    let layout = Layout::of(figure, of.size);
    let height = layout.height + TOP + BOTTOM;
    let view = format!("0 {} {} {:.0}", -TOP, layout.width, height.ceil());
    let columns = [
        (&figure.asking, &layout.asking),
        (&figure.ports, &layout.ports),
        (&figure.asked, &layout.asked),
    ];
    html! {
        svg class=(of.class) viewBox=(view) role="img" aria-label=(description(figure)) font-size=(of.font) {
            (headings(&layout, figure))
            @for (flow, ribbon) in figure.flows.iter().zip(&layout.ribbons) {
                path class=(look(flow, ribbon)) d=(outline(ribbon)) { title { (said(figure, flow)) } }
            }
            @for (index, (bars, places)) in columns.into_iter().enumerate() {
                @for (number, (bar, place)) in bars.iter().zip(places).enumerate() {
                    (self::bar(bar, place, &labelled(of, index, figure, number)))
                }
            }
        }
    }
}

fn description(figure: &Figure) -> String {
    let count = |bars: &[Bar]| Count(bars.len()).to_string();
    format!(
        "A diagram of {}: {} bars of peers that ask this machine, {} of ports, {} of peers that it asks. The table \
         below has its numbers.",
        count_of(figure.total(), "connection"),
        count(&figure.asking),
        count(&figure.ports),
        count(&figure.asked)
    )
}

fn headings(layout: &Layout, figure: &Figure) -> Markup {
    let columns = [&layout.asking, &layout.ports, &layout.asked];
    let at = columns.map(|it| it.first().map(|it| it.x));
    let [asking, ports, asked] = at;
    let has_peers = [&figure.asking, &figure.ports, &figure.asked].map(|it| !it.is_empty());
    html! {
        g.heading {
            @if let Some(x) = asking.filter(|_| has_peers[0]) {
                text x=(tenth(x - SPACE)) y="-10" text-anchor="end" { (HEADINGS[0]) }
            }
            @if let Some(x) = ports.filter(|_| has_peers[1]) {
                text x=(tenth(x + BAR_WIDTH / 2.0)) y="-10" text-anchor="middle" { (HEADINGS[1]) }
            }
            @if let Some(x) = asked.filter(|_| has_peers[2]) {
                text x=(tenth(x + BAR_WIDTH + SPACE)) y="-10" { (HEADINGS[2]) }
            }
        }
    }
}

/// Where a label stands, and how many letters it may have.
struct Label {
    is_before: bool,
    letters: usize,
}

fn labelled(of: &Drawing, column: usize, figure: &Figure, bar: usize) -> Label {
    let arrives = figure.flows.iter().any(|it| it.side == Side::Arriving && it.port == bar);
    let (is_before, room) = match column {
        0 => (true, of.size.margin),
        // Where nothing flows.
        1 if figure.asking.is_empty() || figure.asked.is_empty() => (!arrives, of.size.margin),
        1 => (!arrives, of.size.width / 2.0 - of.size.margin - BAR_WIDTH * 2.0),
        _ => (false, of.size.margin),
    };
    Label { is_before, letters: letters(room - SPACE, of.font) }
}

#[expect(
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "a small positive number"
)]
fn letters(room: f64, font: f64) -> usize {
    (room / (font * LETTER)).max(1.0) as usize
}

fn bar(bar: &Bar, place: &Place, label: &Label) -> Markup {
    let x = if label.is_before { place.x - SPACE } else { place.x + BAR_WIDTH + SPACE };
    let anchor = if label.is_before { "end" } else { "start" };
    let (name, aside) = shortened(bar, label.letters);
    html! {
        g.bar {
            title { (bar.whole()) ": " (count_of(bar.connections, "connection")) }
            rect x=(tenth(place.x)) y=(tenth(place.y)) width=(BAR_WIDTH) height=(tenth(place.height)) {}
            text x=(tenth(x)) y=(tenth(place.middle())) text-anchor=(anchor) dominant-baseline="central" {
                (name) @if let Some(aside) = aside { tspan { (aside) } }
            }
        }
    }
}

/// What of a name and what comes beside it has room.
fn shortened(bar: &Bar, letters: usize) -> (String, Option<&str>) {
    let length = bar.name.chars().count();
    let aside = bar.aside.as_deref();
    let aside = aside.filter(|aside| length + aside.chars().count() <= letters);
    if length <= letters {
        return (bar.name.clone(), aside);
    }
    let shown: String = bar.name.chars().take(letters.saturating_sub(1)).collect();
    (format!("{shown}…"), None)
}

/// A band that is level at both ends.
fn outline(ribbon: &Ribbon) -> String {
    let Ribbon { left, right, from, to, thickness } = *ribbon;
    let middle = tenth(f64::midpoint(left, right));
    let [left, right] = [left, right].map(tenth);
    let [top_from, top_to] = [from, to].map(tenth);
    let [bottom_from, bottom_to] = [from + thickness, to + thickness].map(tenth);
    format!(
        "M{left} {top_from}C{middle} {top_from} {middle} {top_to} {right} {top_to}V{bottom_to}\
         C{middle} {bottom_to} {middle} {bottom_from} {left} {bottom_from}Z"
    )
}

/// A length to a tenth of the drawing's unit.
fn tenth(length: f64) -> String {
    let text = format!("{length:.1}");
    text.strip_suffix(".0").map_or_else(|| text.clone(), ToOwned::to_owned)
}

/// A flow in words.
fn said(figure: &Figure, flow: &Flow) -> String {
    let (from, to) = ends(figure, flow);
    let count = count_of(flow.connections, "connection");
    format!("{} → {}: {count}, {}", from.whole(), to.whole(), flow.class.as_str())
}

/// Where a flow comes from, and where it goes.
fn ends<'a>(figure: &'a Figure, flow: &Flow) -> (&'a Bar, &'a Bar) {
    let (peer, port) = (&figure.peers(flow.side)[flow.peer], &figure.ports[flow.port]);
    match flow.side {
        Side::Arriving => (peer, port),
        Side::Leaving => (port, peer),
    }
}

fn table(figure: &Figure) -> Markup {
    let direction = |side| if side == Side::Arriving { "in" } else { "out" };
    html! {
        table.flows {
            caption { "The flows of the diagram" }
            thead {
                tr {
                    (column("Direction"))
                    (column("Peer"))
                    (column("Port"))
                    (number_column("Connections"))
                    (column("What came of it"))
                }
            }
            tbody {
                @for flow in &figure.flows {
                    tr {
                        td.direction { (direction(flow.side)) }
                        td.address { (address(&figure.peers(flow.side)[flow.peer].whole())) }
                        td.port { (figure.ports[flow.port].whole()) }
                        td.number { (Count(flow.connections)) }
                        td.outcome { span class=(class(flow.class)) { (flow.class.as_str()) } }
                    }
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn labels_are_cut_and_their_whole_is_kept() {
        let bar = Bar {
            name: "10.0.1.0/24".into(),
            aside: Some(", 60 hosts".into()),
            is_others: false,
            connections: 1,
        };
        assert_eq!(shortened(&bar, 21), ("10.0.1.0/24".to_owned(), Some(", 60 hosts")));
        assert_eq!(shortened(&bar, 20), ("10.0.1.0/24".to_owned(), None));
        assert_eq!(shortened(&bar, 10), ("10.0.1.0/…".to_owned(), None));
        let drawn = super::bar(&bar, &Place::default(), &Label { is_before: true, letters: 4 });
        assert!(drawn.into_string().contains("<title>10.0.1.0/24, 60 hosts: 1 connection</title>"));
    }
}
