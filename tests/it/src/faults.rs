//! What a failing department and a hostile adapter come to for a caller: the code that
//! `spec/errors.md` says, and never a "no".

use std::time::{Duration, Instant};

use jumpgate_departments::{FAULT_NAMES, Fault, FaultRule, Server};
use jumpgate_querylog::Kind;
use serde_json::{Value, json};

use crate::harness::{Harness, Reply, questions as q};

mod attacks;
mod captured;

/// A breaker that rests after many failures only, so that each fault is seen by itself.
const PATIENT: &str = "
    [departments.civil-registry.protection.breaker]
    failures_max = 1000
    [departments.social-insurance.protection.breaker]
    failures_max = 1000
";

fn set(server: &Server, fault: &str) {
    server.faults().clear();
    let fault: Fault = fault.parse().unwrap_or_else(|invalid| panic!("{fault}: {invalid}"));
    server.faults().set(FaultRule::from(fault)).unwrap();
}

/// Asks a question whose true answer is yes while the department has each fault.
async fn check(harness: &Harness, server: &Server, question: &Value, faults: &[(&str, u16, &str)]) {
    let mut client = harness.client("one-window").await;
    assert_eq!(client.ask(question).await.says(), "yes", "without a fault");
    for (fault, status, says) in faults {
        set(server, fault);
        let reply = client.ask(question).await;
        assert_eq!((reply.status, reply.says()), (*status, *says), "{fault}: {:?}", reply.json);
        assert_ne!(reply.says(), "no", "{fault}");
        if reply.status != 200 {
            check_fault(harness, fault, &reply);
        }
    }
    server.faults().clear();
    assert_eq!(client.ask(question).await.says(), "yes", "after all faults");
}

/// A fault is on record under its code, and says who is to blame.
fn check_fault(harness: &Harness, fault: &str, reply: &Reply) {
    let failed = harness.records_of(Kind::Failed);
    let entry = failed.iter().find(|record| record.index == reply.index());
    let entry = entry.unwrap_or_else(|| panic!("{fault}: no entry {}", reply.index()));
    assert_eq!(entry.entry.code.as_deref(), Some(reply.says()), "{fault}");
    let blame = reply.says().split('-').next().unwrap();
    assert_eq!(reply.json["blame"], json!(blame), "{fault}");
    assert!(reply.json["transient"].is_boolean() && reply.json["retry_is_safe"].is_boolean());
}

const ANY: [(&str, u16, &str); 18] = [
    ("slow:30", 200, "yes"),
    ("trickle:1", 200, "yes"),
    ("reset", 502, "department-reset"),
    ("reset-mid-body", 502, "department-reset"),
    ("close", 502, "department-reset"),
    ("close-mid-body", 502, "department-reset"),
    ("status:302", 502, "department-redirected"),
    ("status:401", 502, "department-denied"),
    ("status:403", 502, "department-denied"),
    ("status:429", 502, "department-status-unexpected"),
    ("status:500", 502, "department-error"),
    ("status:599", 502, "department-error"),
    ("huge-chunked:2", 502, "department-reply-too-large"),
    ("huge-length:2", 502, "department-reply-too-large"),
    ("wrong-charset", 502, "department-reply-malformed"),
    ("truncated", 502, "department-reply-malformed"),
    ("wrong-content-type", 502, "department-reply-unexpected"),
    ("empty-body", 502, "department-reply-malformed"),
];

const CIVIL: [(&str, u16, &str); 8] = [
    ("status:404", 502, "department-status-unexpected"),
    ("gb18030", 200, "yes"),
    ("mismatched-tags", 502, "department-reply-malformed"),
    ("entity-bomb", 502, "department-reply-malformed"),
    ("external-entity", 502, "department-reply-malformed"),
    ("soap-fault", 502, "department-error"),
    ("wrong-root", 502, "department-reply-unexpected"),
    ("missing-field", 200, "undetermined"),
];

const SOCIAL: [(&str, u16, &str); 3] = [
    ("malformed-json", 502, "department-reply-malformed"),
    ("wrong-types", 502, "department-reply-unexpected"),
    ("missing-field:state", 200, "undetermined"),
];

