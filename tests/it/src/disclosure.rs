//! What can be learnt of a birth date by asking again, of the real gateway and for five years: the
//! attacks on the grid of `spec/disclosure.md`.
//!
//! The attacker keeps, for each person, every date of birth that fits all answers. It counts dates
//! by itself and never looks at the gateway's arithmetic.

use std::collections::BTreeSet;

use jiff::ToSpan;
use jiff::civil::{Date, date};
use jumpgate_departments::Person;
use serde_json::{Value, json};

use crate::harness::questions::{age, but};
use crate::harness::{Client, Harness, TODAY};

mod alike;
mod attacks;
mod exact;
mod glass;
mod persons;

/// Every age that can be asked about.
const AGES: [i64; 6] = [14, 16, 18, 22, 60, 65];
const YEARS: i32 = 5;
const PEOPLE: usize = 40;
/// The most questions of a batch.
const BATCH: usize = 16;

/// A number from the environment, or the usual one.
fn number(name: &str, usual: usize) -> usize {
    std::env::var(name).map_or(usual, |it| it.parse().unwrap())
}

#[tokio::test(flavor = "multi_thread")]
async fn five_years_of_asking_leave_a_month_of_birth_dates() {
    let mut harness = Harness::start().await;
    let mut suspects = suspects();
    let mut clients = connect(&harness).await;
    for month in 0..12 * YEARS {
        let first = TODAY.first_of_month().saturating_add(month.months());
        harness.set_now(&format!("{}T04:00:00Z", first.saturating_add(16.days())));
        if month == 6 * YEARS {
            // A gateway that has forgotten what it said would say no more.
            harness = harness.restart().await;
            clients = connect(&harness).await;
        }
        // Two callers and two kinds of identifier, turn by turn, and together.
        let client = &mut clients[usize::try_from(month % 2).unwrap()];
        ask_all(client, &mut suspects, month % 4 < 2).await;
    }
    let left: Vec<i32> = suspects.iter().map(Suspect::days_left).collect();
    let (least, most) = (*left.iter().min().unwrap(), *left.iter().max().unwrap());
    let pinned = left.iter().filter(|days| **days <= 7).count();
    let crossed = left.iter().filter(|days| **days <= 31).count();
    println!("{PEOPLE} people, {YEARS} years: {least} to {most} days left; {crossed} to a month");
    assert!(suspects.iter().all(Suspect::may_be_right), "what was told was true");
    assert!(least >= 28, "{least} days are left of somebody");
    assert_eq!(pinned, 0);
    assert!(crossed >= PEOPLE / 2, "the attack learns what there is to learn: {left:?}");
    harness.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn asking_every_day_tells_no_more_than_asking_once_a_month() {
    let harness = Harness::start().await;
    let mut clients = connect(&harness).await;
    // Somebody who reaches an age within this year.
    let person = |it: &Suspect| {
        AGES.iter().any(|years| {
            let reaches = it.person.birth_date.saturating_add(years.years());
            (TODAY..TODAY.saturating_add(300.days())).contains(&reaches)
        })
    };
    let mut daily: Vec<Suspect> = suspects().into_iter().filter(person).take(1).collect();
    let mut seen = BTreeSet::new();
    for day in 0..365 {
        let today = TODAY.saturating_add(day.days());
        harness.set_now(&format!("{today}T04:00:00Z"));
        for reply in ask_all(&mut clients[0], &mut daily, true).await {
            seen.insert((today.first_of_month(), reply.to_string()));
        }
    }
    assert_eq!(seen.len(), 13 * AGES.len(), "one answer a month and age, whatever the day");
    assert!((28..=31).contains(&daily[0].days_left()), "{}", daily[0].days_left());
    harness.finish().await;
}

async fn connect(harness: &Harness) -> [Client; 2] {
    [harness.client("one-window").await, harness.client("other-window").await]
}

/// Somebody, and the dates on which he may be born.
struct Suspect {
    person: Person,
    first: Date,
    last: Date,
}

/// People of whom most reach one of the ages within the years.
fn suspects() -> Vec<Suspect> {
    let people = jumpgate_departments::population(7, 400, TODAY).into_iter();
    let reaches = |person: &Person| {
        AGES.iter().any(|years| {
            let reached = person.birth_date.saturating_add(years.years());
            (TODAY..TODAY.saturating_add(YEARS.years())).contains(&reached)
        })
    };
    let ordinary = people.filter(|person| person.special.is_none());
    let (reaching, others): (Vec<Person>, Vec<Person>) = ordinary.partition(reaches);
    let most = reaching.into_iter().take(PEOPLE * 3 / 4);
    let people = most.chain(others).take(PEOPLE);
    people.map(|person| Suspect { person, first: date(1900, 1, 1), last: TODAY }).collect()
}

/// Asks everything about everybody, and returns the answers without what is another one each time.
async fn ask_all(client: &mut Client, suspects: &mut [Suspect], by_handle: bool) -> Vec<Value> {
    let asked: Vec<(usize, i64)> =
        (0..suspects.len()).flat_map(|at| AGES.map(|years| (at, years))).collect();
    let mut said = Vec::new();
    for part in asked.chunks(BATCH) {
        let questions = part.iter().map(|(at, years)| {
            let identifiers = &suspects[*at].person.identifiers;
            let question = age(*years, &identifiers.passport);
            let handle = json!({ "kind": "handle", "value": identifiers.handle });
            if by_handle { but(question, "subject", handle) } else { question }
        });
        let reply = client.ask_batch(questions).await;
        let answers = reply.json["answers"].as_array().unwrap();
        for ((at, years), answer) in part.iter().zip(answers) {
            assert_eq!(answer["status"], 200, "{answer}");
            let body = &answer["body"];
            suspects[*at].learn(*years, body);
            let told = json!({
                "age": years,
                "verdict": body["verdict"],
                "as_of": body["as_of"],
                "next_as_of": body["next_as_of"],
            });
            said.push(told);
        }
    }
    said
}

impl Suspect {
    /// Strikes out every date that does not fit an answer.
    fn learn(&mut self, years: i64, body: &Value) {
        let as_of: Date = body["as_of"].as_str().unwrap().parse().unwrap();
        // Whoever has the age on this date was born on the same day so many years ago, or before.
        let born = as_of.saturating_sub(years.years());
        match body["verdict"].as_str().unwrap() {
            "yes" => self.last = self.last.min(born),
            "no" => self.first = self.first.max(born.tomorrow().unwrap()),
            other => panic!("{other}"),
        }
    }

    fn days_left(&self) -> i32 {
        (self.last - self.first).get_days() + 1
    }

    fn may_be_right(&self) -> bool {
        (self.first..=self.last).contains(&self.person.birth_date)
    }
}
