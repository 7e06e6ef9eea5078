//! The load: a closed loop, each connection with one question at a time and the next as soon as the
//! reply is in. It shows what a machine can do; it says nothing about a rate that does not wait.

use std::sync::Arc;
use std::time::Duration;

use tokio::task::JoinSet;
use tokio::time::{Instant, sleep, sleep_until};

use crate::Failure;
use crate::client::{Client, ClientFault, Door};
use crate::histogram::Histogram;
use crate::process::Process;
use crate::question::{Question, REFUSED};

/// Who asks what.
pub struct Load {
    /// Where.
    pub door: Door,
    /// What, in turn; connections begin at different places.
    pub questions: Arc<[Question]>,
    /// How many connections.
    pub connections: usize,
    /// How long a connection waits after [`REFUSED`] before it asks again: this and, so that they
    /// do not all come back at the same moment, up to half as long again.
    pub refused_pause: Duration,
    /// Shortest time between two questions of a connection; zero asks on at once.
    pub pace: Duration,
}

/// What a load saw within its window.
pub struct Seen {
    /// Right and wrong answers together.
    pub latency: Histogram,
    /// Answers other than the right one.
    pub wrong: u64,
    /// What the first wrong answer was.
    pub first_wrong: Option<String>,
}

/// The time in which answers count.
#[derive(Debug, Clone, Copy)]
pub struct Window {
    from: Instant,
    until: Instant,
}

/// A measurement of one process under one load.
pub struct Measured {
    /// Answers a second.
    pub per_second: f64,
    /// Median, in milliseconds.
    pub p50_ms: f64,
    /// 99th percentile, in milliseconds.
    pub p99_ms: f64,
    /// Processor time of the process for one answer, in microseconds.
    pub cpu_us: f64,
    /// Answers other than the right one.
    pub wrong: u64,
}

/// Puts the load on the process for `time` and says what both did.
///
/// # Errors
/// A connection breaks, the process ends, or there was no answer.
pub async fn measure(load: Load, process: &Process, time: Duration) -> Result<Measured, Failure> {
    let clients = load.open().await?;
    let window = Window::next(time);
    let running = tokio::spawn(load.run(clients, window));
    sleep_until(window.from).await;
    let before = process.cpu()?;
    sleep_until(window.until).await;
    let spent = process.cpu()? - before;
    let seen = running.await??;
    if let Some(wrong) = &seen.first_wrong {
        eprintln!("wrong answer: {wrong}");
    }
    let answers = seen.latency.total();
    if answers == 0 {
        return Err("there was no answer at all".into());
    }
    Ok(Measured {
        per_second: answers as f64 / time.as_secs_f64(),
        p50_ms: millis(seen.latency.percentile(50.0)),
        p99_ms: millis(seen.latency.percentile(99.0)),
        cpu_us: spent.as_secs_f64() * 1e6 / answers as f64,
        wrong: seen.wrong,
    })
}

impl Window {
    /// The next `time`, after half a second in which connections, pools and caches get warm.
    pub fn next(time: Duration) -> Self {
        let from = Instant::now() + WARM_UP;
        Self { from, until: from + time }
    }
}

impl Load {
    /// Opens the connections.
    ///
    /// # Errors
    /// One cannot be opened.
    pub async fn open(&self) -> Result<Vec<Client>, ClientFault> {
        let mut clients = Vec::with_capacity(self.connections);
        for _ in 0..self.connections {
            clients.push(self.door.open().await?);
        }
        Ok(clients)
    }

    /// Asks until the window closes.
    ///
    /// # Errors
    /// A connection breaks.
    pub async fn run(self, clients: Vec<Client>, window: Window) -> Result<Seen, ClientFault> {
        let stride = self.questions.len() / clients.len().max(1);
        let mut running = JoinSet::new();
        for (number, client) in clients.into_iter().enumerate() {
            let first = number * stride;
            let pauses = (self.refused_pause, self.pace);
            running.spawn(ask(client, self.questions.clone(), first, pauses, window));
        }
        let mut all = Seen { latency: Histogram::new(), wrong: 0, first_wrong: None };
        while let Some(ended) = running.join_next().await {
            let seen = ended.map_err(std::io::Error::from)??;
            all.latency.merge(&seen.latency);
            all.wrong += seen.wrong;
            all.first_wrong = all.first_wrong.or(seen.first_wrong);
        }
        Ok(all)
    }
}

async fn ask(
    mut client: Client,
    questions: Arc<[Question]>,
    first: usize,
    (refused_pause, pace): (Duration, Duration),
    window: Window,
) -> Result<Seen, ClientFault> {
    let mut seen = Seen { latency: Histogram::new(), wrong: 0, first_wrong: None };
    let mut request = Vec::new();
    let spread = first as f64 / questions.len().max(1) as f64 / 2.0;
    let refused_pause = refused_pause.mul_f64(1.0 + spread);
    for question in questions.iter().cycle().skip(first) {
        question.write(&mut request);
        let asked = Instant::now();
        if asked >= window.until {
            break;
        }
        let reply = client.exchange(&request).await?;
        let answered = Instant::now();
        if !question.is_answered_by(&reply) {
            seen.wrong += 1;
            let quote = || {
                let start = &reply.body[..reply.body.len().min(QUOTE_BYTES_MAX)];
                format!("{} {}", reply.status, String::from_utf8_lossy(start))
            };
            seen.first_wrong.get_or_insert_with(quote);
        }
        if (window.from..window.until).contains(&answered) {
            seen.latency.record(answered - asked);
        }
        if reply.status == REFUSED && !refused_pause.is_zero() {
            sleep(refused_pause).await;
        }
        if !pace.is_zero() {
            sleep_until(asked + pace).await;
        }
    }
    Ok(seen)
}

/// A time in milliseconds.
pub fn millis(time: Duration) -> f64 {
    time.as_secs_f64() * 1e3
}

/// The middle one of an odd number of figures, the lower middle one of an even number; 0 of none.
pub fn median(figures: impl Iterator<Item = f64>) -> f64 {
    let mut figures: Vec<f64> = figures.collect();
    figures.sort_by(f64::total_cmp);
    figures.get(figures.len().saturating_sub(1) / 2).copied().unwrap_or_default()
}

const WARM_UP: Duration = Duration::from_millis(500);
/// Everybody asked about is invented, so a reply may be shown.
const QUOTE_BYTES_MAX: usize = 400;

#[cfg(test)]
mod tests {
    use super::median;

    #[test]
    fn a_median_is_one_of_the_figures() {
        assert_eq!(median([3.0, 1.0, 2.0].into_iter()), 2.0);
        assert_eq!(median([4.0, 1.0, 3.0, 2.0].into_iter()), 2.0);
        assert_eq!(median(std::iter::empty()), 0.0);
    }
}