#[test]
fn the_tables_hold_every_fault() {
    let elsewhere = ["hang", "endless-pages"];
    let tables = ANY.iter().chain(&CIVIL).chain(&SOCIAL);
    let named: Vec<&str> =
        tables.map(|(fault, ..)| fault.split(':').next().unwrap()).chain(elsewhere).collect();
    let missing: Vec<_> = FAULT_NAMES.iter().filter(|name| !named.contains(name)).collect();
    assert!(missing.is_empty(), "{missing:?}");
}

#[tokio::test]
async fn each_fault_of_the_civil_registry_has_its_code() {
    let harness = Harness::with(PATIENT).await;
    let faults = [&ANY[..], &CIVIL].concat();
    check(&harness, harness.civil(), &q::age(18, q::WIDOW), &faults).await;
    harness.finish().await;
}

#[tokio::test]
async fn each_fault_of_social_insurance_has_its_code() {
    let harness = Harness::with(PATIENT).await;
    let faults = [&ANY[..], &SOCIAL].concat();
    check(&harness, harness.social(), &q::insured(q::WIDOW), &faults).await;
    let months = json!({ "scheme": "pension", "months": 120 });
    let question = q::social("contribution-months-at-least", months, "E00000015");
    let pages = [("endless-pages", 502, "department-reply-unexpected")];
    check(&harness, harness.social(), &question, &pages).await;
    harness.finish().await;
}

/// A department's redirect is not followed, its entity not fetched: nothing reaches it but the
/// questions themselves.
#[tokio::test]
async fn nothing_is_fetched_at_a_departments_bidding() {
    let harness = Harness::with(PATIENT).await;
    let mut client = harness.client("one-window").await;
    for fault in ["status:301", "status:302", "status:307", "status:308", "external-entity"] {
        set(harness.civil(), fault);
        let before = harness.civil().requests().count;
        assert_eq!(client.ask(&q::age(18, q::WIDOW)).await.status, 502, "{fault}");
        assert_eq!(harness.civil().requests().count, before + 1, "{fault}");
    }
    harness.finish().await;
}

#[tokio::test]
async fn a_department_that_hangs_is_left_at_the_deadline() {
    let short = "[departments.civil-registry]\ndeadline_ms = 700";
    let harness = Harness::with(&format!("{short}\n{PATIENT}")).await;
    let mut client = harness.client("one-window").await;
    assert_eq!(client.ask(&q::age(18, q::WIDOW)).await.says(), "yes");
    set(harness.civil(), "hang");
    let begun = Instant::now();
    let reply = client.ask(&q::age(18, q::WIDOW)).await;
    let took = begun.elapsed();
    assert_eq!((reply.status, reply.says()), (504, "department-timeout"));
    check_fault(&harness, "hang", &reply);
    assert!(took >= Duration::from_millis(700), "{took:?}");
    // A second is what the deadline may be missed by; the rest is for a busy machine.
    assert!(took < Duration::from_millis(1_700) + Duration::from_secs(5), "{took:?}");
    // Another department is not concerned, and this one answers as soon as it can.
    assert_eq!(client.ask(&q::insured(q::WIDOW)).await.says(), "yes");
    harness.civil().faults().clear();
    assert_eq!(client.ask(&q::age(18, q::WIDOW)).await.says(), "yes");
    harness.finish().await;
}

#[tokio::test]
async fn a_department_that_is_gone_is_unreachable() {
    let harness = Harness::with(PATIENT).await;
    harness.civil().stop().await;
    let mut client = harness.client("one-window").await;
    let reply = client.ask(&q::age(18, q::WIDOW)).await;
    assert_eq!((reply.status, reply.says()), (502, "department-unreachable"));
    assert_eq!(reply.json["retry_is_safe"], json!(true), "it was certainly not reached");
    check_fault(&harness, "stopped", &reply);
    assert_eq!(client.ask(&q::insured(q::WIDOW)).await.says(), "yes");
    harness.finish().await;
}

/// In one batch the failing department's questions fail and the others are answered.
#[tokio::test]
async fn a_fault_of_one_department_leaves_a_batchs_other_answers_alone() {
    let harness = Harness::with(PATIENT).await;
    set(harness.civil(), "status:503");
    let mut client = harness.client("one-window").await;
    let reply = client.ask_batch([q::age(18, q::WIDOW), q::insured(q::WIDOW)]).await;
    assert_eq!(reply.items(), [(502, "department-error"), (200, "yes")]);
    harness.finish().await;
}
