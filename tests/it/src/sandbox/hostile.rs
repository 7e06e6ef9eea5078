//! The hostile component, and one question run through it with every request answered alike.

use jumpgate_catalogue::Finding;
use jumpgate_runtime::{
    Adapter, AdapterFault, Evaluation, Given, Limits, Runtime, Step, Usage, contract,
};
use tokio::sync::OnceCell;

use crate::harness::parts;

pub const CONTENT_TYPE: &str = "text/plain";

/// How a question ended, and what its steps used.
pub struct Run {
    pub end: Result<Finding, AdapterFault>,
    pub usages: Vec<Usage>,
}

/// The component's bytes; built the first time.
pub async fn hostile() -> &'static [u8] {
    static BYTES: OnceCell<Vec<u8>> = OnceCell::const_new();
    let read = async || std::fs::read(component().await).unwrap();
    BYTES.get_or_init(read).await
}

/// The component's file.
pub async fn component() -> &'static std::path::Path {
    static BUILT: OnceCell<std::path::PathBuf> = OnceCell::const_new();
    BUILT.get_or_init(async || parts::component("tests/guests/hostile").await).await
}

/// Loads a component into an engine of its own.
pub fn load(slots: u32, bytes: &[u8]) -> Adapter {
    Adapter::load(&Runtime::new(Limits::default(), slots).unwrap(), None, bytes).unwrap()
}

/// A question `hostile/<attack>@1`.
pub fn given(attack: &str) -> Given {
    Given {
        predicate: format!("hostile/{attack}"),
        version: 1,
        parameters: Vec::new(),
        subject_kind: "passport".to_owned(),
        as_of: contract::Date { year: 2026, month: 5, day: 12 },
        subject: None,
    }
}

/// Asks `hostile/<attack>@1`, answering every request with `record`.
pub fn run(adapter: &Adapter, attack: &str, record: &[u8]) -> Run {
    to_the_end(adapter.evaluate(given(attack)), record)
}

/// The same, with leave to keep the first step.
pub fn run_keeping(adapter: &Adapter, attack: &str, record: &[u8]) -> Run {
    to_the_end(adapter.evaluate(given(attack)).keeping_first(), record)
}

fn to_the_end(mut evaluation: Evaluation, record: &[u8]) -> Run {
    let mut usages = Vec::new();
    let mut replies = Vec::new();
    loop {
        let before = evaluation.steps();
        let step = evaluation.step(&replies);
        if evaluation.steps() > before {
            usages.extend(evaluation.usage());
        }
        match step {
            Ok(Step::Finding(finding)) => return Run { end: Ok(finding), usages },
            Err(fault) => return Run { end: Err(fault), usages },
            Ok(Step::Fetch(items)) => {
                replies = items.iter().map(|_| reply(record)).collect();
            }
        }
    }
}

fn reply(body: &[u8]) -> contract::Reply {
    contract::Reply::Http(contract::HttpReply {
        status: 200,
        content_type: CONTENT_TYPE.to_owned(),
        body: body.to_owned(),
    })
}
