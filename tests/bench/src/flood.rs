//! What a million refusals leave in the query log: callers over their allotment, and malformed
//! questions.

use std::sync::Arc;
use std::time::Instant;

use tokio::task::JoinSet;

use crate::Failure;
use crate::client::{Client, ClientFault};
use crate::fixture::Fixture;
use crate::gateway::{Gateway, Shape};
use crate::question::{Question, Sample};

/// Measures and prints; true if every answer was the refusal that it should be.
///
/// # Errors
/// Something does not start, or a connection breaks.
pub async fn run(sample: &Sample) -> Result<bool, Failure> {
    let fixture = Fixture::new(sample.today).await?;
    let shape = Shape { caller_per_day: 1, ..Shape::with_slots(CONNECTIONS) };
    let gateway = Gateway::start(&fixture, shape).await?;
    let door = fixture.door(gateway.addresses, true);
    let questions: Arc<[Question]> = sample.flood().into();
    // The day's one question.
    let mut request = Vec::new();
    questions[0].write(&mut request);
    door.open().await?.exchange(&request).await?;

    let before = read(&gateway).await?;
    let (cpu, begun) = (gateway.process.cpu()?, Instant::now());
    let mut flooding = JoinSet::new();
    for _ in 0..CONNECTIONS {
        flooding.spawn(flood(door.open().await?, Arc::clone(&questions)));
    }
    let mut wrong = 0;
    while let Some(ended) = flooding.join_next().await {
        wrong += ended??;
    }
    let (took, spent) = (begun.elapsed(), gateway.process.cpu()? - cpu);
    let after = read(&gateway).await?;
    let entries = after.entries - before.entries;
    println!("mutual TLS, {CONNECTIONS} connections, half of the questions over the allotment");
    println!("{:<42}{REFUSALS:>12}", "refusals");
    println!("{:<42}{:>12.0}", "refusals a second", REFUSALS as f64 / took.as_secs_f64());
    println!("{:<42}{:>12.1}", "CPU a refusal, us", spent.as_secs_f64() * 1e6 / REFUSALS as f64);
    println!("{:<42}{entries:>12}", "entries in the log");
    println!(
        "{:<42}{:>12}",
        "bytes in the log (goal: below 1,000,000)",
        after.bytes - before.bytes
    );
    println!("{:<42}{wrong:>12}", "wrong answers");
    Ok(wrong == 0)
}

/// Sends one connection's share; returns how many replies were wrong.
async fn flood(mut client: Client, questions: Arc<[Question]>) -> Result<u64, ClientFault> {
    let (mut request, mut wrong) = (Vec::new(), 0);
    for question in questions.iter().cycle().take(REFUSALS / usize::from(CONNECTIONS)) {
        question.write(&mut request);
        let reply = client.exchange(&request).await?;
        wrong += u64::from(!question.is_answered_by(&reply));
    }
    Ok(wrong)
}

/// What the log has written.
struct Written {
    entries: u64,
    bytes: u64,
}

async fn read(gateway: &Gateway) -> Result<Written, Failure> {
    let figure = async |reading: &str| {
        gateway.metric(&format!("jumpgate_log{{reading=\"{reading}\"}} ")).await
    };
    Ok(Written { entries: figure("entries").await?, bytes: figure("bytes").await? })
}

const REFUSALS: usize = 1_000_000;
const CONNECTIONS: u16 = 32;
