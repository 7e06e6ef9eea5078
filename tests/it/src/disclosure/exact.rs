//! Exact answers: what is told to whom, when it is an earlier one or none, and that it survives
//! what a gateway survives.

use std::fs;
use std::path::Path;

use http::Method;
use jiff::ToSpan;
use jiff::civil::Date;
use jumpgate_catalogue::Way;
use jumpgate_departments::{Fault, Person};
use jumpgate_querylog::{FieldId, Kind};
use serde_json::Value;

use crate::harness::exact::{exact, exact_age, exact_with};
use crate::harness::parts;
use crate::harness::{Client, Harness, Setup, TODAY, eventually, load};
use crate::http::assert_problem;
use crate::path::firsts_kept;

/// Somebody ordinary, with the next of these ages that he reaches and the day on which he does, at
/// least so many days after the tests' first day.
pub fn reaching(years: i64, days_at_least: i64) -> (Person, Date) {
    let people = jumpgate_departments::population(7, 400, TODAY).into_iter();
    let mut reaching = people.filter(|it| it.special.is_none()).map(|person| {
        let day = person.birth_date.saturating_add(years.years());
        (person, day)
    });
    let first = TODAY.saturating_add(days_at_least.days());
    reaching.find(|(_, day)| (first..first.saturating_add(3.years())).contains(day)).unwrap()
}

pub async fn connect(harness: &Harness) -> [Client; 2] {
    [harness.client("one-window").await, harness.client("other-window").await]
}

pub fn set_day(harness: &Harness, day: Date) {
    harness.set_now(&format!("{day}T04:00:00Z"));
}

/// Verdict and date of an answer.
pub fn told(body: &Value) -> (String, Date) {
    let text = |key: &str| body[key].as_str().unwrap_or_else(|| panic!("{body}"));
    (text("verdict").to_owned(), text("as_of").parse().unwrap())
}

