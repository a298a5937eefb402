//! Where a figure's bars and flows are drawn. Lengths are the drawing's own units.
//!
//! A flow is as thick as it has connections, but never too thin to be seen; a bar is as high as the flows at its
//! side that has more of them, but never too low for its label. So flows fit at their bars, and nothing overlaps.

use super::{Figure, Flow, Side};

/// How wide a drawing is.
#[derive(Clone, Copy, Debug)]
pub(in crate::page) struct Size {
    pub(in crate::page) width: f64,
    /// What labels of peers have at each side.
    pub(in crate::page) margin: f64,
}

/// Of a bar.
pub(in crate::page) const BAR_WIDTH: f64 = 8.0;
/// Of a bar, so that its label has room.
const LEAST_HEIGHT: f64 = 15.0;
/// Between two bars.
const GAP: f64 = 7.0;
const MOST_GAP: f64 = 40.0;
/// Of a flow.
const LEAST_THICKNESS: f64 = 1.0;
/// All flows of one side, for each bar of the column that has most; and at most.
const BODY_PER_BAR: f64 = 26.0;
const MOST_BODY: f64 = 340.0;

/// A drawing.
#[derive(Clone, Debug, PartialEq)]
pub(in crate::page) struct Layout {
    pub(in crate::page) width: f64,
    pub(in crate::page) height: f64,
    pub(in crate::page) asking: Vec<Place>,
    pub(in crate::page) ports: Vec<Place>,
    pub(in crate::page) asked: Vec<Place>,
    /// In the order of the figure's flows.
    pub(in crate::page) ribbons: Vec<Ribbon>,
}

/// Where a bar is.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub(in crate::page) struct Place {
    pub(in crate::page) x: f64,
    pub(in crate::page) y: f64,
    pub(in crate::page) height: f64,
}

impl Place {
    /// Halfway down.
    pub(in crate::page) fn middle(&self) -> f64 {
        self.y + self.height / 2.0
    }
}

/// A flow, from left to right.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub(in crate::page) struct Ribbon {
    pub(in crate::page) left: f64,
    pub(in crate::page) right: f64,
    /// Its upper edge at both ends.
    pub(in crate::page) from: f64,
    pub(in crate::page) to: f64,
    pub(in crate::page) thickness: f64,
}

impl Layout {
    pub(in crate::page) fn of(figure: &Figure, size: Size) -> Self {
        let scale = scale(figure);
        let thickness: Vec<_> = figure.flows.iter().map(|it| thick(it, scale)).collect();
        let heights = |bars: usize, is_at: &dyn Fn(&Flow, usize, Side) -> bool| {
            let bars = (0..bars).map(|bar| {
                let sums = [Side::Arriving, Side::Leaving].map(|side| {
                    let flows = figure.flows.iter().zip(&thickness);
                    let here = flows.filter(|(flow, _)| is_at(flow, bar, side));
                    here.map(|(_, thickness)| thickness).sum::<f64>()
                });
                sums[0].max(sums[1]).max(LEAST_HEIGHT)
            });
            bars.collect::<Vec<_>>()
        };
        let of_peers = |side| {
            heights(figure.peers(side).len(), &|flow, bar, of| {
                of == side && flow.side == side && flow.peer == bar
            })
        };
        let ports =
            heights(figure.ports.len(), &|flow, bar, side| flow.side == side && flow.port == bar);
        let (asking, asked) = (of_peers(Side::Arriving), of_peers(Side::Leaving));
        let height =
            [&asking, &ports, &asked].map(|it| least_height(it)).into_iter().fold(0.0, f64::max);
        let x = columns(figure, size);
        let ports = column(&ports, &(0..ports.len()).collect::<Vec<_>>(), x[1], height);
        let asking = column(&asking, &order(figure, Side::Arriving, &ports), x[0], height);
        let asked = column(&asked, &order(figure, Side::Leaving, &ports), x[2], height);
        let mut layout =
            Self { width: size.width, height, asking, ports, asked, ribbons: Vec::new() };
        layout.ribbons = layout.ribbons(figure, &thickness);
        layout
    }

