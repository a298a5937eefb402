//! Draining a full flow map: the source's way, from the map to a sorted batch, against walking the
//! keys and taking each by itself.

use std::{
    os::fd::AsFd as _,
    process, thread,
    time::{Duration, Instant},
};

use conntrack::source::{
    Source as _,
    ebpf::{Chain, EbpfSource, Ingress, Options},
};
use conntrack_common::policy::Policy;

use super::{
    bpf, held,
    numbers::{grouped, median},
    support::{
        bpf::Hook,
        lab::{DEVICE, Lab},
    },
    table::Row,
    traffic,
};

const ENTRIES: u64 = 100_000;
const ROUNDS: usize = 5;
const INTERVAL: Duration = Duration::from_millis(100);

const AT_MOST: Duration = Duration::from_millis(60);

pub(crate) fn measure() -> Vec<Row> {
    let lab = Lab::new(&[traffic::HOST]);
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    let (batches, walks) = lab.host.enter(|| runtime.expect("a runtime").block_on(rounds()));
    let [batch, walk] = [batches, walks].map(median);
    vec![Row {
        what: format!("draining {} entries", grouped(ENTRIES)),
        measured: format!("{:.1} ms", batch * 1e3),
        baseline: format!("{:.1} ms (one by one)", walk * 1e3),
        compared: format!("{:.2} ×", batch / walk),
        target: format!("≤ {} ms", AT_MOST.as_millis()),
        met: Some(batch <= AT_MOST.as_secs_f64()),
    }]
}

/// Seconds taken by the source and one by one, in turns.
async fn rounds() -> (Vec<f64>, Vec<f64>) {
    let options = Options {
        interval: INTERVAL,
        max_flows: 1 << 17,
        ingress: Ingress::Tc,
        chain: Chain::Auto,
        says: false,
        exit_on_device_loss: false,
    };
    let mut source =
        EbpfSource::open(&[DEVICE.to_owned()], options, &Policy::NONE).expect("programs that load");
    let mut batches = Vec::new();
    let mut walks = Vec::new();
    for _ in 0..ROUNDS {
        fill();
        batches.push(by_source(&mut source).await);
        fill();
        walks.push(one_by_one());
        // Directly in the map, so that the programs do not have the flows in their caches.
        source.next_batch().await.expect("no flows");
    }
    (batches, walks)
}

/// Has the attached program see this many flows.
fn fill() {
    let program = held::program(process::id(), Hook::Ingress);
    let mut frame = traffic::of_others();
    for number in 0..ENTRIES {
        traffic::from_each_other(number, &mut frame);
        bpf::nanoseconds_per_run(program.as_fd(), &frame, 1);
    }
    assert_eq!(held::flows(process::id()), ENTRIES);
}

async fn by_source(source: &mut EbpfSource) -> f64 {
    // Until the next batch is due, so that waiting is not measured.
    thread::sleep(INTERVAL);
    let start = Instant::now();
    let batch = source.next_batch().await.expect("flows").expect("a batch");
    let took = start.elapsed();
    assert_eq!(batch.flows.len() as u64, ENTRIES);
    took.as_secs_f64()
}

fn one_by_one() -> f64 {
    let mut map = held::flow_map(process::id());
    let start = Instant::now();
    let keys: Vec<_> = map.keys().map(|key| key.expect("a key")).collect();
    for key in &keys {
        map.get(key, 0).expect("an entry");
        map.remove(key).expect("removed");
    }
    let took = start.elapsed();
    assert_eq!(keys.len() as u64, ENTRIES);
    took.as_secs_f64()
}
