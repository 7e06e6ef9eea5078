//! The whole gateway, in front of simulated departments, asked over real connections.

#![allow(missing_docs, reason = "a test's name says what it shows")]
#![allow(clippy::unwrap_used, clippy::panic, reason = "a test ends by panicking")]

mod harness;

mod admin;
mod admission;
mod callers;
mod config;
mod contracts;
mod crash;
mod disclosure;
mod drain;
mod evidence;
mod faults;
mod http;
mod interop;
mod ladder;
mod losses;
mod path;
mod peers;
mod sandbox;
mod tidy;