    fn peers(&self, side: Side) -> &[Place] {
        match side {
            Side::Arriving => &self.asking,
            Side::Leaving => &self.asked,
        }
    }

    /// At each bar, flows come in the order of the bars at their other ends.
    fn ribbons(&self, figure: &Figure, thickness: &[f64]) -> Vec<Ribbon> {
        let mut ribbons = vec![Ribbon::default(); figure.flows.len()];
        for side in [Side::Arriving, Side::Leaving] {
            let mut flows: Vec<_> = (0..figure.flows.len()).collect();
            flows.retain(|it| figure.flows[*it].side == side);
            let peers = self.peers(side);
            let at_port = |it: usize| self.ports[figure.flows[it].port].y;
            let at_peer = |it: usize| peers[figure.flows[it].peer].y;
            flows.sort_by(|a, b| at_peer(*a).total_cmp(&at_peer(*b)).then(a.cmp(b)));
            let ports = stack(&flows, thickness, &self.ports, |it| figure.flows[it].port);
            flows.sort_by(|a, b| at_port(*a).total_cmp(&at_port(*b)).then(a.cmp(b)));
            let peers_y = stack(&flows, thickness, peers, |it| figure.flows[it].peer);
            for it in flows {
                let (port, peer) =
                    (self.ports[figure.flows[it].port].x, peers[figure.flows[it].peer].x);
                let thickness = thickness[it];
                ribbons[it] = match side {
                    Side::Arriving => Ribbon {
                        left: peer + BAR_WIDTH,
                        right: port,
                        from: peers_y[it],
                        to: ports[it],
                        thickness,
                    },
                    Side::Leaving => Ribbon {
                        left: port + BAR_WIDTH,
                        right: peer,
                        from: ports[it],
                        to: peers_y[it],
                        thickness,
                    },
                };
            }
        }
        ribbons
    }
}

/// Where the columns stand. Where nobody asks, or is asked, ports stand at that side.
fn columns(figure: &Figure, size: Size) -> [f64; 3] {
    let (left, right) = (size.margin, size.width - size.margin - BAR_WIDTH);
    let middle = match (figure.asking.is_empty(), figure.asked.is_empty()) {
        (true, false) => left,
        (false, true) => right,
        _ => f64::midpoint(left, right),
    };
    [left, middle, right]
}

/// How thick a connection is.
fn scale(figure: &Figure) -> f64 {
    let sum = |side| {
        let flows = figure.flows.iter().filter(|it| it.side == side);
        flows.map(|it| it.connections).sum::<usize>()
    };
    let most = sum(Side::Arriving).max(sum(Side::Leaving)).max(1);
    let bars = figure.asking.len().max(figure.ports.len()).max(figure.asked.len());
    (BODY_PER_BAR * number(bars)).min(MOST_BODY) / number(most)
}

fn thick(flow: &Flow, scale: f64) -> f64 {
    (number(flow.connections) * scale).max(LEAST_THICKNESS)
}

#[expect(clippy::cast_precision_loss, reason = "nobody sees the 53rd bit of a length")]
const fn number(count: usize) -> f64 {
    count as f64
}

fn least_height(heights: &[f64]) -> f64 {
    heights.iter().sum::<f64>() + GAP * number(heights.len().saturating_sub(1))
}

/// Puts bars below each other in this order, spread over the height.
fn column(heights: &[f64], order: &[usize], x: f64, height: f64) -> Vec<Place> {
    let gaps = number(heights.len().saturating_sub(1));
    let free = height - heights.iter().sum::<f64>();
    let gap = if gaps > 0.0 { (free / gaps).min(MOST_GAP) } else { 0.0 };
    let mut y = (free - gap * gaps) / 2.0;
    let mut places = vec![Place::default(); heights.len()];
    for &bar in order {
        places[bar] = Place { x, y, height: heights[bar] };
        y += heights[bar] + gap;
    }
    places
}

