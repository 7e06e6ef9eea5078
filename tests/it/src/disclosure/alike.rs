//! Two gateways in front of registries whose people differ by some days of birth: whoever asks both
//! the same sees no difference before an answer differs. The decisions alone are held against each
//! other in 100,000 sequences by the auditor's own tests; here it is whole responses.

use std::collections::BTreeSet;

use jiff::ToSpan;
use jumpgate_departments::Person;
use serde_json::Value;

use super::exact::{connect, set_day};
use crate::harness::exact::{exact, exact_age};
use crate::harness::questions::under_id;
use crate::harness::{Client, Harness, Reply, TODAY};

const AGES: [i64; 6] = [14, 16, 18, 22, 60, 65];
const PEOPLE: usize = 40;
const QUESTIONS: u64 = 1_500;
/// By how many days the people of the second registry are younger.
const DAYS: i64 = 90;

/// What a caller can see of a response, without what is drawn by chance and what the time of day
/// decides: salted hashes and signatures, and how fast a quota fills again.
fn seen(reply: &Reply) -> (u16, Vec<String>, String) {
    let by_chance = ["content-length", "date", "ratelimit", "ratelimit-policy"];
    let headers = reply.headers.iter().map(|(name, value)| match name.as_str() {
        name if by_chance.contains(&name) => name.to_owned(),
        name => format!("{name}: {}", value.to_str().unwrap()),
    });
    let mut body = reply.json.clone();
    for drawn in ["leaf_hash", "promise"] {
        if let Some(value) = body.pointer_mut(&format!("/receipt/{drawn}")) {
            assert!(value.is_string());
            *value = Value::Null;
        }
    }
    (reply.status, headers.collect(), body.to_string())
}

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

#[tokio::test(flavor = "multi_thread")]
async fn registries_that_agree_on_all_answers_are_told_apart_by_nothing() {
    let (mut one, mut other) = (Side::new(0).await, Side::new(DAYS).await);
    let mut random = 1_u64;
    let mut draw = |below: u64| {
        // Knuth's MMIX generator; its high bits are good enough here.
        random =
            random.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (random >> 33) % below
    };
    let (mut day, mut apart, mut kinds) = (TODAY, BTreeSet::new(), BTreeSet::new());
    for number in 0..QUESTIONS {
        day = day.saturating_add(i64::try_from(draw(4)).unwrap().days());
        set_day(&one.harness, day);
        set_day(&other.harness, day);
        let person = usize::try_from(draw(PEOPLE as u64)).unwrap();
        let (by, years) =
            (usize::try_from(draw(2)).unwrap(), AGES[usize::try_from(draw(6)).unwrap()]);
        let born = |side: &Side| side.people[person].birth_date;
        assert_ne!(born(&one), born(&other));
        let replies =
            [one.ask(number, by, person, years).await, other.ask(number, by, person, years).await];
        if apart.contains(&person) {
            continue;
        }
        let told = |reply: &Reply| {
            let text = |key: &str| reply.json[key].as_str().map(str::to_owned);
            (text("verdict"), text("as_of"), text("code"))
        };
        let [first, second] = &replies;
        if told(first).0.is_some() && told(second).0.is_some() && told(first) != told(second) {
            apart.insert(person);
            continue;
        }
        assert_eq!(seen(first), seen(second), "question {number} about person {person}");
        kinds.insert((first.status, told(first).2, told(first).1 == Some(day.to_string())));
    }
    // Told as of today, told as of earlier and refused: all of it was compared.
    assert!(kinds.len() >= 3, "{kinds:?}");
    println!("{} of {PEOPLE} people were told apart by their answers", apart.len());
    assert!(apart.len() < PEOPLE, "nobody is left to compare");
    one.harness.finish().await;
    other.harness.finish().await;
}
