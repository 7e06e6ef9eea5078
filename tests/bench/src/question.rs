//! What is asked and what must come back: whole requests, made beforehand, and the mark that only
//! the right reply carries.

use std::sync::atomic::{AtomicU64, Ordering};

use jiff::civil::Date;
use jiff::tz::{self, TimeZone};
use jiff::{Timestamp, ToSpan as _};
use jumpgate_departments::{Person, population};

use crate::client::Reply;

/// A request and how to know its right reply.
pub struct Question {
    request: Vec<u8>,
    /// Where a fresh `query_id` goes.
    id_at: Option<usize>,
    statuses: &'static [u16],
    mark: String,
}

/// People to ask about, and the day.
pub struct Sample {
    /// The day the records are as of.
    pub today: Date,
    people: Vec<Person>,
}

/// A few hundred ordinary people whose answers do not change while the benchmark runs: nobody was
/// born or turns 18 near the cell's edge.
pub fn sample(now: Timestamp) -> Sample {
    let today = now.to_zoned(TimeZone::fixed(tz::offset(8))).date();
    let is_steady = |person: &Person| {
        let adult = person.birth_date.saturating_add(MAJORITY_YEARS.years());
        [person.birth_date, adult].iter().all(|edge| {
            *edge < today.saturating_sub(EDGE_DAYS.days())
                || *edge > today.saturating_add(EDGE_DAYS.days())
        })
    };
    let people = population(SEED, PEOPLE, today).into_iter();
    let ordinary = people.filter(|person| person.special.is_none() && is_steady(person));
    Sample { today, people: ordinary.collect() }
}

