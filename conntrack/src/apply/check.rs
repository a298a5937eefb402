//! That rules load and touch no table but ours, found by loading them: into a network namespace of our own
//! that has the tables of this machine, and one more.

use std::collections::BTreeMap;

use super::{error::ApplyError, plan::Plan, table};
use crate::{audit, host::programs::ProgramError, print::nftables::TABLE};

/// Somebody's, so that there is something to be touched.
const SOMEBODYS: &str = "\
table inet conntrack_somebodys {
    set numbers { type inet_service; elements = { 1 }; }
    chain input {
        type filter hook input priority 1; policy accept;
        counter
    }
}
";

pub(super) fn only_our_table(plan: &Plan) -> Result<(), ApplyError> {
    let text = String::from_utf8_lossy(&plan.rules);
    audit::in_copy_of_this_machine(&text, || try_it(plan))??;
    Ok(())
}

fn try_it(plan: &Plan) -> Result<(), ApplyError> {
    let failed = |error| ApplyError::Load { name: plan.name.clone(), error };
    table::load(SOMEBODYS.as_bytes()).map_err(failed)?;
    let before = others().map_err(ApplyError::List)?;
    table::load(&plan.rules).map_err(failed)?;
    if others().map_err(ApplyError::List)? != before {
        return Err(ApplyError::OtherTables { name: plan.name.clone() });
    }
    if !table::names().map_err(ApplyError::List)?.iter().any(|name| name == TABLE) {
        return Err(ApplyError::NoTable { name: plan.name.clone() });
    }
    Ok(())
}

/// All tables but ours.
fn others() -> Result<BTreeMap<String, Vec<u8>>, ProgramError> {
    let names = table::names()?.into_iter().filter(|name| name != TABLE);
    names.map(|name| table::list(&name).map(|text| (name, text))).collect()
}
