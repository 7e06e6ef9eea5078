//! What an adapter author needs: a trait of two functions, requests with a hole for the subject,
//! readers for SOAP and JSON replies, civil dates, code lists, and one macro.
//!
//! Owns the guest side of `spec/adapter/1.0/adapter.wit`. It performs no IO, imports nothing, reads
//! no clock and keeps nothing between two steps. It never panics on what a department sends.
//!
//! `README.md` shows a whole adapter and how to record cases for it.

#[cfg(doctest)]
#[doc = include_str!("../README.md")]
struct Readme;

mod adapter;
#[cfg(any(target_arch = "wasm32", test))]
mod arena;
#[doc(hidden)]
pub mod bindings;
mod civil;
mod codes;
mod escape;
mod names;
mod reply;
mod request;
mod soap;
#[cfg(not(target_arch = "wasm32"))]
pub mod testing;
mod xml;

pub use adapter::{Adapter, Exported, Manifest, Query, Step, Stop};
pub use bindings::exports::jumpgate::adapter::adapter::{
    Escaping, Failure, FailureCode, Finding, Position, Reason,
};
pub use civil::{Date, Month, months_between, whole_years};
pub use codes::{MaritalStatus, Sex, in_division};
pub use names::names_match;
pub use reply::{Replies, Reply};
pub use request::{Form, JsonObject, Path, Request};
pub use soap::{Soap11, Xml};
pub use xml::{Document, Element};

/// Makes the crate a component that answers with `$adapter`, a type that implements [`Adapter`].
///
/// Does nothing outside WebAssembly, where the exported names could not be linked.
#[macro_export]
macro_rules! export {
    ($adapter:ty) => {
        #[cfg(target_arch = "wasm32")]
        #[allow(unsafe_code, reason = "the canonical ABI's exported functions take raw addresses")]
        const _: () = {
            type Component = $crate::Exported<$adapter>;
    $crate::bindings::export!(Component with_types_in $crate::bindings);
        };
    };
}
