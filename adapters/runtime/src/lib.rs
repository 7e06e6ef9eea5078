//! Runs adapters: one engine, one fresh instance for every step, a limit on everything.
//!
//! Owns the sandbox. It compiles and checks components, runs one step at a time and reports what
//! the step used. It performs no IO but reading components and its own cache of compiled artefacts,
//! and no text an adapter makes leaves it except in author tools' reports.

mod begun;
mod bindings;
mod cache;
mod engine;
mod evaluation;
mod limits;
mod load;

pub use bindings::exports::jumpgate::adapter::adapter as contract;
pub use cache::{Cache, CacheFault};
pub use engine::{Runtime, RuntimeFault};
pub use evaluation::{AdapterFault, Evaluation, Given, Position, Step, Usage};
pub use limits::Limits;
pub use load::{Adapter, LoadFault, Manifest};

/// The adapter contract this runtime speaks.
pub const CONTRACT_VERSION: &str = "1.0.0";
