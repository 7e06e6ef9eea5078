//! The bench of attacks: what callers learn of birth dates who stop at nothing that is permitted,
//! of the real gateway, and beside it of a service that answers any question. `spec/disclosure.md`
//! shows its table.
//!
//! By default a few people are attacked, so that the tests stay short:
//! `JUMPGATE_ATTACKED=400 cargo test --release --test it disclosure::attacks -- --nocapture`
//! attacks as many as the page tells of.

use std::collections::BTreeMap;
use std::time::Instant;

use futures_util::future::{join, join_all};
use http::StatusCode;
use jiff::ToSpan;
use jiff::civil::{Date, date};
use jumpgate_departments::Person;
use serde_json::{Value, json};

use super::exact::set_day;
use super::number;
use crate::harness::exact::exact;
use crate::harness::questions::{age, but};
use crate::harness::{Client, Harness, Setup, TODAY};

const AGES: [i64; 6] = [14, 16, 18, 22, 60, 65];
const YEARS: i64 = 5;
const BATCH: usize = 16;
/// Connections of each caller.
const LANES: usize = 8;

/// The most questions that are asked about one person on one day, in the order of the attack.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Attack {
    /// Every age that is not settled yet, each day for five years.
    Daily,
    /// The same by two callers, turn by turn, who tell each other everything.
    Collusion,
    /// The same by passport and by handle where both are taken, else twice by the same.
    Identifiers,
    /// The same question by both callers at the same moment.
    Concurrent,
    /// The same id asked again on each day, in hope of another answer.
    Replay,
    /// With a restart of the gateway each year.
    Restart,
    /// With an erasure each year.
    Erase,
    /// On the days only that halve what is left.
    Bisection,
    /// Every age each day, settled or not: what an honest caller of many matters asks.
    Poll,
}

impl Attack {
    const ALL: [Self; 9] = [
        Self::Daily,
        Self::Collusion,
        Self::Identifiers,
        Self::Concurrent,
        Self::Replay,
        Self::Restart,
        Self::Erase,
        Self::Bisection,
        Self::Poll,
    ];
}

/// So many that enough of them are ordinary.
fn population() -> usize {
    number("JUMPGATE_ATTACKED", 10) + 100
}

/// What a configuration answers about.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Clock {
    Grid,
    Exact,
}

/// Somebody, and the dates on which he may be born by all that was told.
#[derive(Clone)]
struct Suspect {
    person: Person,
    first: Date,
    last: Date,
}

#[derive(Default)]
struct Tally {
    asked: u64,
    refused: u64,
    earlier: u64,
    told: BTreeMap<String, u64>,
}

impl Suspect {
    /// As many as are to be attacked, or a part of them.
    fn all(part: usize) -> Vec<Self> {
        let count = number("JUMPGATE_ATTACKED", 10).div_ceil(part);
        let people = jumpgate_departments::population(7, population(), TODAY).into_iter();
        let ordinary = people.filter(|person| person.special.is_none()).take(count);
        ordinary.map(|person| Self { person, first: date(1900, 1, 1), last: TODAY }).collect()
    }

    /// Strikes out every date that does not fit an answer.
    fn learn(&mut self, years: i64, verdict: &str, as_of: Date) {
        let born = as_of.saturating_sub(years.years());
        match verdict {
            "yes" => self.last = self.last.min(born),
            "no" => self.first = self.first.max(born.tomorrow().unwrap()),
            other => panic!("{other}"),
        }
    }

    fn days_left(&self) -> i32 {
        (self.last - self.first).get_days() + 1
    }

    /// The ages whose answer on that day is not known from others.
    fn open(&self, today: Date) -> impl Iterator<Item = i64> {
        let (first, last) = (self.first, self.last);
        AGES.into_iter().filter(move |years| {
            let born = today.saturating_sub(years.years());
            first <= born && born < last
        })
    }
}

/// An attack in progress.
struct Raid {
    attack: Attack,
    clock: Clock,
    harness: Harness,
    /// Connections of both callers, side by side.
    lanes: Vec<[Client; 2]>,
    suspects: Vec<Suspect>,
    tally: Tally,
}

impl Raid {
    async fn begin(attack: Attack, clock: Clock) -> Self {
        let setup = match clock {
            Clock::Grid => Setup::new(),
            Clock::Exact => exact(366),
        };
        let people = population();
        let harness = setup.departments(|options| options.people = people.max(400)).start().await;
        let lanes = connect(&harness).await;
        let suspects = Suspect::all(if attack == Attack::Poll { 10 } else { 1 });
        Self { attack, clock, harness, lanes, suspects, tally: Tally::default() }
    }

