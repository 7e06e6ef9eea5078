//! The gateway: what stands between a one-window system and the departments.
//!
//! The modules of the path stand in the order a query meets them: `listener` accepts a connection,
//! `caller` says who asks, `wire` reads what is asked, `answer` is the path itself, `department`
//! runs the adapter, `endpoint` touches the department, `record` proves what is durable, and
//! `respond` writes what may be said.

pub mod author;
pub mod cli;
pub mod config;
pub mod demo;
pub mod development;

pub mod listener;
pub mod caller;
pub mod trust;
pub mod operator;
pub mod wire;
pub mod answer;
pub mod admitted;
pub mod department;
pub mod endpoint;
mod release;
pub mod record;
pub mod replay;
pub mod resource;
pub mod respond;
pub mod tiles;

pub mod admin;
pub mod counts;
pub mod drain;
pub mod candidate;
pub mod gateway;
pub mod live;
pub mod telemetry;
