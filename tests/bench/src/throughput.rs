//! Jumpgate against nginx: the same record, department, load and cores.

use std::sync::Arc;
use std::time::Duration;

use clap::ValueEnum;

use crate::fixture::{Addresses, Fixture};
use crate::gateway::{Gateway, Shape};
use crate::load::{Load, Measured, measure, median};
use crate::nginx::{Job, Nginx};
use crate::process::Process;
use crate::question::{Question, Sample};
use crate::{Arguments, Failure};

/// Who is measured.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Contender {
    /// Jumpgate with everything on and every entry synced.
    A,
    /// The same, each answer waiting for its proof; over TLS only.
    P,
    /// nginx with the same job by hand in Lua and a buffered log line.
    B,
    /// nginx handing the department's own SOAP through.
    C,
}

impl Contender {
    fn title(self) -> &'static str {
        match self {
            Self::A => "a  Jumpgate, log durable",
            Self::P => "p  the same, proof inline",
            Self::B => "b  nginx + Lua by hand",
            Self::C => "c  nginx, bare SOAP hop",
        }
    }
}

/// A contender that runs.
struct Running {
    contender: Contender,
    process: Process,
    addresses: Addresses,
    questions: Arc<[Question]>,
}

/// Measures and prints; true if every answer was right.
///
/// # Errors
/// Something does not start, or a connection breaks.
pub async fn run(arguments: &Arguments, sample: &Sample) -> Result<bool, Failure> {
    let fixture = Fixture::new(sample.today).await?;
    let mut contenders = Vec::new();
    for contender in [Contender::A, Contender::P, Contender::B, Contender::C] {
        if arguments.only.contains(&contender) {
            contenders.push(start(contender, &fixture, arguments.connections, sample).await?);
        }
    }
    let Arguments { rounds, seconds, connections, .. } = arguments;
    println!("{connections} keep-alive connections, median of {rounds} rounds of {seconds} s");
    let both = arguments.tls == arguments.clear;
    let mut all_right = true;
    for is_tls in [true, false] {
        if both || arguments.tls == is_tls {
            let table = measure_all(arguments, &fixture, &contenders, is_tls).await?;
            print_table(is_tls, &contenders, &table);
            all_right &= table.iter().flatten().all(|measured| measured.wrong == 0);
        }
    }
    Ok(all_right)
}

async fn start(
    contender: Contender,
    fixture: &Fixture,
    connections: u16,
    sample: &Sample,
) -> Result<Running, Failure> {
    let (process, addresses, questions) = match contender {
        Contender::A | Contender::P => {
            let proof_inline = contender == Contender::P;
            let shape = Shape { proof_inline, ..Shape::with_slots(connections) };
            let Gateway { process, addresses, .. } = Gateway::start(fixture, shape).await?;
            (process, addresses, sample.ages())
        }
        Contender::B => {
            let Nginx { process, addresses } = Nginx::start(fixture, Job::ByHand).await?;
            (process, addresses, sample.ages())
        }
        Contender::C => {
            let Nginx { process, addresses } = Nginx::start(fixture, Job::Bare).await?;
            (process, addresses, sample.envelopes())
        }
    };
    Ok(Running { contender, process, addresses, questions: questions.into() })
}

/// One column of rounds for each contender; a, b, c, a, b, c, so that what the machine does
/// meanwhile falls on all of them.
async fn measure_all(
    arguments: &Arguments,
    fixture: &Fixture,
    contenders: &[Running],
    is_tls: bool,
) -> Result<Vec<Vec<Measured>>, Failure> {
    let mut table: Vec<Vec<Measured>> = contenders.iter().map(|_| Vec::new()).collect();
    for _ in 0..arguments.rounds {
        for (running, rounds) in contenders.iter().zip(&mut table) {
            let load = Load {
                door: fixture.door(running.addresses, is_tls),
                questions: running.questions.clone(),
                connections: arguments.connections.into(),
                refused_pause: Duration::ZERO,
                pace: Duration::ZERO,
            };
            let time = Duration::from_secs(arguments.seconds);
            rounds.push(measure(load, &running.process, time).await?);
        }
    }
    Ok(table)
}

fn print_table(is_tls: bool, contenders: &[Running], table: &[Vec<Measured>]) {
    println!();
    println!(
        "{:<26}{:>12}{:>10}{:>10}{:>14}{:>8}",
        if is_tls { "mutual TLS" } else { "in clear" },
        "queries/s",
        "p50 ms",
        "p99 ms",
        "CPU us/query",
        "wrong"
    );
    for (running, rounds) in contenders.iter().zip(table) {
        let of = |figure: fn(&Measured) -> f64| median(rounds.iter().map(figure));
        println!(
            "{:<26}{:>12.0}{:>10.2}{:>10.2}{:>14.1}{:>8}",
            running.contender.title(),
            of(|m| m.per_second),
            of(|m| m.p50_ms),
            of(|m| m.p99_ms),
            of(|m| m.cpu_us),
            rounds.iter().map(|measured| measured.wrong).sum::<u64>()
        );
    }
    let rounds_of = |wanted| {
        let found = contenders.iter().position(|running| running.contender == wanted);
        found.map(|position| &table[position])
    };
    let Some(ours) = rounds_of(Contender::A) else { return };
    for (name, other) in [("a/b", Contender::B), ("a/c", Contender::C)] {
        let Some(theirs) = rounds_of(other) else { continue };
        let ratio = |figure: fn(&Measured) -> f64| {
            median(ours.iter().zip(theirs).map(|(a, other)| figure(a) / figure(other)))
        };
        let (throughput, cpu) = (ratio(|m| m.per_second), ratio(|m| m.cpu_us));
        println!("{name}: throughput x {throughput:.2}, CPU x {cpu:.2}");
    }
}