    async fn run(mut self) -> (Vec<i32>, Tally) {
        let days = (TODAY.saturating_add(YEARS.years()) - TODAY).get_days();
        // On a grid of months the days within one are all alike: `disclosure` shows it.
        let every = match self.attack {
            Attack::Daily | Attack::Poll => 1,
            _ => number("JUMPGATE_ATTACK_EVERY", 5),
        };
        let step = if self.clock == Clock::Grid { 7 } else { every };
        for day in (0..days).step_by(step) {
            let today = TODAY.saturating_add(day.days());
            set_day(&self.harness, today);
            if day % 365 >= 364 - i32::try_from(step).unwrap() && day % 365 < 365 {
                self.disturb().await;
            }
            self.ask_all(day, today).await;
        }
        for suspect in &self.suspects {
            let born = suspect.person.birth_date;
            assert!((suspect.first..=suspect.last).contains(&born), "what was told was true");
        }
        let left = self.suspects.iter().map(Suspect::days_left).collect();
        self.harness.finish().await;
        (left, self.tally)
    }

    /// What the attacker does to the gateway about once a year.
    async fn disturb(&mut self) {
        match self.attack {
            Attack::Restart => {
                take(&mut self.harness, async |harness| harness.restart().await).await;
                self.lanes = connect(&self.harness).await;
            }
            Attack::Erase => {
                for suspect in &self.suspects {
                    let value = &suspect.person.identifiers.handle;
                    let body = json!({ "kind": "handle", "value": value }).to_string();
                    let (status, said) = self.harness.at_socket_with("/persons/erase", &body).await;
                    // Nobody asked about him since the last time.
                    let is_right = status == StatusCode::OK || status == StatusCode::NOT_FOUND;
                    assert!(is_right, "{said}");
                }
            }
            _ => {}
        }
    }

    async fn ask_all(&mut self, day: i32, today: Date) {
        let mut asked: Vec<(usize, i64)> = Vec::new();
        for (at, suspect) in self.suspects.iter().enumerate() {
            let open: Vec<i64> = suspect.open(today).collect();
            let asks = |years: &i64| match self.attack {
                Attack::Poll => true,
                _ => open.contains(years) && self.asks(suspect, *years, today),
            };
            asked.extend(AGES.into_iter().filter(asks).map(|years| (at, years)));
        }
        let turn = usize::from(self.attack == Attack::Collusion && day % 2 == 1);
        let mut parts: Vec<Vec<Part>> = self.lanes.iter().map(|_| Vec::new()).collect();
        let lanes = parts.len();
        for (at, part) in asked.chunks(BATCH).enumerate() {
            let questions = part.iter().map(|(at, years)| self.question(*at, *years, day));
            parts[at % lanes].push((part.to_vec(), questions.collect()));
        }
        let at_once = self.attack == Attack::Concurrent;
        let pairs = self.lanes.iter_mut().zip(parts);
        let running = pairs.map(|(lane, parts)| run_lane(lane, parts, turn, at_once));
        let heard: Vec<_> = join_all(running).await;
        for (part, reply) in heard.into_iter().flatten() {
            self.hear(&part, &reply, today);
        }
    }

    /// True if the attack asks about this age on this day.
    fn asks(&self, suspect: &Suspect, years: i64, today: Date) -> bool {
        if self.attack != Attack::Bisection {
            return true;
        }
        // Not before the cut lies in the middle of what is left.
        let born = today.saturating_sub(years.years());
        let middle = (born - suspect.first).get_days() >= (suspect.last - born).get_days();
        middle || suspect.days_left() > 3_650
    }

    fn question(&self, at: usize, years: i64, day: i32) -> Value {
        let identifiers = &self.suspects[at].person.identifiers;
        let by_handle = self.clock == Clock::Exact || day % 2 == 0;
        let handle = json!({ "kind": "handle", "value": identifiers.handle });
        let question = age(years, &identifiers.passport);
        let question = if by_handle { but(question, "subject", handle) } else { question };
        match self.attack {
            // The id of the same question some days ago.
            Attack::Replay => {
                let number = at * 1_000_000 + usize::try_from(years).unwrap() * 10_000;
                let number = number + usize::try_from(day / 3).unwrap();
                crate::harness::questions::under_id(question, number as u64)
            }
            _ => question,
        }
    }

