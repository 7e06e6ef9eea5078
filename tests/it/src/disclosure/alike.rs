//! Two gateways in front of registries whose people differ by some days of birth: whoever asks both
//! the same sees no difference before an answer differs, and then none beside it, byte for byte.
//! What is left out comes by chance or belongs to the time of day: the leaf hash and its promise,
//! which cover the salted commitment to the department's reply; `date`; what of a rate is left.
//!
//! By default some hundred sequences of questions are asked, each about another pair of people:
//! `JUMPGATE_ALIKE=100000 cargo test --release --test it disclosure::alike -- --nocapture` asks as
//! many as the page tells of.

use std::collections::{BTreeMap, BTreeSet};

use futures_util::StreamExt;
use futures_util::future::join;
use futures_util::stream;
use jiff::ToSpan;
use jiff::civil::Date;
use jumpgate_departments::Person;
use serde_json::Value;

use super::exact::{connect, set_day};
use super::number;
use crate::harness::exact::{exact, exact_age};
use crate::harness::questions::under_id;
use crate::harness::{Client, Harness, Reply, TODAY};

const AGES: [i64; 6] = [14, 16, 18, 22, 60, 65];
/// Sequences of one pair of gateways.
const PEOPLE: usize = 350;
/// People who are asked about in turn, and how often on the average.
const GROUP: usize = 10;
const QUESTIONS_EACH: usize = 12;
/// Pairs of gateways that are asked side by side.
const PAIRS: usize = 6;

/// What a caller can see of a response, but for `hidden` members of its body.
fn seen(reply: &Reply, hidden: &[&str]) -> (u16, Vec<String>, String) {
    let headers = reply.headers.iter().map(|(name, value)| {
        let value = value.to_str().unwrap();
        match name.as_str() {
            "date" => "date".to_owned(),
            "ratelimit" => format!("ratelimit: {}", without_time(value)),
            // A hidden verdict may be a letter longer than another one.
            "content-length" if !hidden.is_empty() => "content-length".to_owned(),
            name => format!("{name}: {value}"),
        }
    });
    let mut body = reply.json.clone();
    for drawn in ["/receipt/leaf_hash", "/receipt/promise"].iter().chain(hidden) {
        if let Some(value) = body.pointer_mut(drawn) {
            assert!(value.is_string());
            *value = Value::Null;
        }
    }
    (reply.status, headers.collect(), body.to_string())
}

/// The quotas in force and what is left of allotments. A rate fills again by the time of day.
fn without_time(ratelimit: &str) -> String {
    let items = ratelimit.split(", ").map(|item| {
        let mut parts = item.split(';');
        let name = parts.next().unwrap();
        let left = parts.next().filter(|_| name.contains(':')).unwrap_or_default();
        format!("{name};{left}")
    });
    items.collect::<Vec<_>>().join(", ")
}

/// One of the two gateways.
struct Side {
    harness: Harness,
    clients: [Client; 2],
    people: Vec<Person>,
}

impl Side {
    async fn new(days: i64) -> Self {
        let today = TODAY.saturating_add(days.days());
        let setup = exact(1).departments(|options| options.today = today);
        let harness = setup.start().await;
        let clients = connect(&harness).await;
        let people = jumpgate_departments::population(7, 400, today).into_iter();
        let people = people.filter(|it| it.special.is_none()).take(PEOPLE).collect();
        Self { harness, clients, people }
    }

    async fn ask(&mut self, number: u64, by: usize, person: usize, years: i64) -> Reply {
        let question = exact_age(years, &self.people[person].identifiers.handle);
        self.clients[by].ask(&under_id(question, number)).await
    }
}

/// Knuth's MMIX generator; its high bits are good enough here.
struct Draw(u64);

impl Draw {
    fn below(&mut self, below: usize) -> usize {
        self.0 =
            self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (self.0 >> 33) as usize % below
    }
}

/// Verdict, date and code of a response.
type Told = (Option<String>, Option<String>, Option<String>);

fn told(reply: &Reply) -> Told {
    let text = |key: &str| reply.json[key].as_str().map(str::to_owned);
    (text("verdict"), text("as_of"), text("code"))
}

/// What was compared, and what became of whom.
#[derive(Default)]
struct Tally {
    sequences: usize,
    apart: usize,
    kinds: BTreeMap<(u16, Option<String>, bool), u64>,
}