/// Peers by where their flows lead, so that few cross; the bar of the others stays last.
fn order(figure: &Figure, side: Side, ports: &[Place]) -> Vec<usize> {
    let peers = figure.peers(side);
    let centre = |peer: usize| {
        let flows = figure.flows.iter().filter(|it| it.side == side && it.peer == peer);
        let (sum, weight) = flows.fold((0.0, 0.0), |(sum, weight), it| {
            let more = number(it.connections);
            (sum + ports[it.port].middle() * more, weight + more)
        });
        sum / weight
    };
    let own =
        if peers.last().is_some_and(|it| it.is_others) { peers.len() - 1 } else { peers.len() };
    let mut order: Vec<_> = (0..own).map(|peer| (centre(peer), peer)).collect();
    order.sort_by(|a, b| a.0.total_cmp(&b.0).then(a.1.cmp(&b.1)));
    order.into_iter().map(|(_, peer)| peer).chain(own..peers.len()).collect()
}

/// Stacks flows at their bars, in this order; the upper edge of each. They stand in the bar's middle.
fn stack(
    flows: &[usize],
    thickness: &[f64],
    bars: &[Place],
    bar: impl Fn(usize) -> usize,
) -> Vec<f64> {
    let mut sums = vec![0.0; bars.len()];
    for &it in flows {
        sums[bar(it)] += thickness[it];
    }
    let mut next: Vec<_> =
        bars.iter().zip(sums).map(|(place, sum)| place.y + (place.height - sum) / 2.0).collect();
    let mut edges = vec![0.0; thickness.len()];
    for &it in flows {
        edges[it] = next[bar(it)];
        next[bar(it)] += thickness[it];
    }
    edges
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::{
        connection::{Connection, Direction, Evidence, Host, Protocol, SourcePort},
        record::{Outcome, Record},
        show::Services,
    };

    /// Distances below are rounding.
    const NOTHING: f64 = 1e-6;

    fn record(is_leaving: bool, peer: u32, port: u16, outcome: u8) -> Record {
        let address = |bits: u32| Host::Address(std::net::Ipv4Addr::from_bits(bits).into());
        let peer = if peer == 0 { Host::Internet } else { address(0x0a00_0000 + peer) };
        let (direction, source, destination) = if is_leaving {
            (Direction::Out, address(0x0aff_ffff), peer)
        } else {
            (Direction::In, peer, address(0x0aff_ffff))
        };
        let connection = Connection {
            direction,
            protocol: Protocol::Tcp,
            source,
            source_port: SourcePort::Any,
            destination,
            destination_port: port,
        };
        let outcomes = [Outcome::Seen(Evidence::Answered), Outcome::None, Outcome::Unknown];
        Record::of(connection, outcomes[usize::from(outcome % 3)], std::time::UNIX_EPOCH)
    }

    fn figure(records: &[Record]) -> Figure {
        Figure::of(&records.iter().collect::<Vec<_>>(), &Services::default())
    }

    /// Everything that must be true of every drawing.
    fn check(figure: &Figure, size: Size) {
        let layout = Layout::of(figure, size);
        for (bars, places) in [
            (&figure.asking, &layout.asking),
            (&figure.ports, &layout.ports),
            (&figure.asked, &layout.asked),
        ] {
            assert_eq!(bars.len(), places.len());
            let mut places = places.clone();
            places.sort_by(|a, b| a.y.total_cmp(&b.y));
            for place in &places {
                assert!(place.height >= LEAST_HEIGHT, "{place:?}");
                assert!(place.y >= -NOTHING && place.y + place.height <= layout.height + NOTHING);
                assert!(place.x >= 0.0 && place.x + BAR_WIDTH <= layout.width);
            }
            for pair in places.windows(2) {
                assert!(pair[0].y + pair[0].height + GAP <= pair[1].y + NOTHING, "{pair:?}");
            }
        }
        check_ribbons(figure, &layout);
    }

    fn check_ribbons(figure: &Figure, layout: &Layout) {
        assert_eq!(figure.flows.len(), layout.ribbons.len());
        for (flow, ribbon) in figure.flows.iter().zip(&layout.ribbons) {
            assert!(ribbon.thickness >= LEAST_THICKNESS && ribbon.left < ribbon.right);
            let (peer, port) = (layout.peers(flow.side)[flow.peer], layout.ports[flow.port]);
            let ends = match flow.side {
                Side::Arriving => [(peer, ribbon.from), (port, ribbon.to)],
                Side::Leaving => [(port, ribbon.from), (peer, ribbon.to)],
            };
            for (place, edge) in ends {
                assert!(edge >= place.y - NOTHING, "{edge} {place:?}");
                assert!(edge + ribbon.thickness <= place.y + place.height + NOTHING);
            }
        }
        // At each side of a bar, flows touch and do not cover each other.
        for side in [Side::Arriving, Side::Leaving] {
            let of = |is_left: bool, bar: &dyn Fn(&Flow) -> usize| {
                let mut edges: Vec<_> = (figure.flows.iter().zip(&layout.ribbons))
                    .filter(|(flow, _)| flow.side == side)
                    .map(|(flow, it)| {
                        (bar(flow), if is_left { it.from } else { it.to }, it.thickness)
                    })
                    .collect();
                edges.sort_by(|a, b| a.0.cmp(&b.0).then(a.1.total_cmp(&b.1)));
                for pair in edges.windows(2).filter(|it| it[0].0 == it[1].0) {
                    assert!(pair[0].1 + pair[0].2 <= pair[1].1 + NOTHING, "{pair:?}");
                }
            };
            of(side == Side::Arriving, &|it| it.peer);
            of(side == Side::Leaving, &|it| it.port);
        }
    }

    fn check_sums(figure: &Figure, records: usize) {
        assert_eq!(figure.total(), records);
        let sum = |is_at: &dyn Fn(&Flow) -> bool| {
            let flows = figure.flows.iter().filter(|it| is_at(it));
            flows.map(|it| it.connections).sum::<usize>()
        };
        for (index, bar) in figure.ports.iter().enumerate() {
            assert_eq!(bar.connections, sum(&|it| it.port == index), "{bar:?}");
        }
        for side in [Side::Arriving, Side::Leaving] {
            for (index, bar) in figure.peers(side).iter().enumerate() {
                let of_bar = sum(&|it| it.side == side && it.peer == index);
                assert_eq!(bar.connections, of_bar, "{bar:?}");
            }
        }
    }

    const SIZES: [Size; 2] =
        [Size { width: 900.0, margin: 190.0 }, Size { width: 328.0, margin: 92.0 }];

    #[test]
    fn one_peer_and_ten_thousand_are_drawn() {
        for count in [1, 2, 14, 15, 60, 10_000] {
            let records: Vec<_> = (0..count).map(|it| record(it % 3 == 1, it, 22, 0)).collect();
            let figure = figure(&records);
            check_sums(&figure, records.len());
            for size in SIZES {
                check(&figure, size);
            }
            let height = Layout::of(&figure, SIZES[0]).height;
            assert!(height < 800.0, "{height} for {count}");
        }
    }

    #[test]
    fn nothing_is_no_drawing() {
        let layout = Layout::of(&figure(&[]), SIZES[0]);
        assert_eq!((layout.height, layout.ribbons.len()), (0.0, 0));
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(200))]

        #[test]
        fn every_figure_adds_up_and_nothing_overlaps(
            kinds in prop::collection::vec((any::<bool>(), 0..400_u32, 0..40_u16, any::<u8>()), 1..300),
            hub in prop::option::of((any::<bool>(), 0..5_000_u32)),
        ) {
            let mut records: Vec<_> =
                kinds.into_iter().map(|(out, peer, port, of)| record(out, peer * 37, port, of)).collect();
            if let Some((out, size)) = hub {
                records.extend((0..size).map(|peer| record(out, peer * 211, 443, 0)));
            }
            let figure = figure(&records);
            check_sums(&figure, records.len());
            for size in SIZES {
                check(&figure, size);
            }
        }
    }
}
