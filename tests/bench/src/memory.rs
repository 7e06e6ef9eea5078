//! Memory of the gateway with 10,000 idle connections over mutual TLS and, beside them, 1,000
//! questions in flight.

use std::process::Command;
use std::sync::Arc;
use std::time::Duration;

use tokio::task::JoinSet;
use tokio::time::{interval, timeout};

use crate::Failure;
use crate::client::{Client, ClientFault, Door};
use crate::fixture::Fixture;
use crate::gateway::{Gateway, Shape};
use crate::question::{Question, Sample};

/// Measures and prints; true if every answer was right.
///
/// # Errors
/// The limit of open files is too low, something does not start, or a connection breaks.
pub async fn run(sample: &Sample) -> Result<bool, Failure> {
    raise_open_files()?;
    let fixture = Fixture::new(sample.today).await?;
    timeout(TIME_MAX, fill(&fixture, sample)).await.map_err(|_| "it took too long")?
}

async fn fill(fixture: &Fixture, sample: &Sample) -> Result<bool, Failure> {
    let shape = Shape {
        deadline_ms: 10_000,
        head_timeout_ms: HEAD_TIMEOUT_MS,
        ..Shape::with_slots(CONCURRENCY_MAX)
    };
    let gateway = Gateway::start(fixture, shape).await?;
    let door = fixture.door(gateway.addresses, true);
    let started_mib = gateway.process.resident_mib()?;
    let _idle = open_all(&door, IDLE_CONNECTIONS).await?;
    let asking = open_all(&door, QUESTIONS).await?;
    let idle_mib = gateway.process.resident_mib()?;
    fixture.departments.set_fault("civil-registry", SLOW).await?;
    let (_asked, wrong, peak_mib) = ask_all(&gateway, asking, sample.ages().into()).await?;
    let in_flight = fixture.departments.in_flight_peak("civil-registry").await?;
    let connections = gateway.connections().await?;
    println!("{:<58}{:>9}", "gateway, resident memory", "MiB");
    println!("{:<58}{started_mib:>9.0}", "started, no connection");
    let title = format!("{} connections over mutual TLS, idle", IDLE_CONNECTIONS + QUESTIONS);
    println!("{title:<58}{idle_mib:>9.0}");
    let title = format!("{QUESTIONS} of them with a question in flight, peak");
    println!("{title:<58}{peak_mib:>9.0}");
    let each_kib = (idle_mib - started_mib) * 1024.0 / (IDLE_CONNECTIONS + QUESTIONS) as f64;
    println!("{each_kib:.1} KiB a connection (goal: less than 400 MiB in all)");
    println!("at the department at the same moment: {in_flight}; wrong answers: {wrong}");
    println!("connections open at the end: {connections}");
    let is_whole = connections == (IDLE_CONNECTIONS + QUESTIONS) as u64;
    if !is_whole || in_flight < QUESTIONS as u64 {
        return Err("the load was not what it should be".into());
    }
    Ok(wrong == 0)
}

/// Each makes one request, so that its buffers are what a connection in use has.
async fn open_all(door: &Door, count: usize) -> Result<Vec<Client>, Failure> {
    let mut opening = JoinSet::new();
    let mut clients = Vec::with_capacity(count);
    for _ in 0..count {
        if opening.len() == OPENING_MAX
            && let Some(opened) = opening.join_next().await
        {
            clients.push(opened??);
        }
        let door = door.clone();
        opening.spawn(async move {
            let mut client = door.open().await?;
            client.exchange(b"GET /healthz HTTP/1.1\r\nhost: gateway\r\n\r\n").await?;
            Ok::<_, ClientFault>(client)
        });
    }
    while let Some(opened) = opening.join_next().await {
        clients.push(opened??);
    }
    Ok(clients)
}

/// Asks on every connection at once; the connections, wrong answers and the most memory seen.
async fn ask_all(
    gateway: &Gateway,
    clients: Vec<Client>,
    questions: Arc<[Question]>,
) -> Result<(Vec<Client>, u64, f64), Failure> {
    let mut asking = JoinSet::new();
    for (number, mut client) in clients.into_iter().enumerate() {
        let questions = questions.clone();
        asking.spawn(async move {
            let question = &questions[number % questions.len()];
            let mut request = Vec::new();
            question.write(&mut request);
            let is_right = question.is_answered_by(&client.exchange(&request).await?);
            Ok::<_, ClientFault>((client, is_right))
        });
    }
    let (mut answered, mut wrong, mut peak_mib) = (Vec::new(), 0, 0.0_f64);
    let mut look = interval(Duration::from_millis(100));
    loop {
        tokio::select! {
            _ = look.tick() => peak_mib = peak_mib.max(gateway.process.resident_mib()?),
            ended = asking.join_next() => match ended {
                None => break,
                Some(ended) => {
                    let (client, is_right) = ended??;
                    wrong += u64::from(!is_right);
                    answered.push(client);
                }
            },
        }
    }
    Ok((answered, wrong, peak_mib))
}

/// Raises the limit of open files for this process and those it starts.
fn raise_open_files() -> Result<(), Failure> {
    let own = std::process::id().to_string();
    let raised = Command::new("prlimit")
        .args(["--pid", &own, &format!("--nofile={OPEN_FILES_MIN}:")])
        .status();
    if raised.is_ok_and(|status| status.success()) {
        return Ok(());
    }
    let mend = format!("run `ulimit -n {OPEN_FILES_MIN}` first; it may need `ulimit -Hn` raised");
    Err(mend.into())
}

const IDLE_CONNECTIONS: usize = 10_000;
const QUESTIONS: usize = 1_000;
/// The most that admission allows.
const CONCURRENCY_MAX: u16 = 1_024;
const SLOW: &str = "slow:2000";
/// Longer than the scenario: what is measured is connections that stay.
const HEAD_TIMEOUT_MS: u64 = 600_000;
/// The gateway's connections to both sides, and room for its files.
const OPEN_FILES_MIN: u64 = 13_000;
/// Handshakes at the same moment; more only queue for two cores.
const OPENING_MAX: usize = 64;
const TIME_MAX: Duration = Duration::from_secs(180);
