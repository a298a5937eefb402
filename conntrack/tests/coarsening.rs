//! Coarsening is a cheaper way to the same tree: what is recorded with it is what is recorded without,
//! for packets at random and for every capture.

use std::{cell::RefCell, collections::BTreeSet, ffi::OsStr, time::Duration};

use crate::support::{
    Case,
    coarsening::{self, Given, Packet},
    generator::check::check,
};
use conntrack::{
    cli,
    connection::Connection,
    host::addresses::AddressReader,
    source::{Source as _, pcap::file::FileSource},
    tracker::Tracker,
};
use conntrack_common::{flow::FlowKey, policy::Policy, rules, seen::Flow};
use proptest::collection;

/// The connections of each batch, each of which shows its files anew.
type Shown = Vec<BTreeSet<Connection>>;

fn shown(mut tracker: Tracker, policy: &Policy, batches: &[Vec<Packet>]) -> Shown {
    let flows = |batch: &Vec<Packet>| batch_of(policy, batch.iter().map(Packet::key));
    let mut track = |key| shown_by(&mut tracker, &Flow::opened(key));
    batches.iter().map(|batch| flows(batch).into_iter().filter_map(&mut track).collect()).collect()
}

/// The connection that a flow makes a file of.
fn shown_by(tracker: &mut Tracker, flow: &Flow) -> Option<Connection> {
    tracker.track(flow).filter(|it| it.has_packet).map(|it| it.connection)
}

/// Distinct flows in the order of their first packets.
fn batch_of(policy: &Policy, keys: impl Iterator<Item = FlowKey>) -> Vec<FlowKey> {
    let mut seen = BTreeSet::new();
    let coarse = |mut key| rules::coarsen(&mut key, policy).ok().map(|_direction| key);
    keys.filter_map(coarse).filter(|key| seen.insert(*key)).collect()
}

#[test]
fn packets_at_random_show_the_same_in_every_batch() {
    let batches = collection::vec(collection::vec(coarsening::packet(), 0..60), 1..4);
    check(3_000, &(coarsening::settings(), batches), |(given, batches)| {
        let with = shown(given.tracker(), &given.policy(), &batches);
        let without = shown(given.tracker(), &Policy::NONE, &batches);
        if with == without {
            return Ok(());
        }
        Err(format!("with coarsening: {with:#?}\nwithout: {without:#?}"))
    });
}

#[test]
fn random_packets_are_coarsened_and_left_out_at_all() {
    let mut coarse = 0;
    let mut left_out = 0;
    let counts = RefCell::new((&mut coarse, &mut left_out));
    let all = check(3_000, &(coarsening::settings(), coarsening::packet()), |(given, packet)| {
        let mut key = packet.key();
        let mut counts = counts.borrow_mut();
        match rules::coarsen(&mut key, &given.policy()) {
            Ok(_) => *counts.0 += u32::from(key.direction().is_some()),
            Err(_) => *counts.1 += 1,
        }
        Ok(())
    });
    assert!(coarse > all / 10 && left_out > all / 10, "{coarse} and {left_out} of {all}");
}

#[test]
fn every_capture_leaves_the_same_tree() {
    for case in Case::all() {
        let given = given(&case);
        let with = of_capture(&case, given.tracker(), &given.policy());
        let without = of_capture(&case, given.tracker(), &Policy::NONE);
        assert_eq!(with, without, "{}", case.name);
    }
}

/// What the arguments of a case say.
fn given(case: &Case) -> Given {
    let capture = case.capture.as_os_str();
    let arguments = ["conntrack", "-p", "nowhere", "-r"].map(OsStr::new).into_iter();
    let arguments = arguments.chain([capture]).chain(case.arguments.iter().map(OsStr::new));
    let config = cli::config(arguments).expect("arguments of a case");
    let local = AddressReader::new(config.local).and_then(|mut it| it.current());
    let local = local.expect("no error").expect("fixed addresses");
    Given { settings: config.settings, local: local.into_iter().collect() }
}

/// What a capture shows.
fn of_capture(case: &Case, mut tracker: Tracker, policy: &Policy) -> BTreeSet<Connection> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build();
    let second = Duration::from_secs(1);
    let mut shown = BTreeSet::new();
    runtime.expect("a runtime").block_on(async {
        let hidden = indicatif::ProgressDrawTarget::hidden();
        let source = FileSource::open(&case.capture, second, 65_536, hidden, policy);
        let mut source = source.await.expect("a capture");
        while let Ok(Some(batch)) = source.next_batch().await {
            shown.extend(batch.flows.iter().filter_map(|flow| shown_by(&mut tracker, flow)));
        }
        let (last, _) = source.finish().await;
        shown.extend(last.flows.iter().filter_map(|flow| shown_by(&mut tracker, flow)));
    });
    shown
}
