//! What an adapter's author needs: build a component, run it on recorded cases.
//!
//! Everything here reads recorded replies, never a department. It is the one place where an
//! adapter's own position texts are shown, because the records in cases are the author's.

mod build;
mod case;

pub use build::{BuildFault, Built, WASM_TARGET, build, cargo};
pub use case::{Case, CaseFault, CaseReport, cases_of, run};
