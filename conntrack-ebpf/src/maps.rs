//! The maps that cross to user space, by the names that the agent looks them up with.
#![expect(unsafe_code, reason = "a map value is a raw pointer, a global is found by its symbol")]

use core::hint::black_box;

use aya_ebpf::{
    Global,
    bindings::BPF_NOEXIST,
    macros::map,
    maps::{Array, HashMap, PerCpuArray, PerCpuHashMap, RingBuf},
};
use conntrack_common::{
    counters::{MAX_DEVICES, NewFlows, Outcome},
    flow::FlowKey,
    policy::{Control, POLICIES, Policy},
    seen::{Sender, Sight},
};

/// Distinct flows since the last drain, each with what was seen of it. A plain hash, because a full one
/// is an error that can be counted, where an LRU would evict in silence. The agent sets its size.
#[map]
pub(crate) static FLOWS: HashMap<FlowKey, Sight> = HashMap::with_max_entries(65_536, 0);

/// Control groups that sent packets of a flow after another one had: the flow's value has room for one.
/// Where it is full, the flow keeps those that it has.
#[map]
static SENDERS: HashMap<Sender, u8> = HashMap::with_max_entries(4096, 0);

/// One that is being kept on this CPU. A stack has no room for it.
#[map]
static SENDER: PerCpuArray<Sender> = PerCpuArray::with_max_entries(1, 0);

/// Packets by [`Outcome::index`].
#[map]
static COUNTERS: PerCpuArray<[u64; Outcome::COUNT as usize]> = PerCpuArray::with_max_entries(1, 0);

/// The policy in force, and one that is being written.
#[map]
static POLICY: Array<Policy> = Array::with_max_entries(POLICIES, 0);

/// Which policy is in force.
#[map]
static CONTROL: Array<Control> = Array::with_max_entries(1, 0);

/// Flows put into the map since the last drain; how many of them are `else`; and one more than the
/// generation in which the agent was woken. The agent sets all to 0.
#[map]
static NEW_FLOWS: Array<NewFlows> = Array::with_max_entries(1, 0);

/// Wakes the agent before its time: one byte, when the flow map gets half full.
#[map]
static WAKE: RingBuf = RingBuf::with_byte_size(4096, 0);

/// Packets by the index of the device that they passed. The agent takes out what is of a device that is
/// not watched any more.
#[map]
static PASSED: PerCpuHashMap<u32, u64> = PerCpuHashMap::with_max_entries(DEVICES, 0);

/// Devices that can be watched at the same time, and as many again.
const DEVICES: u32 = 2 * MAX_DEVICES;

/// Whether packets are counted by device, as 0 or 1: not where only one is watched. The agent sets it before
/// loading.
#[unsafe(no_mangle)]
static BY_DEVICE: Global<u8> = Global::new(0);

/// New flows at which the agent is woken. The agent sets it before loading.
#[unsafe(no_mangle)]
static WAKE_AT: Global<u32> = Global::new(32_768);

/// Entries of the flow map that `else` may take: the rest is for `in` and `out`, whose keys are coarse,
/// so that a flood between others does not displace them. The agent sets it before loading.
#[unsafe(no_mangle)]
static MAX_ELSE: Global<u32> = Global::new(49_152);

/// Whether the kernel is asked for the control groups of sockets, as 0 or 1. The agent sets it before
/// loading: a kernel without them does not have the helper.
#[unsafe(no_mangle)]
static ASKS_CGROUPS: Global<u8> = Global::new(1);

/// Whether the kernel is asked for the control groups of sockets.
#[inline(always)]
pub(crate) fn asks_cgroups() -> bool {
    ASKS_CGROUPS.load() != 0
}

/// What was seen of a flow since the last drain.
#[inline(always)]
pub(crate) fn sight(key: &FlowKey) -> Option<Sight> {
    // SAFETY: the value's memory stays until the program ends (RCU). If the agent takes the entry out
    // meanwhile, it may become another flow's: what is read is a value all the same.
    FLOWS.get_ptr(key).map(|sight| unsafe { sight.read_volatile() })
}

/// Keeps a further control group of a flow.
#[inline(never)]
pub(crate) fn add_sender(key: &FlowKey, cgroup: u64) {
    let Some(sender) = SENDER.get_ptr_mut(0) else { return };
    // SAFETY: the pointer is to this CPU's own value, which lives as long as the map. Between the two
    // lines comes no other packet but netconsole's, which has no sender.
    let sender = unsafe {
        sender.write(Sender { key: *key, cgroup });
        &*sender
    };
    // It is there already, or there is no room for it.
    let _added = SENDERS.insert(sender, 0, BPF_NOEXIST.into());
}

