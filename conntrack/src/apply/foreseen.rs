//! What of a recording rules would refuse that works now: the audit tells, on a copy of this machine.

use std::collections::BTreeSet;

use super::plan::Plan;
use crate::{
    audit::{Audit, AuditError, Request, Sources},
    connection::Connection,
    recording::Recording,
};

/// The recorded connections that these rules would refuse, and what is in force now does not.
///
/// # Errors
/// What keeps the audit from judging.
pub fn refused(
    plan: &Plan,
    recording: &Recording,
    devices: &[String],
) -> Result<BTreeSet<Connection>, AuditError> {
    let refused = |given| -> Result<BTreeSet<Connection>, AuditError> {
        let sources = Sources { host: true, given, ..Sources::default() };
        let devices = devices.to_vec();
        let audit = Audit::of(recording, &Request { sources, devices, ..Request::default() })?;
        Ok(audit.refused().map(|it| it.record.connection).collect())
    };
    let then = refused(Some((plan.name.clone(), plan.rules.clone())))?;
    let now = if then.is_empty() { BTreeSet::new() } else { refused(None)? };
    Ok(then.difference(&now).copied().collect())
}
