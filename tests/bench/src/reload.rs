//! What callers feel while the gateway's configuration is reloaded under them.

use std::sync::Arc;
use std::time::Duration;

use tokio::process::Command;
use tokio::time::{MissedTickBehavior, interval};

use crate::fixture::Fixture;
use crate::gateway::{Gateway, Shape};
use crate::load::{Load, Measured, measure, median};
use crate::question::{Question, Sample};
use crate::{Arguments, Failure};

/// Measures and prints; true if every answer was right.
///
/// # Errors
/// Something does not start, a connection breaks, or a reload does not come into force.
pub async fn run(arguments: &Arguments, sample: &Sample) -> Result<bool, Failure> {
    let fixture = Fixture::new(sample.today).await?;
    let gateway = Gateway::start(&fixture, Shape::with_slots(CONNECTIONS)).await?;
    let ages: Arc<[Question]> = sample.ages().into();
    let time = Duration::from_secs(arguments.seconds);
    let load = || Load {
        door: fixture.door(gateway.addresses, true),
        questions: ages.clone(),
        connections: CONNECTIONS.into(),
        refused_pause: Duration::ZERO,
        pace: PACE,
    };
    let (mut rest, mut reloading, mut reloads) = (Vec::new(), Vec::new(), 0);
    for _ in 0..arguments.rounds {
        rest.push(measure(load(), &gateway.process, time).await?);
        let measured = async { measure(load(), &gateway.process, time).await };
        tokio::select! {
            measured = measured => reloading.push(measured?),
            failure = reload_again_and_again(&fixture, &gateway, &mut reloads) => {
                return Err(failure);
            }
        }
    }
    print(arguments, &rest, &reloading, reloads);
    Ok(rest.iter().chain(&reloading).all(|measured| measured.wrong == 0))
}

/// Changes the configuration and reloads it, until it fails.
async fn reload_again_and_again(
    fixture: &Fixture,
    gateway: &Gateway,
    reloads: &mut u32,
) -> Failure {
    let mut ticks = interval(RELOADS_APART);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Skip);
    loop {
        ticks.tick().await;
        if let Err(failure) = reload(fixture, gateway, *reloads).await {
            return failure;
        }
        *reloads += 1;
    }
}

async fn reload(fixture: &Fixture, gateway: &Gateway, number: u32) -> Result<(), Failure> {
    // Another limit each time, so that each reload is one.
    let text = tokio::fs::read_to_string(&gateway.config).await?;
    let (old, new) = ("in_flight_max = ", 4096 + number % 1000);
    let lines = text
        .lines()
        .map(|line| if line.starts_with(old) { format!("{old}{new}") } else { line.to_owned() });
    tokio::fs::write(&gateway.config, lines.collect::<Vec<_>>().join("\n")).await?;
    let mut command = Command::new(&fixture.program);
    let output = command.arg("reload").arg(&gateway.config).kill_on_drop(true).output().await?;
    if output.status.success() {
        return Ok(());
    }
    Err(format!("a reload failed: {}", String::from_utf8_lossy(&output.stdout)).into())
}

fn print(arguments: &Arguments, rest: &[Measured], reloading: &[Measured], reloads: u32) {
    let Arguments { rounds, seconds, .. } = arguments;
    println!("mutual TLS, {CONNECTIONS} connections, median of {rounds} rounds of {seconds} s");
    println!("{reloads} reloads, one every {RELOADS_APART:?}");
    println!();
    println!("{:<12}{:>11}{:>10}{:>10}{:>9}", "", "queries/s", "p50 ms", "p99 ms", "wrong");
    for (title, rounds) in [("at rest", rest), ("reloading", reloading)] {
        let of = |figure: fn(&Measured) -> f64| median(rounds.iter().map(figure));
        let wrong: u64 = rounds.iter().map(|measured| measured.wrong).sum();
        println!(
            "{title:<12}{:>11.0}{:>10.2}{:>10.2}{wrong:>9}",
            of(|m| m.per_second),
            of(|m| m.p50_ms),
            of(|m| m.p99_ms)
        );
    }
    let pairs = rest.iter().zip(reloading).map(|(rest, now)| now.p99_ms / rest.p99_ms);
    println!("p99 x {:.2}; goal: at most 2.00, and none wrong", median(pairs));
}

const CONNECTIONS: u16 = 16;
/// About 2,000 questions a second over all connections.
const PACE: Duration = Duration::from_millis(7);
/// Far more often than anybody reloads.
const RELOADS_APART: Duration = Duration::from_millis(500);
