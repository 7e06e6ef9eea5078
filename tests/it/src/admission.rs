//! Who may ask what, how often and how much at once; and how a department is spared.

mod operators;
mod policy;
mod protection;
mod quotas;

pub use protection::BREAKER;

use jumpgate_departments::Fault;
use jumpgate_querylog::{Act, Kind};
use serde_json::json;

use crate::harness::questions::{WIDOW, age, but, civil, insured, name_matches};
use crate::harness::{Harness, Reply, eventually};
use crate::http::assert_problem;

const KILL: &str = "/departments/civil-registry/kill";
const REVIVE: &str = "/departments/civil-registry/revive";

#[tokio::test(flavor = "multi_thread")]
async fn only_what_a_grant_covers_may_be_asked() {
    let harness = Harness::start().await;
    let mut other = harness.client("other-window").await;
    assert_eq!(other.ask(&age(18, WIDOW)).await.says(), "yes");
    // Another purpose, another predicate, another department: each is allowed by the catalogue.
    let questions = [
        but(age(18, WIDOW), "purpose", "court-order"),
        name_matches("张三", WIDOW),
        civil("alive", json!({}), WIDOW),
        insured(WIDOW),
    ];
    for question in &questions {
        assert_problem(&other.ask(question).await, 403, "not-granted");
    }
    assert_eq!(harness.records_of(Kind::Refused).len(), questions.len());
    assert_eq!(harness.civil().requests().count, 1);
    assert_eq!(harness.social().requests().count, 0);
    let mut one = harness.client("one-window").await;
    for question in &questions {
        assert_eq!(one.ask(question).await.status, 200, "{question}");
    }
    harness.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_caller_past_its_quota_is_told_when_to_come_back() {
    let quota = "[quotas.caller]\nper_second = 1\nburst = 3";
    let harness = Harness::with(quota).await;
    let mut client = harness.client("one-window").await;
    let refused = until_refused(&mut client, 10).await;
    assert_problem(&refused, 429, "caller-quota-exhausted");
    assert_eq!(refused.header("retry-after"), "1");
    assert_eq!(refused.header("ratelimit"), "\"caller\";r=0;t=1");
    assert_eq!(refused.header("ratelimit-policy"), "\"caller\";q=3;w=3");
    assert!(refused.json.get("receipt").is_none());
    assert!(harness.records_of(Kind::Refused).is_empty(), "it is counted, not entered");
    let counted = async || (harness.coalesced("caller-quota-exhausted") == 1).then_some(());
    eventually("the refusal is counted", counted).await;
    let mut other = harness.client("other-window").await;
    assert_eq!(other.ask(&age(18, WIDOW)).await.says(), "yes", "a quota is its caller's own");
    let allowed = async || (client.ask(&age(18, WIDOW)).await.status == 200).then_some(());
    eventually("a second later it may ask again", allowed).await;
    harness.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_callers_quota_at_one_department_spares_that_department_alone() {
    let quota = "[quotas.callers.one-window.departments]\n\
                 civil-registry = { per_second = 1, burst = 3 }";
    let harness = Harness::with(quota).await;
    let mut client = harness.client("one-window").await;
    let refused = until_refused(&mut client, 10).await;
    assert_problem(&refused, 429, "department-quota-exhausted");
    assert_eq!(refused.header("retry-after"), "1");
    let entry = harness.records_of(Kind::Refused).pop().unwrap();
    assert_eq!(entry.index, refused.index());
    assert_eq!(entry.entry.code.as_deref(), Some("department-quota-exhausted"));
    assert_eq!(client.ask(&insured(WIDOW)).await.says(), "yes");
    let asked = harness.civil().requests().count;
    assert_eq!(asked, harness.records_of(Kind::Answer).len() as u64 - 1);
    harness.finish().await;
}

/// Asks until a question is refused, which must come within so many.
async fn until_refused(client: &mut crate::harness::Client, questions: usize) -> Reply {
    for _ in 0..questions {
        let reply = client.ask(&age(18, WIDOW)).await;
        if reply.status != 200 {
            return reply;
        }
    }
    panic!("{questions} questions and no refusal");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_department_is_switched_off_and_on_and_the_log_says_so() {
    let harness = Harness::start().await;
    let mut client = harness.client("one-window").await;
    let said = async |path: &str| {
        let (status, said) = harness.act(path).await;
        (status.as_u16(), said)
    };
    assert_eq!(said(KILL).await, (200, "done".to_owned()));
    assert_eq!(said(KILL).await, (200, "it was so already".to_owned()));
    let refused = client.ask(&age(18, WIDOW)).await;
    assert_problem(&refused, 503, "department-switched-off");
    let entry = harness.records_of(Kind::Refused).pop().unwrap();
    assert_eq!(entry.index, refused.index());
    assert_eq!(client.ask(&insured(WIDOW)).await.says(), "yes");
    assert!(harness.metrics().await.contains(
        "jumpgate_department{department=\"civil-registry\",reading=\"switched_off\"} 1\n"
    ));
    assert_eq!(said(REVIVE).await, (200, "done".to_owned()));
    assert_eq!(client.ask(&age(18, WIDOW)).await.says(), "yes");
    assert_eq!(said("/departments/no-such/kill").await.0, 404);
    assert_eq!(said("/departments/civil-registry/paint").await.0, 404);
    assert_eq!(harness.civil().requests().count, 1);
    let switched: Vec<_> = (harness.records_of(Kind::Act(Act::Config)).iter())
        .map(|record| record.entry.details.clone().unwrap())
        .filter(|details| details.find("department") == Some("civil-registry"))
        .map(|details| details.find("switched").unwrap().to_owned())
        .collect();
    assert_eq!(switched, ["off", "off", "on"]);
    harness.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_caller_has_at_most_in_flight_max_queries_at_once() {
    let harness = Harness::with("in_flight_max = 1").await;
    harness.civil().faults().set("hang".parse::<Fault>().unwrap()).unwrap();
    let mut slow = harness.client("one-window").await;
    let asking = tokio::spawn(async move { slow.ask(&age(18, WIDOW)).await });
    let at_department = async || (harness.civil().requests().in_flight == 1).then_some(());
    eventually("one is in flight", at_department).await;
    let mut client = harness.client("one-window").await;
    // The mark is the caller's, not the department's.
    let refused = client.ask(&insured(WIDOW)).await;
    assert_problem(&refused, 429, "in-flight-exhausted");
    assert_eq!(harness.records_of(Kind::Refused).pop().unwrap().index, refused.index());
    harness.civil().faults().clear();
    assert_eq!(asking.await.unwrap().says(), "yes");
    assert_eq!(client.ask(&insured(WIDOW)).await.says(), "yes");
    harness.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_metrics_count_everything_and_name_nobody() {
    let harness = Harness::start().await;
    let people = jumpgate_departments::population(7, 400, crate::harness::TODAY);
    let widow = people.iter().find(|person| person.identifiers.passport == WIDOW).unwrap();
    let mut client = harness.client("one-window").await;
    let claim = name_matches(&widow.name.full, WIDOW);
    let noted = but(but(claim, "case", "2026-0417"), "operator", "desk-four");
    assert_eq!(client.ask(&noted).await.says(), "yes");
    assert_eq!(client.ask(&age(65, WIDOW)).await.says(), "no");
    client.ask(&age(19, WIDOW)).await;
    harness.social().faults().set("reset".parse::<Fault>().unwrap()).unwrap();
    client.ask(&insured(WIDOW)).await;
    harness.client("other-window").await.ask(&insured(WIDOW)).await;
    let metrics = harness.metrics().await;
    for line in [
        "jumpgate_queries_total{department=\"civil-registry\",outcome=\"yes\"} 1",
        "jumpgate_queries_total{department=\"civil-registry\",outcome=\"no\"} 1",
        "jumpgate_queries_total{department=\"social-insurance\",outcome=\"department-reset\"} 1",
        "jumpgate_refusals_total{code=\"invalid-parameter\"} 1",
        "jumpgate_refusals_total{code=\"not-granted\"} 1",
        "jumpgate_department_seconds_count{department=\"civil-registry\"} 2",
        "jumpgate_department{department=\"civil-registry\",reading=\"in_flight\"} 0",
        "jumpgate_department{department=\"civil-registry\",reading=\"breaker\"} 0",
        "jumpgate_log{reading=\"stopped\"} 0",
        "# EOF",
    ] {
        assert!(metrics.lines().any(|known| known == line), "no {line} in\n{metrics}");
    }
    let secret = [WIDOW, &widow.name.full, &widow.name.family, "2026-0417", "desk-four"];
    for text in secret {
        assert!(!metrics.contains(text), "{text} stands in the metrics");
    }
    harness.finish().await;
}
