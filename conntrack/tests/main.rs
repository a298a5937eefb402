//! Every integration test, one module for each subject, in one program: `tests/support` is compiled
//! once. Modules named `live_*` watch real devices: they need root and network namespaces.

mod support;

#[cfg(feature = "pcap")]
mod captures;
#[cfg(feature = "pcap")]
mod coarsening;
#[cfg(feature = "pcap")]
mod command_line;
mod completion;
#[cfg(feature = "pcap")]
mod events;
#[cfg(feature = "pcap")]
mod evidence_conversations;
#[cfg(feature = "pcap")]
mod evidence_oracle;
mod firewalld;
#[cfg(feature = "pcap")]
mod keyboard;
#[cfg(all(feature = "ebpf", feature = "pcap"))]
mod live_addresses;
mod live_apply;
#[cfg(all(feature = "ebpf", feature = "pcap"))]
mod live_attached;
#[cfg(feature = "pcap")]
mod live_attributes;
mod live_audit;
#[cfg(all(feature = "ebpf", feature = "pcap"))]
mod live_captures;
#[cfg(feature = "ebpf")]
mod live_corpus;
#[cfg(all(feature = "ebpf", feature = "pcap"))]
mod live_devices;
#[cfg(all(feature = "ebpf", feature = "pcap"))]
mod live_differential;
#[cfg(all(feature = "ebpf", feature = "pcap"))]
mod live_doctor;
#[cfg(feature = "ebpf")]
mod live_drain;
mod live_dropped;
#[cfg(all(feature = "ebpf", feature = "pcap"))]
mod live_errors;
#[cfg(all(feature = "ebpf", feature = "pcap"))]
mod live_evidence;
#[cfg(all(feature = "ebpf", feature = "pcap"))]
mod live_floods;
#[cfg(all(feature = "ebpf", feature = "pcap"))]
mod live_hostile_tree;
mod live_iptables;
#[cfg(all(feature = "ebpf", feature = "pcap"))]
mod live_keyboard;
#[cfg(all(feature = "ebpf", feature = "pcap"))]
mod live_lifecycle;
#[cfg(all(feature = "ebpf", feature = "pcap"))]
mod live_limits;
#[cfg(all(feature = "ebpf", feature = "pcap"))]
mod live_links;
#[cfg(all(feature = "ebpf", feature = "pcap"))]
mod live_log;
#[cfg(all(feature = "ebpf", feature = "pcap"))]
mod live_place;
#[cfg(all(feature = "ebpf", feature = "pcap"))]
mod live_privileges;
mod live_report;
#[cfg(feature = "pcap")]
mod live_rules;
#[cfg(all(feature = "ebpf", feature = "pcap"))]
mod live_service;
#[cfg(all(feature = "ebpf", feature = "pcap"))]
mod live_several;
#[cfg(all(feature = "ebpf", feature = "pcap"))]
mod live_slow;
#[cfg(all(feature = "ebpf", feature = "pcap"))]
mod live_sockets;
#[cfg(all(feature = "ebpf", feature = "pcap"))]
mod live_units;
#[cfg(feature = "pcap")]
mod live_unrecorded;
#[cfg(feature = "pcap")]
mod live_wire;
#[cfg(feature = "pcap")]
mod metrics;
mod recordings;
mod report;
mod rules;
#[cfg(feature = "pcap")]
mod service;
mod tracker_rules;
mod ufw;
mod units;
mod wire_judge;
