//! The promise to aya that our types may be copied to and from BPF maps as bytes. The only
//! `unsafe` of this crate.
#![expect(unsafe_code, reason = "aya::Pod is an unsafe trait; this is its one place")]

use crate::{
    counters::NewFlows,
    flow::FlowKey,
    policy::{Control, Policy},
    seen::{Sender, Sight},
};

// SAFETY: `repr(C)`, integers and integer arrays only, no padding (asserted beside the type), so
// every byte is initialised and every bit pattern is a value.
unsafe impl aya::Pod for FlowKey {}

// SAFETY: as above; the integers of its parts leave no gaps, the last are padded to its alignment.
unsafe impl aya::Pod for Policy {}

// SAFETY: as above.
unsafe impl aya::Pod for Control {}

// SAFETY: as above.
unsafe impl aya::Pod for Sight {}

// SAFETY: as above.
unsafe impl aya::Pod for Sender {}

// SAFETY: as above.
unsafe impl aya::Pod for NewFlows {}