/// Counts the outcome at this [`Outcome::index`] on this CPU.
#[inline(always)]
pub(crate) fn count(index: u32) {
    let Some(counters) = COUNTERS.get_ptr_mut(0) else { return };
    // The compiler knows that it is in bounds; the verifier wants to see it checked.
    let index = black_box(index) as usize;
    // SAFETY: the pointer is to this CPU's own value, which lives as long as the map; a program is
    // not preempted by another instance of itself on the same CPU.
    let Some(counter) = (unsafe { (*counters).get_mut(index) }) else { return };
    *counter += 1;
}

/// Counts a packet of a device, by its index, where that is asked for. Before anything else: behind it the
/// verifiers of Linux 5.10 and 6.1 follow more than a million instructions.
#[inline(always)]
pub(crate) fn pass(device: impl FnOnce() -> u32) {
    if BY_DEVICE.load() != 0 {
        pass_by(device());
    }
}

#[inline(never)]
fn pass_by(device: u32) {
    match PASSED.get_ptr_mut(device) {
        // SAFETY: the pointer is to this CPU's own value. If the agent takes the entry out meanwhile, its
        // memory stays until the program ends (RCU).
        Some(packets) => unsafe { *packets += 1 },
        None => {
            // There is room for all that are watched.
            let _counted = PASSED.insert(device, 1, BPF_NOEXIST.into());
        }
    }
}

/// What is in force now.
#[inline(always)]
pub(crate) fn control() -> Control {
    // SAFETY: the pointer is to a value that lives as long as the map. The agent may write it while it
    // is read: any two integers are a value, and a policy that goes with the generation before or
    // after it is a good one.
    CONTROL.get_ptr(0).map_or_else(Control::default, |control| unsafe { control.read_volatile() })
}

/// The policy of this number.
#[inline(always)]
pub(crate) fn policy(number: u32) -> Option<&'static Policy> {
    // SAFETY: the value lives as long as the map. The agent writes to the one that is not in force, and
    // not before every program has ended that ran when it was (`ControlMaps::set_policy`).
    POLICY.get_ptr(number).map(|policy| unsafe { &*policy })
}

/// Counts a flow that was put into the map, and wakes the agent when they are many.
///
/// CPUs that count at the same moment count one instead of two, and may both wake the agent: then it
/// is woken a little later, at the latest by a full map. (Stable Rust has no atomic addition for this
/// target.)
#[inline(always)]
pub(crate) fn count_new_flow(generation: u32, is_else: bool) {
    let Some(new_flows) = NEW_FLOWS.get_ptr_mut(0) else { return };
    // SAFETY: the value lives as long as the map; others change it meanwhile, in aligned words.
    let number = unsafe { increment(&raw mut (*new_flows).all) };
    if is_else {
        // SAFETY: as above.
        unsafe { increment(&raw mut (*new_flows).others) };
    }
    if number >= u64::from(WAKE_AT.load()) {
        wake(generation);
    }
}

/// Whether `else` has taken what it may take of the flow map.
#[inline(always)]
pub(crate) fn is_full_of_else() -> bool {
    let Some(new_flows) = NEW_FLOWS.get_ptr(0) else { return false };
    // SAFETY: as in `count_new_flow`.
    let others = unsafe { (&raw const (*new_flows).others).read_volatile() };
    others >= u64::from(MAX_ELSE.load())
}

/// One more; the number then.
#[inline(always)]
unsafe fn increment(number: *mut u64) -> u64 {
    // SAFETY: the caller's pointer is to an aligned word that lives.
    let incremented = unsafe { number.read_volatile() } + 1;
    // SAFETY: likewise.
    unsafe { number.write_volatile(incremented) };
    incremented
}

/// Wakes the agent, once in a generation: what an earlier one left there does not count.
#[inline(always)]
pub(crate) fn wake(generation: u32) {
    let Some(new_flows) = NEW_FLOWS.get_ptr_mut(0) else { return };
    let mark = u64::from(generation) + 1;
    // SAFETY: as in `count_new_flow`.
    let woken = unsafe { &raw mut (*new_flows).woken };
    // SAFETY: likewise.
    if unsafe { woken.read_volatile() } != mark {
        // SAFETY: likewise.
        unsafe { woken.write_volatile(mark) };
        // Where there is no room, it has not yet heard that it was woken before.
        let _wakes_up = WAKE.output::<u8>(0, 0);
    }
}
