//! What the civil registry's callers feel while social insurance hangs, is slow, is switched off or
//! comes back.
//!
//! Social insurance has a slot for each of its callers, so that where it hangs all of their first
//! questions do so for the whole deadline; then its breaker opens and they are refused, but for a
//! probe at times.

use std::sync::Arc;
use std::time::Duration;

use tokio::process::Command;
use tokio::time::sleep;

use crate::client::Door;
use crate::fixture::Fixture;
use crate::gateway::{Gateway, Shape};
use crate::load::{Load, Measured, Window, measure, median};
use crate::question::{Question, Sample};
use crate::{Arguments, Failure};

/// How the neighbour is. Its callers wait as long as a refusal says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Neighbour {
    /// There is none: the civil registry is alone.
    Absent,
    Hangs,
    /// It hangs, and its callers ask again at once, which also loads the processor.
    HangsImpatient,
    Slow,
    SwitchedOff,
    /// It hangs, and is well again after a third of the time.
    ComesBack,
}

impl Neighbour {
    const ALL: [Self; 6] = [
        Self::Absent,
        Self::Hangs,
        Self::HangsImpatient,
        Self::Slow,
        Self::SwitchedOff,
        Self::ComesBack,
    ];

    fn title(self) -> &'static str {
        match self {
            Self::Absent => "alone",
            Self::Hangs => "beside one that hangs",
            Self::HangsImpatient => "the same, refused asks on",
            Self::Slow => "beside a slow one",
            Self::SwitchedOff => "beside one switched off",
            Self::ComesBack => "beside one that comes back",
        }
    }

    fn refused_pause(self) -> Duration {
        if self == Self::HangsImpatient { Duration::ZERO } else { RETRY_AFTER }
    }

    /// What is wrong with it at the beginning.
    fn fault(self) -> Option<&'static str> {
        match self {
            Self::Absent | Self::SwitchedOff => None,
            Self::Hangs | Self::HangsImpatient | Self::ComesBack => Some("hang"),
            Self::Slow => Some(SLOW),
        }
    }
}

/// What is there while it is measured.
struct Scene {
    fixture: Fixture,
    gateway: Gateway,
    ages: Arc<[Question]>,
    insured: Arc<[Question]>,
    time: Duration,
}

/// Measures and prints; true if every answer was right.
///
/// # Errors
/// Something does not start, or a connection breaks.
pub async fn run(arguments: &Arguments, sample: &Sample) -> Result<bool, Failure> {
    let fixture = Fixture::new(sample.today).await?;
    let shape = Shape { deadline_ms: DEADLINE_MS, ..Shape::with_slots(HANGING_CONNECTIONS) };
    let gateway = Gateway::start(&fixture, shape).await?;
    let ages: Arc<[Question]> = sample.ages().into();
    let insured: Arc<[Question]> = sample.insured_whatever_comes().into();
    let time = Duration::from_secs(arguments.seconds);
    let scene = Scene { fixture, gateway, ages, insured, time };
    let mut table: [Vec<Measured>; 6] = Default::default();
    let mut wrong = 0;
    for _ in 0..arguments.rounds {
        for (neighbour, rounds) in Neighbour::ALL.into_iter().zip(&mut table) {
            let (measured, wrong_beside) = scene.measure(neighbour).await?;
            wrong += measured.wrong + wrong_beside;
            rounds.push(measured);
        }
    }
    print(arguments, &table);
    let hung = scene.fixture.departments.in_flight_peak("social-insurance").await?;
    println!("most questions hanging at once: {hung}");
    Ok(wrong == 0)
}

