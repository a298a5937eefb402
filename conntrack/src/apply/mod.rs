//! Puts rules in force, and takes them back unless somebody says yes: no answer, a terminal that goes away,
//! and being killed are all no.
//!
//! | module | what it does |
//! |---|---|
//! | `check` | that the rules load, and touch no table but ours |
//! | `foreseen` | what of a recording they would refuse |
//! | `state` | the files that whoever takes rules back needs |
//! | `table` | our table: what it is now, and how it becomes that again |
//! | `guard` | takes the rules back, as a process of its own and as a timer of systemd |
//! | [`keep`] | how to keep rules over a reboot |
//!
//! First come rules that learn and refuse nothing, for a while: netfilter gets to know the connections that
//! are open only while something tracks them.

mod check;
mod error;
mod foreseen;
pub mod guard;
pub mod keep;
mod plan;
mod state;
mod table;

use std::{thread, time::Duration};

pub use self::{error::ApplyError, foreseen::refused, plan::Plan};
use self::{guard::Guard, state::State, table::Table};

/// How it ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ended {
    /// Somebody said yes.
    Kept,
    /// Nobody did.
    TakenBack,
}

/// What is told on the way.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Step {
    /// Rules that refuse nothing are in force for a while.
    Learning(Duration),
    /// The rules are in force.
    InForce,
}

/// Puts rules in force, and asks whether to keep them.
///
/// # Errors
/// Rules that do not load, or touch other tables, or could not be taken back.
pub fn apply(
    plan: &Plan,
    tell: impl Fn(Step),
    ask: impl FnOnce(Duration) -> bool,
) -> Result<Ended, ApplyError> {
    check::only_our_table(plan)?;
    let before = Table::read().map_err(ApplyError::List)?;
    let mut state =
        State::write(&table::undo(before.as_ref()), &plan.rules).map_err(ApplyError::Guard)?;
    let guard = Guard::start(&state, plan.learn + plan.confirm).map_err(ApplyError::Guard)?;
    let put_in_force = || {
        if before.is_none() && !plan.learn.is_zero() {
            state.load_learning()?;
            tell(Step::Learning(plan.learn));
            thread::sleep(plan.learn);
        }
        state.load_rules()
    };
    let is_kept = put_in_force().map(|()| {
        tell(Step::InForce);
        ask(plan.confirm)
    });
    if matches!(is_kept, Ok(true)) && guard.call_off() {
        state.keep().map_err(ApplyError::Guard)?;
        return Ok(Ended::Kept);
    }
    state.release();
    guard.take_back().map_err(ApplyError::Guard)?;
    let failed = |error| ApplyError::Load { name: plan.name.clone(), error };
    is_kept.map(|_| Ended::TakenBack).map_err(failed)
}

/// Goes back to what was there before rules were kept; false where there is nothing of ours.
///
/// # Errors
/// What `nft` says.
pub fn undo() -> Result<bool, ApplyError> {
    let before = state::kept();
    if before.is_err() && Table::read().map_err(ApplyError::List)?.is_none() {
        return Ok(false);
    }
    let script = before.unwrap_or_else(|_| table::undo(None));
    table::load(&script).map_err(ApplyError::Undo)?;
    state::forget_kept();
    Ok(true)
}
