//! The contract's types and exported functions, generated from `spec/adapter/1.0/adapter.wit`.
//! Holds no code of ours.
#![allow(
    missing_docs,
    unsafe_code,
    reason = "generated: the canonical ABI passes addresses, and the contract carries the words"
)]

wit_bindgen::generate!({
    path: "../../spec/adapter/1.0",
    pub_export_macro: true,
    default_bindings_module: "jumpgate_adapter::bindings",
    additional_derives: [PartialEq],
});
