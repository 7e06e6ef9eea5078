//! What the civil registry's callers feel while social insurance hangs.
//!
//! The neighbour's breaker is kept from opening and its bulkhead holds every one of its callers, so
//! that all of their questions hang for the whole deadline: the worst that one department can do.

use std::sync::Arc;
use std::time::Duration;

use crate::fixture::Fixture;
use crate::gateway::{Gateway, Shape};
use crate::load::{Load, Measured, Window, measure, median};
use crate::question::{Question, Sample};
use crate::{Arguments, Failure};

/// Measures and prints; true if every answer was right.
///
/// # Errors
/// Something does not start, or a connection breaks.
pub async fn run(arguments: &Arguments, sample: &Sample) -> Result<bool, Failure> {
    let fixture = Fixture::new(sample.today).await?;
    let shape = Shape {
        deadline_ms: DEADLINE_MS,
        failures_max: FAILURES_MAX,
        ..Shape::with_slots(HANGING_CONNECTIONS)
    };
    let gateway = Gateway::start(&fixture, shape).await?;
    let time = Duration::from_secs(arguments.seconds);
    let ages: Arc<[Question]> = sample.ages().into();
    let hanging: Arc<[Question]> = sample.insured_of_a_hanging_department().into();
    let load = |questions: &Arc<[Question]>, connections: u16| Load {
        door: fixture.door(gateway.addresses, true),
        questions: questions.clone(),
        connections: connections.into(),
    };
    let (mut alone, mut beside) = (Vec::new(), Vec::new());
    let (mut hung, mut wrong) = (0, 0);
    for _ in 0..arguments.rounds {
        let asking = load(&ages, ASKING_CONNECTIONS);
        alone.push(measure(asking, &gateway.process, time).await?);
        fixture.departments.set_fault("social-insurance", "hang").await?;
        let neighbour = load(&hanging, HANGING_CONNECTIONS);
        let clients = neighbour.open().await?;
        // A second longer than the measurement, which then never sees the neighbour leave.
        let window = Window::next(time + Duration::from_secs(1));
        let neighbour = tokio::spawn(neighbour.run(clients, window));
        let asking = load(&ages, ASKING_CONNECTIONS);
        beside.push(measure(asking, &gateway.process, time).await?);
        let seen = neighbour.await??;
        hung += seen.latency.total();
        wrong += seen.wrong;
        if let Some(first) = seen.first_wrong {
            eprintln!("wrong answer of the neighbour: {first}");
        }
        fixture.departments.clear_faults().await?;
    }
    wrong += alone.iter().chain(&beside).map(|measured| measured.wrong).sum::<u64>();
    print(arguments, &alone, &beside, hung);
    Ok(wrong == 0)
}

fn print(arguments: &Arguments, alone: &[Measured], beside: &[Measured], hung: u64) {
    let Arguments { rounds, seconds, .. } = arguments;
    println!(
        "civil registry: {ASKING_CONNECTIONS} connections; social insurance hangs: \
         {HANGING_CONNECTIONS} connections, deadline {DEADLINE_MS} ms"
    );
    println!("mutual TLS, median of {rounds} rounds of {seconds} s");
    println!();
    println!("{:<26}{:>12}{:>10}{:>10}", "civil registry", "queries/s", "p50 ms", "p99 ms");
    for (title, rounds) in [("alone", alone), ("beside the neighbour", beside)] {
        let of = |figure: fn(&Measured) -> f64| median(rounds.iter().map(figure));
        println!(
            "{title:<26}{:>12.0}{:>10.2}{:>10.2}",
            of(|m| m.per_second),
            of(|m| m.p50_ms),
            of(|m| m.p99_ms)
        );
    }
    let ratio =
        median(alone.iter().zip(beside).map(|(alone, beside)| beside.p99_ms / alone.p99_ms));
    println!("p99 x {ratio:.2} beside {hung} questions that hung (goal: at most 1.2)");
}

const ASKING_CONNECTIONS: u16 = 16;
const HANGING_CONNECTIONS: u16 = 64;
const DEADLINE_MS: u64 = 1_000;
/// The most that admission allows: 64 failures a second for 15 seconds.
const FAILURES_MAX: u16 = 1_000;