/// A pair of gateways, and whom an answer has told apart.
struct Pair {
    sides: [Side; 2],
    draw: Draw,
    day: Date,
    asked: u64,
    apart: BTreeSet<usize>,
    tally: Tally,
}

impl Pair {
    async fn new(seed: u64) -> Self {
        let mut draw = Draw(seed);
        // By how many days the people of the second registry are younger.
        let days = 1 + i64::try_from(draw.below(400)).unwrap();
        let sides = join(Side::new(0), Side::new(days)).await.into();
        let (apart, tally) = (BTreeSet::new(), Tally::default());
        Self { sides, draw, day: TODAY, asked: 0, apart, tally }
    }

    async fn run(mut self, people: usize) -> Tally {
        for first in (0..people).step_by(GROUP) {
            let group = GROUP.min(people - first);
            let mut asked_about = BTreeSet::new();
            for _ in 0..group * QUESTIONS_EACH {
                let later = i64::try_from(self.draw.below(4)).unwrap();
                self.day = self.day.saturating_add(later.days());
                self.sides.iter().for_each(|side| set_day(&side.harness, self.day));
                let person = first + self.draw.below(group);
                asked_about.insert(person);
                let (by, years) = (self.draw.below(2), AGES[self.draw.below(AGES.len())]);
                self.asked += 1;
                self.compare((by, person, years)).await;
                // Now and then once more under its id: an outcome is told again.
                if self.draw.below(16) == 0 {
                    self.compare((by, person, years)).await;
                }
            }
            self.tally.sequences += asked_about.len();
        }
        self.tally.apart = self.apart.len();
        for side in self.sides {
            side.harness.finish().await;
        }
        self.tally
    }

    async fn ask(&mut self, (by, person, years): (usize, usize, i64)) -> [Reply; 2] {
        let [one, other] = &mut self.sides;
        let number = self.asked;
        join(one.ask(number, by, person, years), other.ask(number, by, person, years)).await.into()
    }

    async fn compare(&mut self, question: (usize, usize, i64)) {
        let person = question.1;
        // Of whom an answer differed, everything may, and with it the numbers of later entries.
        if self.apart.contains(&person) {
            return;
        }
        let replies = self.ask(question).await;
        let [first, second] = &replies;
        let is_apart =
            told(first).0.is_some() && told(second).0.is_some() && told(first) != told(second);
        let hidden: &[&str] = if is_apart { &["/verdict", "/as_of"] } else { &[] };
        let number = self.asked;
        assert_eq!(seen(first, hidden), seen(second, hidden), "question {number} about {person}");
        let asked = self.sides.each_ref().map(|side| side.harness.civil().requests().count);
        assert_eq!(asked[0], asked[1], "the registry was asked about {person} by one of them");
        if is_apart {
            self.apart.insert(person);
            return;
        }
        let (_, as_of, code) = told(first);
        let kind = (first.status, code, as_of == Some(self.day.to_string()));
        *self.tally.kinds.entry(kind).or_default() += 1;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn registries_that_agree_on_all_answers_are_told_apart_by_nothing() {
    let sequences = number("JUMPGATE_ALIKE", 120);
    let pairs = (0..sequences.div_ceil(PEOPLE)).map(|pair| {
        let people = PEOPLE.min(sequences - pair * PEOPLE);
        tokio::spawn(async move { Pair::new(pair as u64 + 1).await.run(people).await })
    });
    // A task begins when it is spawned: no more are than run.
    let mut running = stream::iter(pairs).buffer_unordered(PAIRS);
    let mut all = Tally::default();
    while let Some(tally) = running.next().await {
        let Tally { sequences, apart, kinds } = tally.unwrap();
        all.sequences += sequences;
        all.apart += apart;
        kinds.into_iter().for_each(|(kind, count)| *all.kinds.entry(kind).or_default() += count);
    }
    let Tally { sequences, apart, kinds } = all;
    println!("{sequences} sequences, {apart} of them told apart by an answer; compared: {kinds:?}");
    // Told as of today, told as of earlier and refused: all of it was compared.
    assert!(kinds.len() >= 3, "{kinds:?}");
    assert!(apart > 0 && apart < sequences, "{apart} of {sequences}");
}