#[tokio::test(flavor = "multi_thread")]
async fn no_first_step_is_kept_as_of_a_date_that_was_chosen_for_a_person() {
    let harness = exact(366).start().await;
    let [mut client, _] = connect(&harness).await;
    let (person, _) = reaching(18, 75);
    let question = exact_age(18, &person.identifiers.handle);
    for (days, asked) in [(0, 1), (1, 2)] {
        set_day(&harness, TODAY.saturating_add(days.days()));
        client.ask(&question).await;
        // On the second day as of a later one, which follows from what was told on the first.
        assert_eq!((harness.civil().requests().count, firsts_kept(&harness)), (asked, 1));
    }
    harness.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn polled_daily_by_two_callers_an_age_is_told_to_within_thirty_days() {
    let mut harness = exact(366).start().await;
    let mut clients = connect(&harness).await;
    let (person, day) = reaching(18, 75);
    let question = exact_age(18, &person.identifiers.handle);
    let (mut asked, mut cuts) = (harness.civil().requests().count, Vec::new());
    let begin = day.saturating_sub(75.days());
    for days in 0..120 {
        let today = begin.saturating_add(days.days());
        set_day(&harness, today);
        if days == 50 {
            harness = harness.restart().await;
            clients = connect(&harness).await;
        }
        let reply = clients[days as usize % 2].ask(&question).await;
        assert_eq!(reply.status, 200, "{}", reply.json);
        assert!(reply.json.get("next_as_of").is_none_or(Value::is_null));
        let count = harness.civil().requests().count;
        if count > asked {
            cuts.push(days);
        }
        asked = count;
        // What is told is as of today but in the weeks before the registry's answer covers the
        // birthday: it was asked thirty days ahead each time.
        let (verdict, as_of) = told(&reply.json);
        let expected = match days {
            0..=60 => ("no", today),
            61..90 => ("no", begin.saturating_add(60.days())),
            _ => ("yes", today),
        };
        assert_eq!((verdict.as_str(), as_of), expected, "after {days} days");
        assert_eq!(verdict == "yes", as_of >= day, "what is told is true");
    }
    assert_eq!(cuts, [0, 1, 31, 61], "the registry is asked once in thirty days");
    harness.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_answer_from_others_is_on_record_like_any_other() {
    let harness = exact(366).start().await;
    let mut clients = connect(&harness).await;
    let (person, _) = reaching(18, 75);
    let question = exact_age(18, &person.identifiers.handle);
    let first = clients[0].ask(&question).await;
    let second = clients[1].ask(&question).await;
    assert_eq!(harness.civil().requests().count, 1);
    let shape = |reply: &crate::harness::Reply| {
        let mut keys: Vec<String> = reply.json.as_object().unwrap().keys().cloned().collect();
        let mut headers: Vec<String> = reply.headers.keys().map(ToString::to_string).collect();
        keys.sort();
        headers.sort();
        (reply.status, keys, headers)
    };
    assert_eq!(shape(&first), shape(&second), "nothing tells which one was known");
    let (asks, answers) = (harness.records_of(Kind::Ask), harness.records_of(Kind::Answer));
    assert_eq!((asks.len(), answers.len()), (2, 2));
    assert_eq!(answers[0].sealed.len(), answers[1].sealed.len(), "nor does what lies in the log");
    let release = |at: usize| {
        let fields = harness.fields(&answers[at]);
        (fields.release().unwrap(), fields.date(FieldId::AsOf).unwrap())
    };
    let ((new, as_of), (known, earlier)) = (release(0), release(1));
    assert_eq!((new.way, known.way), (Way::Cut, Way::Implied));
    assert_eq!((as_of, earlier), (TODAY, TODAY));
    assert_eq!((new.day, new.side, &*new.attribute), (known.day, known.side, "birth-date"));
    harness.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_on_its_way_counts_until_it_fails() {
    let short = "[departments.civil-registry]\ndeadline_ms = 1500\n\
                 [departments.civil-registry.endpoints.registry]\ntimeout_ms = 1000";
    let harness = exact(366).with(short).start().await;
    let [mut one, mut other] = connect(&harness).await;
    let (person, _) = reaching(18, 75);
    let question = exact_age(18, &person.identifiers.handle);
    harness.civil().faults().set("hang".parse::<Fault>().unwrap()).unwrap();
    let asked = question.clone();
    let waiting = tokio::spawn(async move { one.ask(&asked).await });
    eventually("the question is at the registry", async || {
        (harness.civil().requests().count > 0).then_some(())
    })
    .await;
    set_day(&harness, TODAY.saturating_add(1.days()));
    let refused = other.ask(&question).await;
    assert_problem(&refused, 403, "disclosure-refused");
    assert_problem(&waiting.await.unwrap(), 504, "department-timeout");
    harness.civil().faults().clear();
    let answered = other.ask(&question).await;
    assert_eq!(told(&answered.json), ("no".to_owned(), TODAY.saturating_add(1.days())));
    let refused = harness.records_of(Kind::Refused);
    assert_eq!(refused[0].entry.code.as_deref(), Some("disclosure-refused"));
    assert_eq!(refused[0].entry.rule.as_deref(), Some("civil-registry/of-age"));
    harness.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_parts_of_a_batch_are_audited_together() {
    let harness = exact(1).start().await;
    let [mut client, _] = connect(&harness).await;
    let (person, _) = reaching(18, 75);
    let of_age = |years| exact_age(years, &person.identifiers.handle);
    let reply = client.ask_batch([of_age(18), of_age(16), of_age(60)]).await;
    // The registry grants one cut: one part is asked, and the others follow from it or wait for it.
    assert_eq!(harness.civil().requests().count, 1);
    for answer in reply.json["answers"].as_array().unwrap() {
        match answer["status"].as_u64().unwrap() {
            200 => assert_eq!(told(&answer["body"]).1, TODAY),
            status => {
                assert_eq!((status, &answer["body"]["code"]), (403, &"disclosure-refused".into()))
            }
        }
    }
    let alarms = harness.metrics().await;
    assert!(alarms.contains("disclosure_alarms_total{alarm=\"cuts-spent\"} 1"), "{alarms}");
    harness.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn only_the_registry_grants_exact_answers() {
    // Everything of the registry is granted to one of them, but for what only it may grant.
    let court = "@id(\"court\")\n@cuts_per_year(\"4\")\npermit (principal == \
                 Caller::\"other-window\", action == \
                 Action::\"civil-registry/age-at-least@1\", resource == \
                 Department::\"civil-registry\");\n";
    let harness = exact_with(court).start().await;
    let [mut one, mut other] = connect(&harness).await;
    let (person, _) = reaching(18, 75);
    let question = exact_age(18, &person.identifiers.handle);
    assert_problem(&one.ask(&question).await, 403, "not-granted");
    assert_eq!(other.ask(&question).await.status, 200);
    harness.finish().await;
    let own = "@id(\"own\")\n@cuts_per_year(\"4\")\npermit (principal, action, resource);";
    let setup = Setup::new().file("district.cedar", own);
    let ground = setup.with("[policy]\nfiles = [\"district.cedar\"]").ground().await;
    let told = |config: &Path| {
        let mistakes = load(config).err().unwrap();
        mistakes.iter().map(ToString::to_string).collect::<Vec<_>>().join("\n")
    };
    assert_eq!(
        told(&ground.config()),
        "admission: district.cedar:1: rule own grants exact answers, which only the department \
         may; have the department write the rule in its own signed file"
    );
    for annotation in ["0", "x", "367"] {
        let rules = court.replace("\"4\"", &format!("{annotation:?}"));
        let expected = format!(
            "rule civil-registry/court has @cuts_per_year({annotation:?}); write a number from 1 \
             to 366 in quotation marks"
        );
        let told = told(&exact_with(&rules).ground().await.config());
        assert!(told.contains(&expected), "{told}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_age_becomes_exact_by_a_restart_that_reads_what_was_told() {
    let ground = exact(4).ground().await;
    let catalogue = ground.folder.path().join("catalogue/civil-registry.toml");
    let exact_text = fs::read_to_string(&catalogue).unwrap();
    let shipped = parts::root().join("spec/catalogue/civil-registry.toml");
    let grid_text = fs::read_to_string(shipped).unwrap();
    let harness = ground.start().await.unwrap();
    let [mut client, _] = connect(&harness).await;
    let (person, _) = reaching(18, 75);
    let question = exact_age(18, &person.identifiers.handle);
    assert_eq!(told(&client.ask(&question).await.json), ("no".to_owned(), TODAY));
    // With another catalogue nothing is asked exactly, and so nothing of it is read.
    fs::write(&catalogue, grid_text).unwrap();
    let harness = harness.restart().await;
    fs::write(&catalogue, exact_text).unwrap();
    let (status, body) = harness.at_socket(Method::POST, "/reload").await;
    assert_eq!(status, 409, "{body}");
    assert!(body.to_string().contains("restart the gateway"), "{body}");
    let harness = harness.restart().await;
    let [mut client, _] = connect(&harness).await;
    assert_eq!(told(&client.ask(&question).await.json), ("no".to_owned(), TODAY));
    assert_eq!(harness.civil().requests().count, 1, "what was told is known again");
    harness.finish().await;
}
