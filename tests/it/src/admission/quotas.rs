//! How often a caller may ask, in all and about one person; and that a restart forgets nothing.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use jumpgate::development::{LONG, Use};
use jumpgate_admission::{Rebuild, SubjectNumber};
use jumpgate_catalogue::{Catalogue, Digest};
use jumpgate_departments::Fault;
use jumpgate_querylog::{Keys, Kind, LogOptions, QueryLog, StartDetails, SubjectRef};
use serde_json::{Value, json};

use crate::crash;
use crate::harness::questions::{WIDOW, age, batch, civil, insured, name_matches, under_id};
use crate::harness::{Client, Ground, Harness, Protocol, Reply, Setup, TODAY, eventually, parts};
use crate::http::assert_problem;

/// Somebody else whom both departments know.
const ANOTHER: &str = "E00000012";

#[tokio::test(flavor = "multi_thread")]
async fn a_person_is_asked_about_so_often_by_each_caller_and_no_oftener() {
    let harness = Harness::with("[quotas.subject]\nper_day = 2\nper_90_days = 3").await;
    harness.set_now("2026-05-12T23:59:00+08:00");
    let mut client = harness.client("one-window").await;
    for years in [14, 18] {
        assert_eq!(client.ask(&age(years, WIDOW)).await.says(), "yes");
    }
    let refused = client.ask(&age(18, WIDOW)).await;
    assert_problem(&refused, 429, "subject-quota-exhausted");
    let wait: u64 = refused.header("retry-after").parse().unwrap();
    assert!((1..=60).contains(&wait), "{wait} s, and midnight is a minute away");
    assert!(!refused.header("ratelimit-policy").contains("subject"), "no header is about people");
    let entry = harness.records_of(Kind::Refused).pop().unwrap();
    assert_eq!(entry.entry.code.as_deref(), Some("subject-quota-exhausted"));
    assert_eq!(harness.civil().requests().count, 2);
    // Another attribute, another department, another person, another caller.
    assert_eq!(client.ask(&civil("alive", json!({}), WIDOW)).await.says(), "yes");
    assert_eq!(client.ask(&insured(WIDOW)).await.says(), "yes");
    assert_eq!(client.ask(&age(18, ANOTHER)).await.status, 200);
    let mut other = harness.client("other-window").await;
    assert_eq!(other.ask(&age(18, WIDOW)).await.says(), "yes");
    // The next day there are two again, but only three in 90 days.
    harness.advance(Duration::from_secs(61));
    assert_eq!(client.ask(&age(18, WIDOW)).await.says(), "yes");
    let refused = client.ask(&age(18, WIDOW)).await;
    assert_problem(&refused, 429, "subject-quota-exhausted");
    let wait: u64 = refused.header("retry-after").parse().unwrap();
    let days = wait.div_ceil(24 * 60 * 60);
    assert_eq!(days, 89, "{wait} s: the first two leave then");
    harness.advance(Duration::from_secs(wait));
    assert_eq!(client.ask(&age(18, WIDOW)).await.says(), "yes");
    harness.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn attempts_that_fail_end_in_a_refusal_that_does_not_say_why() {
    let harness = Harness::with("[quotas.attempts]\nper_day = 2\nper_90_days = 2").await;
    let mut client = harness.client("one-window").await;
    let widow = widows_name();
    for _ in 0..3 {
        assert_eq!(client.ask(&name_matches(&widow, WIDOW)).await.says(), "yes", "costs nothing");
    }
    // One whose name is another, and one whom nobody knows: which it is, nobody is told.
    let mut refusals = Vec::new();
    for passport in [WIDOW, "E99999999"] {
        for _ in 0..2 {
            assert_eq!(client.ask(&name_matches("不是", passport)).await.says(), "no");
        }
        for name in ["不是", &widow] {
            let refused = client.ask(&name_matches(name, passport)).await;
            assert_problem(&refused, 429, "attempts-exhausted");
            let mut said = refused.json.clone();
            for own in ["query_id", "receipt", "retry_after_s"] {
                said.as_object_mut().unwrap().remove(own);
            }
            refusals.push(said);
        }
    }
    assert!(refusals.iter().all(|said| *said == refusals[0]), "{refusals:#?}");
    // A question that broke was no attempt.
    harness.civil().faults().set("truncated".parse::<Fault>().unwrap()).unwrap();
    for _ in 0..3 {
        let reply = client.ask(&name_matches("不是", ANOTHER)).await;
        assert_problem(&reply, 502, "department-reply-malformed");
    }
    harness.civil().faults().clear();
    assert_eq!(client.ask(&name_matches("不是", ANOTHER)).await.says(), "no");
    harness.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_allotment_shows_when_little_is_left_and_counts_what_has_an_entry() {
    let harness = Harness::with(
        "[quotas.caller]\nper_second = 1000\nburst = 1000\nper_day = 10\nper_90_days = 1000",
    )
    .await;
    harness.set_now("2026-05-12T23:50:00+08:00");
    let mut client = harness.client("one-window").await;
    let policies = |reply: &Reply| reply.header("ratelimit-policy").to_owned();
    let first = client.ask(&under_id(age(18, WIDOW), 1)).await;
    assert!(!policies(&first).contains(":day"), "{}", policies(&first));
    // A repeat has no entry, and a malformed question is counted in windows.
    for _ in 0..5 {
        assert_eq!(client.ask(&under_id(age(18, WIDOW), 1)).await.says(), "yes");
        assert_problem(&client.ask(&age(19, WIDOW)).await, 400, "invalid-parameter");
        assert_eq!(client.get("/v1/catalogue").await.status, 200);
    }
    // A refusal with an entry counts, so that nobody fills the log by being refused.
    let not_granted = crate::harness::questions::but(insured(WIDOW), "purpose", "court-order");
    let mut other = harness.client("other-window").await;
    for _ in 0..10 {
        assert_problem(&other.ask(&not_granted).await, 403, "not-granted");
    }
    assert_problem(&other.ask(&not_granted).await, 429, "caller-quota-exhausted");
    assert_eq!(harness.records_of(Kind::Refused).len(), 10);
    let said = client.ask_batch((0..8).map(|_| age(18, WIDOW))).await;
    assert!(said.items().iter().all(|(status, _)| *status == 200), "{}", said.json);
    let last = client.ask(&age(18, WIDOW)).await;
    assert_eq!(last.says(), "yes");
    assert!(policies(&last).contains("\"caller:day\";q=10;w=86400"), "{}", policies(&last));
    assert!(last.header("ratelimit").contains("\"caller:day\";r=0;t="), "of the day: none");
    assert_eq!(client.ask(&under_id(age(18, WIDOW), 1)).await.says(), "yes", "a repeat is free");
    let refused = client.ask(&age(18, WIDOW)).await;
    assert_problem(&refused, 429, "caller-quota-exhausted");
    let wait: u64 = refused.header("retry-after").parse().unwrap();
    assert!((1..=600).contains(&wait), "{wait}");
    assert!(refused.header("ratelimit").contains("\"caller:day\";r=0;t="));
    harness.advance(Duration::from_secs(wait));
    assert_eq!(client.ask(&age(18, WIDOW)).await.says(), "yes");
    harness.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_reload_takes_other_allotments_at_once_and_forgets_no_count() {
    let of = |per_day: u32| format!("[quotas.subject]\nper_day = {per_day}\nper_90_days = 100");
    let harness = Harness::with(&of(2)).await;
    let mut client = harness.client("one-window").await;
    for per_day in [2, 4, 3, 5] {
        if per_day != 2 {
            harness.reconfigure(&of(per_day));
            assert_eq!(harness.act("/reload").await.0, 200);
        }
        let answered = answers(&mut client, 10).await;
        let expected = [0, 0, 2, 0, 2, 1][per_day as usize];
        assert_eq!(answered, expected, "with {per_day} a day");
    }
    harness.finish().await;
}

fn widows_name() -> String {
    let people = jumpgate_departments::population(7, 400, TODAY);
    let widow = people.into_iter().find(|person| person.identifiers.passport == WIDOW);
    widow.unwrap().name.full
}

/// How many of so many questions about the widow's age are answered. The others must be refused.
async fn answers(client: &mut Client, questions: usize) -> usize {
    let mut answered = 0;
    for _ in 0..questions {
        let reply = client.ask(&age(18, WIDOW)).await;
        if reply.status == 200 {
            answered += 1;
        } else {
            assert_problem(&reply, 429, "subject-quota-exhausted");
        }
    }
    answered
}

#[tokio::test(flavor = "multi_thread")]
async fn what_all_callers_ask_about_one_person_is_noticed_and_refused_to_nobody() {
    let harness = Harness::with("[quotas]\nsubject_alarm_per_day = 3").await;
    let alarms = async |count: usize| {
        let metrics = harness.metrics().await;
        let line = format!("jumpgate_subject_alarms_total {count}\n");
        assert!(metrics.contains(&line), "{line}{metrics}");
    };
    for (name, expected) in
        [("one-window", 0), ("other-window", 0), ("one-window", 1), ("other-window", 1)]
    {
        assert_eq!(harness.client(name).await.ask(&age(18, WIDOW)).await.says(), "yes");
        alarms(expected).await;
    }
    harness.advance(Duration::from_secs(24 * 60 * 60));
    assert_eq!(answers(&mut harness.client("one-window").await, 3).await, 3);
    alarms(2).await;
    harness.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn many_connections_and_certificates_of_a_caller_have_its_quotas_together() {
    let harness = Harness::with(
        "[quotas.caller]\nper_second = 100000\nburst = 100000\nper_day = 40\nper_90_days = 40\n\
         [quotas.department]\nper_second = 100000\nburst = 100000\nper_day = 30\nper_90_days = 30",
    )
    .await;
    let mut asking = Vec::new();
    for number in 0..20 {
        // Each connection has a certificate of its own for the same name.
        let name = Use::Client("urn:example:district:one-window");
        let shown = harness.authority.issue(&format!("desk-{number}"), name, LONG).unwrap();
        let mut client = harness.connect(Some(&shown), Protocol::Http1).await.unwrap();
        asking.push(tokio::spawn(async move {
            let mut said = BTreeMap::<String, usize>::new();
            for _ in 0..10 {
                let reply = client.ask(&age(18, WIDOW)).await;
                let code = reply.json.get("code").and_then(Value::as_str).unwrap_or("answered");
                *said.entry(code.to_owned()).or_default() += 1;
            }
            said
        }));
    }
    let mut said = BTreeMap::<String, usize>::new();
    for task in asking {
        for (code, count) in task.await.unwrap() {
            *said.entry(code).or_default() += count;
        }
    }
    let expected =
        [("answered", 30), ("caller-quota-exhausted", 160), ("department-quota-exhausted", 10)];
    let expected = expected.map(|(code, count)| (code.to_owned(), count));
    assert_eq!(said, BTreeMap::from(expected));
    assert_eq!(harness.civil().requests().count, 30);
    assert_eq!(harness.records_of(Kind::Refused).len(), 10);
    let counted = async || (harness.coalesced("caller-quota-exhausted") == 160).then_some(());
    eventually("every refusal is counted", counted).await;
    harness.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_flood_of_refusals_is_counted_to_the_last_and_adds_next_to_nothing() {
    const FLOOD: u64 = 20_000;
    let quota = "[quotas.caller]\nper_second = 100000\nburst = 100000\n\
                 per_day = 1\nper_90_days = 1";
    let harness = Harness::with(quota).await;
    assert_eq!(harness.client("one-window").await.ask(&age(18, WIDOW)).await.says(), "yes");
    let before = bytes(&harness);
    let mut asking = Vec::new();
    for _ in 0..8 {
        let mut client = harness.client("one-window").await;
        asking.push(tokio::spawn(async move {
            for _ in 0..FLOOD / 8 {
                let reply = client.ask(&age(18, WIDOW)).await;
                assert_eq!(reply.status, 429, "{}", reply.json);
            }
        }));
    }
    for task in asking {
        task.await.unwrap();
    }
    let counted = async || (harness.coalesced("caller-quota-exhausted") == FLOOD).then_some(());
    eventually("every refusal is counted", counted).await;
    let added = bytes(&harness) - before;
    assert!(added < FLOOD, "{added} bytes for {FLOOD} refusals: less than one each");
    harness.finish().await;
}

/// Bytes of the entries.
fn bytes(harness: &Harness) -> u64 {
    harness.records().iter().map(|it| (it.entry_bytes.len() + it.sealed.len()) as u64).sum()
}

/// The allotments are of 90 days, so that midnight changes nothing.
const KILLED: &str = "[quotas.subject]\nper_day = 6\nper_90_days = 6\n\
                      [quotas.attempts]\nper_day = 3\nper_90_days = 3\n\
                      [log]\nsnapshot_entries = 10";

#[tokio::test(flavor = "multi_thread")]
async fn a_killed_gateway_knows_what_was_asked_with_a_snapshot_and_without() {
    crash::build_binary().await;
    let ground = Setup::new().with(KILLED).ground().await;
    let widow = widows_name();
    // What each run may still ask before it is killed, of age and of failed attempts.
    type Prepare = fn(&Path);
    let runs: [(usize, usize, Prepare); 4] = [
        (2, 1, |snapshot| assert!(!snapshot.exists())),
        // From the snapshot, and what came after it.
        (1, 1, |snapshot| assert!(snapshot.exists())),
        // One that was changed is as good as none.
        (2, 1, |snapshot| {
            let mut bytes = fs::read(snapshot).unwrap();
            bytes[100] ^= 1;
            fs::write(snapshot, bytes).unwrap();
        }),
        (1, 0, |snapshot| fs::remove_file(snapshot).unwrap()),
    ];
    let snapshot = ground.config().parent().unwrap().join("log").join("counts");
    for (ages, attempts, prepare) in runs {
        prepare(&snapshot);
        let (mut process, address) = crash::serve(&ground).await;
        let mut client = crash::connect(&ground, address).await.unwrap();
        for _ in 0..ages {
            assert_eq!(client.ask(&age(18, WIDOW)).await.says(), "yes");
        }
        // These count for nobody, and make enough entries for a snapshot.
        for _ in 0..5 * attempts {
            assert_eq!(client.ask(&name_matches(&widow, WIDOW)).await.says(), "yes");
        }
        for _ in 0..attempts {
            assert_eq!(client.ask(&name_matches("不是", WIDOW)).await.says(), "no");
        }
        if attempts > 0 {
            break_one(&ground, &mut client).await;
            let kept = async || snapshot.exists().then_some(());
            eventually("a snapshot is kept", kept).await;
        }
        // One is in flight at the end: it was never answered, and counts for nobody.
        let faults = ground.departments.civil_registry.faults();
        faults.set("hang".parse::<Fault>().unwrap()).unwrap();
        let mut hanging = crash::connect(&ground, address).await.unwrap();
        let asking = tokio::spawn(async move {
            let json = [("content-type", "application/json")];
            let body = age(18, ANOTHER).to_string();
            hanging.send(http::Method::POST, "/v1/queries", &json, body).await.is_err()
        });
        let hangs =
            async || (ground.departments.civil_registry.requests().in_flight == 1).then_some(());
        eventually("the question is at the department", hangs).await;
        process.kill().await.unwrap();
        assert!(asking.await.unwrap());
        faults.clear();
        let gone =
            async || (ground.departments.civil_registry.requests().in_flight == 0).then_some(());
        eventually("nothing is left at the department", gone).await;
    }
    let (mut process, address) = crash::serve(&ground).await;
    let mut client = crash::connect(&ground, address).await.unwrap();
    assert_problem(&client.ask(&age(18, WIDOW)).await, 429, "subject-quota-exhausted");
    let refused = client.ask(&name_matches(&widow, WIDOW)).await;
    assert_problem(&refused, 429, "attempts-exhausted");
    for _ in 0..6 {
        // Four were never answered.
        assert_eq!(client.ask(&age(18, ANOTHER)).await.status, 200);
    }
    process.kill().await.unwrap();
    ground.start().await.unwrap().finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_start_takes_the_snapshot_for_the_entries_that_it_covers() {
    let ground = Setup::new()
        .with("[quotas.subject]\nper_day = 6\nper_90_days = 6")
        .start()
        .await
        .stop()
        .await
        .0;
    // One that says what no entry says: it can only be believed if it is read.
    let dir = ground.config().parent().unwrap().to_owned();
    let keys = Keys::open(&dir.join("keys")).unwrap();
    let catalogue = Catalogue::load(&parts::root().join("spec/catalogue")).unwrap();
    let zone = jiff::tz::TimeZone::get("Asia/Shanghai").unwrap();
    let now_ms = TODAY.to_zoned(zone.clone()).unwrap().timestamp().as_millisecond() as u64;
    let options = LogOptions {
        segment_bytes: 2 << 20,
        headroom_bytes_min: 16 << 20,
        ballast_bytes: 1 << 20,
        ..LogOptions::default()
    };
    let start = StartDetails {
        version: "forged".to_owned(),
        config: Digest([0; 32]),
        catalogue: Digest([0; 32]),
        policy: Digest([0; 32]),
        engine: Digest([0; 32]),
        accept_clock: true,
    };
    let clock = Arc::new(move || now_ms);
    let (log, _) = QueryLog::open(&dir.join("log"), &keys, options, start, clock).unwrap();
    let kind = "passport".parse().unwrap();
    let subject = log.subject_number(&SubjectRef { kind: &kind, identifier: WIDOW }).unwrap();
    let mut forged = Rebuild::new(zone, &catalogue, 0);
    for index in 0..4 {
        let names = ("one-window", "civil-registry", "civil-registry/age-at-least@1");
        forged.asked(index, now_ms, names, SubjectNumber(subject));
        forged.answered(index, || None);
    }
    log.keep_snapshot(log.durable_entries(), |bytes| forged.snapshot(bytes)).unwrap();
    log.close().await.unwrap();
    let harness = ground.start().await.unwrap();
    assert_eq!(answers(&mut harness.client("one-window").await, 4).await, 2);
    harness.finish().await;
}

/// A question that fails counts for nobody.
async fn break_one(ground: &Ground, client: &mut Client) {
    let faults = ground.departments.civil_registry.faults();
    faults.set("truncated".parse::<Fault>().unwrap()).unwrap();
    assert_eq!(client.ask(&age(18, WIDOW)).await.status, 502);
    faults.clear();
}

#[tokio::test(flavor = "multi_thread")]
async fn parts_of_a_batch_are_charged_singly() {
    let harness = Harness::with("[quotas.subject]\nper_day = 2\nper_90_days = 2").await;
    let mut client = harness.client("one-window").await;
    let questions = [age(18, WIDOW), age(60, WIDOW), age(14, WIDOW), age(18, ANOTHER)];
    let said = client.post("/v1/batches", &batch(questions)).await;
    let mut statuses: Vec<u64> = said.items().iter().map(|(status, _)| *status).collect();
    statuses.sort_unstable();
    assert_eq!(statuses, [200, 200, 200, 429], "{}", said.json);
    assert_eq!(harness.civil().requests().count, 3);
    harness.finish().await;
}