impl Scene {
    /// The civil registry beside such a neighbour, and how many of the neighbour's answers were
    /// neither a fault nor a refusal.
    async fn measure(&self, neighbour: Neighbour) -> Result<(Measured, u64), Failure> {
        let asking = self.load(&self.ages, ASKING_CONNECTIONS, (Duration::ZERO, ASKING_PACE));
        let process = &self.gateway.process;
        if neighbour == Neighbour::Absent {
            return Ok((measure(asking, process, self.time).await?, 0));
        }
        let departments = &self.fixture.departments;
        if let Some(fault) = neighbour.fault() {
            departments.set_fault("social-insurance", fault).await?;
        }
        if neighbour == Neighbour::SwitchedOff {
            self.act("kill").await?;
        }
        let pauses = (neighbour.refused_pause(), Duration::ZERO);
        let beside = self.load(&self.insured, HANGING_CONNECTIONS, pauses);
        let clients = beside.open().await?;
        // A second longer than the measurement, which then never sees the neighbour leave.
        let window = Window::next(self.time + Duration::from_secs(1));
        let beside = tokio::spawn(beside.run(clients, window));
        let measuring = measure(asking, process, self.time);
        let measured = if neighbour == Neighbour::ComesBack {
            let well_again = async {
                sleep(self.time / 3).await;
                departments.clear_faults().await
            };
            let (measured, cleared) = tokio::join!(measuring, well_again);
            cleared?;
            measured?
        } else {
            measuring.await?
        };
        let seen = beside.await??;
        if let Some(first) = seen.first_wrong {
            eprintln!("wrong answer of the neighbour: {first}");
        }
        if neighbour == Neighbour::SwitchedOff {
            self.act("revive").await?;
        }
        departments.clear_faults().await?;
        self.until_recovered().await?;
        Ok((measured, seen.wrong))
    }

    /// Has the gateway's operator do something with social insurance.
    async fn act(&self, what: &str) -> Result<(), Failure> {
        let mut command = Command::new(&self.fixture.program);
        command.arg(what).arg(&self.gateway.config).arg("social-insurance").kill_on_drop(true);
        let output = command.output().await?;
        if output.status.success() {
            return Ok(());
        }
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        Err(format!("jumpgate {what} failed: {said}").into())
    }

    fn load(
        &self,
        questions: &Arc<[Question]>,
        connections: u16,
        (refused_pause, pace): (Duration, Duration),
    ) -> Load {
        Load {
            door: self.fixture.door(self.gateway.addresses, true),
            questions: questions.clone(),
            connections: connections.into(),
            refused_pause,
            pace,
        }
    }

    /// Asks until the neighbour has all its slots again, so that each round begins alike.
    async fn until_recovered(&self) -> Result<(), Failure> {
        let mut client = Door::clear(self.gateway.addresses.clear).open().await?;
        let mut request = Vec::new();
        let mut answers = 0;
        for question in self.insured.iter().take(RECOVERY_TRIES_MAX) {
            question.write(&mut request);
            if client.exchange(&request).await?.status == 200 {
                answers += 1;
            } else {
                sleep(RETRY_AFTER).await;
            }
            if answers == PROBES_TO_CLOSE + usize::from(HANGING_CONNECTIONS) {
                return Ok(());
            }
        }
        Err("social insurance does not recover".into())
    }
}

fn print(arguments: &Arguments, table: &[Vec<Measured>; 6]) {
    let Arguments { rounds, seconds, .. } = arguments;
    println!(
        "civil registry: {ASKING_CONNECTIONS} connections; social insurance: \
         {HANGING_CONNECTIONS} connections, deadline {DEADLINE_MS} ms"
    );
    println!("mutual TLS, median of {rounds} rounds of {seconds} s");
    println!();
    println!(
        "{:<28}{:>11}{:>10}{:>10}{:>9}",
        "civil registry", "queries/s", "p50 ms", "p99 ms", "p99 x"
    );
    let alone = &table[0];
    for (neighbour, rounds) in Neighbour::ALL.into_iter().zip(table) {
        let of = |figure: fn(&Measured) -> f64| median(rounds.iter().map(figure));
        let ratio = median(rounds.iter().zip(alone).map(|(now, alone)| now.p99_ms / alone.p99_ms));
        println!(
            "{:<28}{:>11.0}{:>10.2}{:>10.2}{ratio:>9.2}",
            neighbour.title(),
            of(|m| m.per_second),
            of(|m| m.p50_ms),
            of(|m| m.p99_ms)
        );
    }
    println!("goal: at most 1.20, but where the refused ask on at once");
}

const ASKING_CONNECTIONS: u16 = 16;
/// About 1,000 questions a second, a third of what two cores can: a neighbour that is well asks for
/// processor too, and that is no fault of its protection.
const ASKING_PACE: Duration = Duration::from_millis(16);
const HANGING_CONNECTIONS: u16 = 64;
const DEADLINE_MS: u64 = 1_000;
/// Far from well, and within the deadline.
const SLOW: &str = "slow:500";
/// What a refusal by an open breaker says at first.
const RETRY_AFTER: Duration = Duration::from_secs(1);
/// The default of a department's breaker.
const PROBES_TO_CLOSE: usize = 2;
/// An answer for each slot, and a minute: far more than the longest rest.
const RECOVERY_TRIES_MAX: usize = 130;
