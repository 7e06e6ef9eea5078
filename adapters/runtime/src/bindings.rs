//! Types generated from `spec/adapter/1.0/adapter.wit`.
#![expect(missing_docs, reason = "the contract's own file documents every item")]

wasmtime::component::bindgen!({
    path: "../../spec/adapter/1.0",
    world: "jumpgate-adapter",
    additional_derives: [PartialEq, Eq, Hash],
});