    fn hear(&mut self, part: &[(usize, i64)], reply: &Value, today: Date) {
        let answers = reply["answers"].as_array().unwrap_or_else(|| panic!("{reply}"));
        for ((at, years), answer) in part.iter().zip(answers) {
            self.tally.asked += 1;
            let body = &answer["body"];
            if answer["status"] != 200 {
                let code = body["code"].as_str().unwrap().to_owned();
                self.tally.refused += 1;
                *self.tally.told.entry(code).or_default() += 1;
                continue;
            }
            let as_of: Date = body["as_of"].as_str().unwrap().parse().unwrap();
            let is_earlier = self.clock == Clock::Exact && as_of < today;
            self.tally.earlier += u64::from(is_earlier);
            self.suspects[*at].learn(*years, body["verdict"].as_str().unwrap(), as_of);
        }
    }
}

/// Whom and what a batch asks about, and its questions.
type Part = (Vec<(usize, i64)>, Vec<Value>);

/// Asks batches one after the other, by one caller or by both at the same moment.
async fn run_lane(
    [one, other]: &mut [Client; 2],
    parts: Vec<Part>,
    turn: usize,
    at_once: bool,
) -> Vec<(Vec<(usize, i64)>, Value)> {
    let mut heard = Vec::new();
    for (part, questions) in parts {
        if at_once {
            let asked = join(one.ask_batch(questions.clone()), other.ask_batch(questions));
            let (one, other) = asked.await;
            heard.extend([(part.clone(), one.json), (part, other.json)]);
        } else {
            let client = if turn == 0 { &mut *one } else { &mut *other };
            heard.push((part, client.ask_batch(questions).await.json));
        }
    }
    heard
}

async fn connect(harness: &Harness) -> Vec<[Client; 2]> {
    let mut lanes = Vec::new();
    for _ in 0..LANES {
        lanes.push(super::exact::connect(harness).await);
    }
    lanes
}

async fn take(harness: &mut Harness, change: impl AsyncFnOnce(Harness) -> Harness) {
    // A harness is not to be had twice, so another one stands in its place meanwhile.
    let placeholder = Harness::start().await;
    let old = std::mem::replace(harness, placeholder);
    let placeholder = std::mem::replace(harness, change(old).await);
    placeholder.finish().await;
}

/// What the same questions tell if a service answers each as of today, and, in a few questions,
/// if it answers as of any day.
fn unlimited() -> (Vec<i32>, Vec<i32>) {
    let daily = Suspect::all(1).into_iter().map(|mut suspect| {
        let mut day = TODAY;
        while day < TODAY.saturating_add(YEARS.years()) {
            let open: Vec<i64> = suspect.open(day).collect();
            for years in open {
                let is_old = suspect.person.birth_date <= day.saturating_sub(years.years());
                suspect.learn(years, if is_old { "yes" } else { "no" }, day);
            }
            day = day.tomorrow().unwrap();
        }
        suspect.days_left()
    });
    let bisected = Suspect::all(1).into_iter().map(|mut suspect| {
        while suspect.first < suspect.last {
            let days = (suspect.last - suspect.first).get_days() / 2;
            let middle = suspect.first.saturating_add(days.days());
            let is_old = suspect.person.birth_date <= middle;
            match is_old {
                true => suspect.last = middle,
                false => suspect.first = middle.tomorrow().unwrap(),
            }
        }
        suspect.days_left()
    });
    (daily.collect(), bisected.collect())
}

fn line(name: &str, left: &[i32], tally: &Tally) -> String {
    let share = |count: u64| 100.0 * count as f64 / tally.asked.max(1) as f64;
    let pinned = left.iter().filter(|days| **days <= 7).count();
    format!(
        "| {name} | {} | {} | {:.1} % | {} | {:.1} % | {:.1} % |",
        left.len(),
        left.iter().min().unwrap(),
        100.0 * pinned as f64 / left.len() as f64,
        tally.asked,
        share(tally.refused),
        share(tally.earlier),
    )
}

async fn raid(clock: Clock, floor: i32) {
    println!("| attack | people | least days left | within 7 days | asked | refused | earlier |");
    let (daily, bisected) = unlimited();
    println!("{}", line("unlimited, daily", &daily, &Tally::default()));
    println!("{}", line("unlimited, any day", &bisected, &Tally::default()));
    assert!(bisected.iter().all(|days| *days == 1), "the attacks find what there is");
    for attack in Attack::ALL {
        let since = Instant::now();
        let (left, tally) = Raid::begin(attack, clock).await.run().await;
        let name = format!("{clock:?}, {attack:?}");
        println!("{} {:?} {:.0?}", line(&name, &left, &tally), tally.told, since.elapsed());
        assert!(left.iter().all(|days| *days >= floor), "{name}: {left:?}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn no_attack_on_the_grid_leaves_less_than_a_month() {
    raid(Clock::Grid, 28).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn no_attack_on_exact_answers_leaves_less_than_thirty_days() {
    raid(Clock::Exact, 30).await;
}