impl Sample {
    /// Is this person at least 18? Asked of Jumpgate and, in the same words, of nginx with Lua.
    pub fn ages(&self) -> Vec<Question> {
        let questions = self.people.iter().map(|person| {
            let is_adult = person.birth_date.saturating_add(MAJORITY_YEARS.years()) <= self.today;
            let verdict = if is_adult { "yes" } else { "no" };
            Question::json(
                "civil-registry/age-at-least@1",
                r#"{"years":18}"#,
                &person.identifiers.passport,
                (&[200], format!(r#""verdict":"{verdict}""#)),
            )
        });
        questions.collect()
    }

    /// Questions that are refused without an entry of their own: every other one over the caller's
    /// allotment, the others about a predicate that there is not.
    pub fn flood(&self) -> Vec<Question> {
        let refused = self.people.iter().enumerate().map(|(number, person)| {
            let (predicate, statuses, code): (_, &'static [u16], _) = match number % 2 {
                0 => ("civil-registry/age-at-least@1", &[429], "caller-quota-exhausted"),
                _ => ("civil-registry/shoe-size@1", &[400], "unknown-predicate"),
            };
            let right = (statuses, format!(r#""code":"{code}""#));
            Question::json(predicate, r#"{"years":18}"#, &person.identifiers.passport, right)
        });
        refused.collect()
    }

    /// Is this person insured? Asked of a department that may hang or be switched off, so the right
    /// reply is an answer, a fault of its deadline, or a refusal.
    pub fn insured_whatever_comes(&self) -> Vec<Question> {
        let questions = self.people.iter().map(|person| {
            Question::json(
                "social-insurance/insured@1",
                r#"{"scheme":"pension"}"#,
                &person.identifiers.passport,
                (&[200, REFUSED, 504], r#""query_id":"#.to_owned()),
            )
        });
        questions.collect()
    }

    /// The department's own operation, for the bare hop.
    pub fn envelopes(&self) -> Vec<Question> {
        let questions = self.people.iter().map(|person| {
            let body = ENVELOPE.replace("PASSPORT", &person.identifiers.passport);
            let head = format!(
                "POST /PersonQuery HTTP/1.1\r\nhost: gateway\r\n\
                 content-type: text/xml; charset=utf-8\r\n\
                 soapaction: \"urn:civil-registry:person:2/QueryPerson\"\r\n\
                 content-length: {}\r\n\r\n",
                body.len()
            );
            Question {
                request: [head, body].concat().into_bytes(),
                id_at: None,
                statuses: &[200],
                mark: format!("BirthDate>{}<", person.birth_date),
            }
        });
        questions.collect()
    }
}

impl Question {
    fn json(
        predicate: &str,
        parameters: &str,
        passport: &str,
        (statuses, mark): (&'static [u16], String),
    ) -> Self {
        let body = format!(
            "{{\"query_id\":\"{ID_PLACE}\",\"predicate\":\"{predicate}\",\
             \"parameters\":{parameters},\
             \"subject\":{{\"kind\":\"passport\",\"value\":\"{passport}\"}},\
             \"purpose\":\"hiring\",\"case\":\"2026-004711\",\"operator\":\"desk 7\"}}"
        );
        let head = format!(
            "POST /v1/queries HTTP/1.1\r\nhost: gateway\r\ncontent-type: application/json\r\n\
             content-length: {}\r\n\r\n",
            body.len()
        );
        let request = [head, body].concat();
        let id_at = request.find(ID_PLACE);
        Self { request: request.into_bytes(), id_at, statuses, mark }
    }

    /// Writes the request, with a `query_id` of its own, into `buffer`.
    pub fn write(&self, buffer: &mut Vec<u8>) {
        buffer.clear();
        buffer.extend_from_slice(&self.request);
        if let Some(id_at) = self.id_at {
            // Counting is enough: every run has a log of its own.
            let id = format!("{:032x}", NEXT_ID.fetch_add(1, Ordering::Relaxed));
            buffer[id_at..id_at + id.len()].copy_from_slice(id.as_bytes());
        }
    }

    /// Whether the reply is the right one.
    pub fn is_answered_by(&self, reply: &Reply<'_>) -> bool {
        let body = std::str::from_utf8(reply.body).unwrap_or_default();
        self.statuses.contains(&reply.status) && body.contains(&self.mark)
    }
}

/// The status of a department that is spared for now.
pub const REFUSED: u16 = 503;

static NEXT_ID: AtomicU64 = AtomicU64::new(1);
const ID_PLACE: &str = "00000000000000000000000000000000";
/// The departments' own default.
pub const SEED: u64 = 7;
/// The departments' own default; their records have 1 MB and stay in no processor's cache.
pub const PEOPLE: usize = 400;
const MAJORITY_YEARS: i32 = 18;
/// Longer than a calendar cell of a month.
const EDGE_DAYS: i32 = 40;
/// Byte for byte what the adapter sends.
const ENVELOPE: &str = "<?xml version=\"1.0\" encoding=\"utf-8\"?>\
    <s:Envelope xmlns:s=\"http://schemas.xmlsoap.org/soap/envelope/\"><s:Body>\
    <m:QueryPerson xmlns:m=\"urn:civil-registry:person:2\">\
    <m:Identifier type=\"passport\">PASSPORT</m:Identifier><m:View>full</m:View>\
    </m:QueryPerson></s:Body></s:Envelope>";

#[cfg(test)]
mod tests {
    use super::*;

    fn at(text: &str) -> Sample {
        sample(text.parse().unwrap())
    }

    #[test]
    fn there_are_a_few_hundred_people_of_both_answers() {
        let sample = at("2026-11-23T04:00:00Z");
        let ages = sample.ages();
        let yes = ages.iter().filter(|question| question.mark.contains("yes")).count();
        assert!(ages.len() > 300 && yes > 50 && ages.len() - yes > 50, "{yes}/{}", ages.len());
        assert_eq!(sample.envelopes().len(), ages.len());
    }

    #[test]
    fn the_day_is_that_of_the_departments() {
        assert_eq!(at("2026-11-22T16:00:00Z").today, jiff::civil::date(2026, 11, 23));
    }

    #[test]
    fn answers_hold_at_the_cells_edges() {
        let sample = at("2026-11-30T04:00:00Z");
        let edges = [sample.today.first_of_month(), sample.today.saturating_add(1.month())];
        for person in &sample.people {
            let adult = person.birth_date.saturating_add(18.years());
            assert_eq!(adult <= edges[0], adult <= edges[1]);
            assert!(person.birth_date < edges[0]);
        }
    }

    #[test]
    fn each_request_has_an_id_of_its_own_and_keeps_its_length() {
        let sample = at("2026-11-23T04:00:00Z");
        let (mut first, mut second) = (Vec::new(), Vec::new());
        let questions = sample.ages();
        questions[0].write(&mut first);
        questions[0].write(&mut second);
        assert_ne!(first, second);
        assert_eq!(first.len(), second.len());
        let text = String::from_utf8(first).unwrap();
        let (head, body) = text.split_once("\r\n\r\n").unwrap();
        assert!(head.ends_with(&format!("content-length: {}", body.len())));
        let body: serde_json::Value = serde_json::from_str(body).unwrap();
        assert_eq!(body["query_id"].as_str().unwrap().len(), 32);
    }

    #[test]
    fn only_the_right_reply_is_right() {
        let sample = at("2026-11-23T04:00:00Z");
        let question = &sample.ages()[0];
        let right = format!("{{{}}}", question.mark);
        let said =
            |status, body: &str| question.is_answered_by(&Reply { status, body: body.as_bytes() });
        assert!(said(200, &right));
        assert!(!said(502, &right) && !said(200, "{}"));
    }
}
