//! What is kept of limits over restarts, in `{data_dir}/quota/`: what was used of budgets, and bans and
//! raises of keys.

mod budgets;
mod overrides;

pub use self::budgets::{Keeper, KeptBudgets};
pub use self::overrides::{NewChange, NewOverride, OverrideCounts, Overrides};
