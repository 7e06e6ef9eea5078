//! What no single crate can test. Everything lies in the test target, `it.rs`.
