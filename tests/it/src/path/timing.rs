//! What can be told from the time that an answer takes.
//!
//! The test is Welch's t on two samples of times from the caller's side, as dudect does it
//! (Reparaz, Balasch, Verbauwhede, 2017): the slowest tenth is left out, and above 4.5 the two are
//! told apart. It must find a planted difference, or it proves nothing.

use std::time::{Duration, Instant};

use jumpgate_departments::Fault;
use jumpgate_querylog::Kind;

use crate::harness::questions::{WIDOW, age, name_matches};
use crate::harness::{Client, Harness, eventually};
use crate::http::assert_problem;

/// Nobody has this passport.
const NOBODY: &str = "E99999999";
/// A question about nobody takes the department a millisecond longer.
const PLANTED: &str = "slow:1";
const TOLD_APART: f64 = 4.5;
const BLOCK: usize = 50;
/// A busy machine needs some hundred pairs to see a millisecond.
const PAIRS_MAX: usize = 4_000;
/// Longer than an answer takes on a busy machine, most of the time.
const QUANTUM: Duration = Duration::from_millis(40);

#[tokio::test(flavor = "multi_thread")]
async fn that_nobody_is_known_is_told_by_time_without_a_quantum_and_not_with_one() {
    // A millisecond is the finest quantum there is, and as good as none.
    let harness = Harness::start().await;
    let mut client = harness.client("one-window").await;
    let mut times = Times::default();
    while times.t().abs() < TOLD_APART {
        assert!(times.known.len() < PAIRS_MAX, "a planted difference is not found: {}", times.t());
        times.measure(&harness, &mut client, BLOCK).await;
    }
    let needed = times.known.len();
    harness.finish().await;

    let harness = Harness::with(&format!(
        "[departments.civil-registry]\nresponse_quantum_ms = {}",
        QUANTUM.as_millis()
    ))
    .await;
    let mut client = harness.client("one-window").await;
    let mut times = Times::default();
    times.measure(&harness, &mut client, needed.clamp(2 * BLOCK, 8 * BLOCK)).await;
    let t = times.t();
    assert!(t.abs() < TOLD_APART, "t = {t} after {} pairs; {needed} without", times.known.len());
    assert!(times.all().all(|took| took >= QUANTUM), "none leaves before the first multiple");
    harness.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_answer_that_waits_holds_no_slot_and_has_no_entry_yet() {
    let quantum = Duration::from_secs(3);
    let harness = Harness::with(&format!(
        "[departments.civil-registry]\nresponse_quantum_ms = {}\n\
         [departments.civil-registry.protection]\nconcurrency_max = 1\nwaiting_max = 0",
        quantum.as_millis()
    ))
    .await;
    let mut first = harness.client("one-window").await;
    let asked = Instant::now();
    let waiting = tokio::spawn(async move { first.ask(&name_matches("不是", WIDOW)).await });
    let is_free = async || {
        let departments = harness.gateway().admission.departments();
        let civil = departments.iter().find(|at| at.department.as_str() == "civil-registry");
        civil.filter(|at| at.counts.ok == 1 && at.in_flight == 0).map(|_| ())
    };
    eventually("the department has answered", is_free).await;
    // The time in its entry is told to the caller, so it may not be made yet either.
    let answers = harness.records_of(Kind::Answer).len();
    assert!(answers == 0 || asked.elapsed() >= quantum, "an entry after {:?}", asked.elapsed());
    // A question whose time tells nothing more does not wait, and finds the slot free.
    let mut second = harness.client("one-window").await;
    assert_eq!(second.ask(&age(18, WIDOW)).await.says(), "yes");
    assert!(!waiting.is_finished() || asked.elapsed() >= quantum, "it does not wait");
    assert_eq!(waiting.await.unwrap().says(), "no");
    assert!(asked.elapsed() >= quantum);
    // What breaks may break sooner for one than for the other.
    harness.civil().faults().set("truncated".parse::<Fault>().unwrap()).unwrap();
    let asked = Instant::now();
    let broken = second.ask(&name_matches("不是", WIDOW)).await;
    assert_problem(&broken, 502, "department-reply-malformed");
    assert!(asked.elapsed() >= quantum);
    harness.finish().await;
}

/// How long answers took about somebody whose name is another, and about nobody.
#[derive(Default)]
struct Times {
    known: Vec<Duration>,
    nobody: Vec<Duration>,
}

impl Times {
    /// Asks so many pairs, each in the other order than the one before.
    async fn measure(&mut self, harness: &Harness, client: &mut Client, pairs: usize) {
        for pair in 0..pairs {
            for turn in 0..2 {
                if (pair + turn) % 2 == 0 {
                    self.known.push(took(client, WIDOW).await);
                } else {
                    harness.civil().faults().set(PLANTED.parse::<Fault>().unwrap()).unwrap();
                    self.nobody.push(took(client, NOBODY).await);
                    harness.civil().faults().clear();
                }
            }
        }
    }

    fn all(&self) -> impl Iterator<Item = Duration> {
        self.known.iter().chain(&self.nobody).copied()
    }

    /// Welch's t of what is left without the slowest tenth; 0 without times.
    fn t(&self) -> f64 {
        let mut all: Vec<Duration> = self.all().collect();
        all.sort_unstable();
        let Some(longest) = all.get(all.len() * 9 / 10) else { return 0.0 };
        let [known, nobody] = [&self.known, &self.nobody].map(|times| {
            let kept = times.iter().filter(|took| *took <= longest);
            let kept: Vec<f64> = kept.map(Duration::as_secs_f64).collect();
            let count = kept.len() as f64;
            let mean = kept.iter().sum::<f64>() / count;
            let squares = kept.iter().map(|took| (took - mean).powi(2)).sum::<f64>();
            (mean, squares / (count - 1.0) / count)
        });
        (known.0 - nobody.0) / (known.1 + nobody.1).sqrt()
    }
}

async fn took(client: &mut Client, passport: &str) -> Duration {
    let question = name_matches("不是", passport);
    let asked = Instant::now();
    let reply = client.ask(&question).await;
    let took = asked.elapsed();
    assert_eq!(reply.says(), "no", "{}", reply.json);
    took
}
