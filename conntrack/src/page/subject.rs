//! What a page is made from.

use std::time::SystemTime;

use super::differences::Machine;
use crate::{audit::Audit, recording::Recording, show::Services};

/// What the page is made from.
#[derive(Debug)]
pub struct Subject<'a> {
    /// What was recorded.
    pub recording: &'a Recording,
    /// When it is made: what is new is new at this time.
    pub now: SystemTime,
    /// The machines that it is of.
    pub machines: Vec<Machine>,
    /// Names of ports.
    pub services: Services,
    /// What rules would refuse, if that was asked for.
    pub rules: Option<Judged<'a>>,
}

/// Rules, and what came of their audit.
#[derive(Debug)]
pub struct Judged<'a> {
    /// The file, as it was typed.
    pub file: String,
    /// Why there is no audit, or the audit.
    pub audit: Result<&'a Audit, String>,
}
