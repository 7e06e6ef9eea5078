//! Break-glass: what two operators are told past the auditor, what it takes, and that nobody else
//! is told more or less for it.

use std::fs;

use jiff::ToSpan;
use jumpgate_catalogue::{Digest, Way};
use jumpgate_querylog::{FieldId, Kind};
use serde_json::{Value, json};

use super::exact::{reaching, set_day, told};
use super::persons::shown;
use crate::crash::{build_binary, jumpgate, said};
use crate::harness::exact::{exact_age, exact_with};
use crate::harness::questions::{batch, but, under_id};
use crate::harness::tokens::{ISSUER_OF_WINDOW, SigningKey, claims, encoded, jwk_set};
use crate::harness::{Client, Harness, Reply, TODAY, load};
use crate::http::assert_problem;

/// The registry's rules: four cuts a year for everybody, and for a court order two more past the
/// auditor.
const RULES: &str = r#"
    @id("of-age") @cuts_per_year("4")
    permit (principal, action == Action::"civil-registry/age-at-least@1",
        resource == Department::"civil-registry")
    when { context.purpose == Purpose::"hiring" };
    @id("court") @cuts_per_year("2") @break_glass("two-operators")
    permit (principal, action == Action::"civil-registry/age-at-least@1",
        resource == Department::"civil-registry")
    when { context.purpose == Purpose::"court-order" && context.operator.signed };
"#;

struct Court {
    harness: Harness,
    key: SigningKey,
    client: Client,
    asked: u64,
}

impl Court {
    async fn start() -> Self {
        Self::start_with("").await
    }

    async fn start_with(overlay: &str) -> Self {
        let key = SigningKey::es256("2026-1");
        let ground = exact_with(RULES).with(ISSUER_OF_WINDOW).with(overlay).ground().await;
        fs::write(ground.folder.path().join("idp.json"), jwk_set(&[&key])).unwrap();
        let harness = ground.start().await.unwrap();
        let client = harness.client("one-window").await;
        Self { harness, key, client, asked: 0 }
    }

    /// What somebody's token says who agrees to this question.
    fn claims(&self, name: &str, question: &Value) -> Value {
        let good = claims(self.harness.now_s(), &self.harness.identity("one-window"));
        let id = question["query_id"].as_str().unwrap();
        let content = encoded(&Digest::of(question.to_string().as_bytes()).0);
        but(but(but(good, "sub", name), "query_id", id), "content_sha256", content)
    }

    fn token(&self, name: &str, question: &Value) -> String {
        self.key.token(&self.claims(name, question))
    }

    async fn send(&mut self, question: &Value, tokens: &[Header<'_>]) -> Reply {
        let json = ("content-type", "application/json");
        let headers: Vec<(&str, &str)> =
            std::iter::once(json).chain(tokens.iter().copied()).collect();
        let is_batch = question.get("questions").is_some();
        let path = if is_batch { "/v1/batches" } else { "/v1/queries" };
        let sent = self.client.send(http::Method::POST, path, &headers, question.to_string());
        sent.await.unwrap()
    }

    /// Asks with one operator, or with two.
    async fn ask(&mut self, question: &Value, names: &[&str]) -> Reply {
        self.asked += 1;
        let question = under_id(question.clone(), self.asked);
        let tokens: Vec<String> = names.iter().map(|name| self.token(name, &question)).collect();
        let headers: Vec<(&str, &str)> =
            [FIRST, SECOND].into_iter().zip(tokens.iter().map(String::as_str)).collect();
        self.send(&question, &headers).await
    }
}

type Header<'a> = (&'a str, &'a str);

const FIRST: &str = "operator-token";
const SECOND: &str = "second-operator-token";
const BOTH: [&str; 2] = ["clerk", "judge"];

#[tokio::test(flavor = "multi_thread")]
async fn two_operators_are_told_to_the_day_and_nobody_else_is_told_more() {
    build_binary().await;
    let mut court = Court::start().await;
    let (person, _) = reaching(18, 75);
    let handle = &person.identifiers.handle;
    let hiring = exact_age(18, handle);
    let order = but(hiring.clone(), "purpose", "court-order");
    // One operator is told nothing of it, and two of nothing else.
    assert_problem(&court.ask(&order, &["clerk"]).await, 403, "not-granted");
    assert_problem(&court.ask(&hiring, &BOTH).await, 403, "not-granted");
    assert_eq!(told(&court.ask(&hiring, &["clerk"]).await.json), ("no".to_owned(), TODAY));
    let known = shown(&court.harness, handle).await;
    let requests = court.harness.civil().requests().count;
    let day = TODAY.saturating_add(1.days());
    set_day(&court.harness, day);
    let older = but(order.clone(), "parameters", json!({ "years": 16 }));
    let is_of = |years: i64| person.birth_date.saturating_add(years.years()) <= day;
    let says = |years| if is_of(years) { "yes" } else { "no" };
    assert_eq!(told(&court.ask(&order, &BOTH).await.json), ("no".to_owned(), day));
    assert_eq!(told(&court.ask(&older, &BOTH).await.json), (says(16).to_owned(), day));
    assert_eq!(court.harness.civil().requests().count, requests + 2, "both to the day");
    let spent = court.ask(&but(order.clone(), "parameters", json!({ "years": 60 })), &BOTH).await;
    assert_problem(&spent, 403, "disclosure-refused");
    check_told(&court.harness, handle, &known).await;

    // A restart remembers what was granted, and that nothing of it is everybody's.
    let Court { harness, key, asked, client } = court;
    drop(client);
    let harness = harness.restart().await;
    let client = harness.client("one-window").await;
    let mut court = Court { harness, key, asked, client };
    assert_problem(&court.ask(&order, &BOTH).await, 403, "disclosure-refused");
    check_told(&court.harness, handle, &known).await;
    // What is told past the auditor is held against what was told, too; others are asked ahead.
    let (verdict, _) = told(&court.ask(&hiring, &["clerk"]).await.json);
    assert_eq!(verdict, "no");
    drop(court.client);
    court.harness.finish().await;
}

/// What is known of the person is what was; the two cuts past the auditor are listed apart.
async fn check_told(harness: &Harness, handle: &str, known: &[String]) {
    let now = shown(harness, handle).await;
    assert_eq!(now[..2], known[..2]);
    let past = now.iter().filter(|line| line.ends_with("it was a cut, past the auditor")).count();
    assert_eq!((past, now.len()), (2, 4), "{now:?}");
    let asks = harness.records_of(Kind::BreakGlass);
    assert_eq!(asks.len(), 2);
    for ask in &asks {
        assert_eq!(ask.entry.purpose.as_deref(), Some("court-order"));
        assert_eq!(ask.entry.rule.as_deref(), Some("civil-registry/court"));
        let fields = harness.fields(ask);
        let names = [FieldId::Operator, FieldId::SecondOperator].map(|id| fields.text(id));
        assert_eq!(names, [Some("clerk"), Some("judge")]);
    }
    let of_glass = |it: &jumpgate_querylog::Record| it.entry.ask == Some(asks[0].index);
    let answer = harness.records_of(Kind::Answer).into_iter().find(of_glass).unwrap();
    assert_eq!(harness.fields(&answer).release().unwrap().way, Way::BreakGlass);
    let shown = listed(harness, "civil-registry");
    let lines: Vec<&str> = shown.lines().collect();
    assert_eq!(lines.len(), 2, "{shown}");
    assert!(lines[0].contains("one-window  civil-registry/age-at-least@1  court-order"), "{shown}");
    let none = listed(harness, "social-insurance");
    assert_eq!(none, "");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_asked_past_the_auditor_counts_for_the_subject_after_a_restart() {
    let mut court = Court::start_with("[quotas]\nsubject = { per_day = 2, per_90_days = 9 }").await;
    let (person, _) = reaching(18, 75);
    let hiring = exact_age(18, &person.identifiers.handle);
    let order = but(hiring.clone(), "purpose", "court-order");
    for years in [18, 16] {
        let order = but(order.clone(), "parameters", json!({ "years": years }));
        assert_eq!(court.ask(&order, &BOTH).await.status, 200);
    }
    let Court { harness, key, asked, client } = court;
    drop(client);
    let harness = harness.restart().await;
    let client = harness.client("one-window").await;
    let mut court = Court { harness, key, asked, client };
    let refused = court.ask(&hiring, &["clerk"]).await;
    assert_problem(&refused, 429, "subject-quota-exhausted");
    drop(court.client);
    court.harness.finish().await;
}

/// What a department can be shown without a key.
fn listed(harness: &Harness, department: &str) -> String {
    let log = harness.log_dir();
    let log = log.to_str().unwrap();
    let only = ["--kind", "break-glass", "--department", department];
    said(&jumpgate(harness.folder(), &[&["log", "show", log][..], &only].concat()))
}

#[tokio::test(flavor = "multi_thread")]
async fn it_takes_two_people_who_agree_to_the_question() {
    let mut court = Court::start().await;
    let (person, _) = reaching(18, 75);
    let order = but(exact_age(18, &person.identifiers.handle), "purpose", "court-order");
    let question = under_id(order.clone(), 7);
    let (clerk, judge) = (court.token("clerk", &question), court.token("judge", &question));
    let without = |name: &str, claim: &str| {
        let mut claims = court.claims(name, &question);
        claims.as_object_mut().unwrap().remove(claim);
        court.key.token(&claims)
    };
    let with = |claim: &str, value: &str| {
        court.key.token(&but(court.claims("judge", &question), claim, value))
    };
    let foreign = SigningKey::es256("2026-1").token(&court.claims("judge", &question));
    let of_other = court.token("judge", &under_id(order.clone(), 8));
    let about_other = but(question.clone(), "case", "another");
    let content = encoded(&Digest::of(about_other.to_string().as_bytes()).0);
    let cases: Vec<(&str, Vec<Header<'_>>, &str)> = vec![
        ("one person", vec![(FIRST, &clerk), (SECOND, &clerk)], "the token of another person"),
        ("no first", vec![(SECOND, &judge)], "operator-token: send the operator's signed token"),
        ("two", vec![(FIRST, &clerk), (SECOND, &judge), (SECOND, &judge)], "one token"),
        ("forged", vec![(FIRST, &clerk), (SECOND, &foreign)], "second-operator-token: the sign"),
    ];
    let ids = "in the claim query_id";
    let contents = "second-operator-token: name the SHA-256 of the request's body in the claim";
    let claims = [
        (without("judge", "query_id"), ids),
        (of_other, "second-operator-token: content_sha256 is of another body"),
        (without("judge", "content_sha256"), contents),
        (with("content_sha256", &content), "second-operator-token: content_sha256 is of another"),
        (with("content_sha256", "AAAA"), "second-operator-token: write content_sha256 as"),
        (with("query_id", "00000000000000000000000000000008"), "another query_id"),
    ];
    let of_claims = claims.iter().map(|(token, mend)| {
        ("a claim", vec![(FIRST, clerk.as_str()), (SECOND, token.as_str())], *mend)
    });
    let firsts = [(without("clerk", "query_id"), ids), (without("clerk", "content_sha256"), "the")];
    let of_firsts = firsts.iter().map(|(token, mend)| {
        ("the first's", vec![(FIRST, token.as_str()), (SECOND, judge.as_str())], *mend)
    });
    let cases: Vec<_> = cases.into_iter().chain(of_claims).chain(of_firsts).collect();
    for (what, headers, mend) in cases {
        let refused = court.send(&question, &headers).await;
        assert_problem(&refused, 403, "operator-unproven");
        let detail = refused.json["detail"].as_str().unwrap();
        assert!(detail.contains(mend), "{what}: {detail}");
    }
    assert!(court.harness.records_of(Kind::BreakGlass).is_empty());
    drop(court.client);
    court.harness.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn two_people_agree_to_one_question_of_one_body() {
    let mut court = Court::start().await;
    let (person, _) = reaching(18, 75);
    let order = but(exact_age(18, &person.identifiers.handle), "purpose", "court-order");
    let question = under_id(order, 7);
    let (clerk, judge) = (court.token("clerk", &question), court.token("judge", &question));
    // Neither are they asked about several things at once.
    let several = batch([question.clone(), under_id(question.clone(), 9)]);
    let content = encoded(&Digest::of(several.to_string().as_bytes()).0);
    let of_several = |name: &str| {
        let claims = but(court.claims(name, &question), "content_sha256", content.as_str());
        court.key.token(&claims)
    };
    let (one, other) = (of_several("clerk"), of_several("judge"));
    let reply = court.send(&several, &[(FIRST, &one), (SECOND, &other)]).await;
    let statuses: Vec<_> = reply.json["answers"].as_array().unwrap().iter().collect();
    assert_eq!((&statuses[0]["status"], &statuses[1]["status"]), (&json!(200), &json!(403)));
    let asks = court.harness.records_of(Kind::BreakGlass);
    assert_eq!(asks.len(), 1);
    // A repeat of the question is another one without the second person.
    let alone = court.send(&question, &[(FIRST, &clerk)]).await;
    assert_problem(&alone, 422, "query-id-reused");
    let again = court.send(&question, &[(FIRST, &clerk), (SECOND, &judge)]).await;
    assert_eq!(again.status, 200);
    // What it was is told to whom it was.
    court.harness.published().await;
    let receipt = court.client.get(&format!("/v1/receipts/{}", asks[0].index)).await;
    assert_eq!((receipt.status, &receipt.json["kind"]), (200, &json!("break-glass")));
    // What is agreed to for one body is good for no other, by one person either.
    let other_words = but(question.clone(), "purpose", "hiring");
    let alone = court.send(&other_words, &[(FIRST, &clerk)]).await;
    assert_problem(&alone, 403, "operator-unproven");
    // Who sends no tokens at all cannot send a second one.
    let mut other = court.harness.client("other-window").await;
    let json = ("content-type", "application/json");
    let headers = [json, (SECOND, judge.as_str())];
    let path = "/v1/queries";
    let reply = other.send(http::Method::POST, path, &headers, question.to_string()).await;
    let refused = reply.unwrap();
    assert_problem(&refused, 403, "operator-unproven");
    assert!(refused.json["detail"].as_str().unwrap().contains("leave it out"));
    let metrics = court.harness.metrics().await;
    assert!(metrics.contains("disclosure_alarms_total{alarm=\"break-glass\"} 1"), "{metrics}");
    drop((court.client, other));
    court.harness.finish().await;
}

/// The commands show it beside what one operator may ask.
async fn check_shown() {
    build_binary().await;
    let of_all = r#"@id("all") @cuts_per_year("2") @break_glass("two-operators")
        permit (principal, action, resource == Department::"civil-registry");"#;
    let ground = exact_with(&format!("{RULES}{of_all}")).with(ISSUER_OF_WINDOW).ground().await;
    let key = SigningKey::es256("2026-1");
    fs::write(ground.folder.path().join("idp.json"), jwk_set(&[&key])).unwrap();
    let config = ground.config();
    let of = |arguments: &[&str]| said(&jumpgate(ground.folder.path(), arguments));
    let config = config.to_str().unwrap();
    let matrix = of(&["policy", "matrix", config]);
    let row = "court-order             -; two operators: permit by civil-registry/court";
    assert!(matrix.contains(row), "{matrix}");
    let question = [
        ["--caller", "one-window"],
        ["--predicate", "civil-registry/age-at-least@1"],
        ["--purpose", "court-order"],
    ];
    let explain = [&["policy", "explain", config][..], question.as_flattened()].concat();
    assert!(of(&explain).contains("not granted: no rule permits it"));
    let by_two = of(&[&explain[..], &["--two-operators"]].concat());
    assert!(by_two.contains("permitted by civil-registry/court"), "{by_two}");
    // A marked rule is about nothing that is not exact, whoever asks.
    let alive: Vec<&str> = explain
        .iter()
        .map(|it| if it.contains("/age-at") { "civil-registry/alive@1" } else { it })
        .collect();
    assert!(!of(&alive).contains("civil-registry/all"), "{}", of(&alive));
    let by_two = of(&[&alive[..], &["--two-operators"]].concat());
    assert!(by_two.contains("not granted: no rule permits it"), "{by_two}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_rule_past_the_auditor_says_how_many_and_by_whom() {
    for (from, to, mend) in [
        ("\"two-operators\"", "\"one\"", "has @break_glass(\"one\"); write @break_glass(\"two-"),
        ("@cuts_per_year(\"2\")", "", "has @break_glass and no @cuts_per_year; write how many"),
        ("\"2\"", "\"0\"", "has @cuts_per_year(\"0\"); write a number from 1 to 366"),
        (
            "permit (principal, action == Action::\"civil-registry/age-at-least@1\",
        resource == Department::\"civil-registry\")
    when { context.purpose == Purpose::\"court-order\"",
            "forbid (principal, action == Action::\"civil-registry/age-at-least@1\",
        resource == Department::\"civil-registry\")
    when { context.purpose == Purpose::\"court-order\"",
            "write it before a rule that permits",
        ),
    ] {
        assert!(RULES.contains(from), "{from}");
        let (before, after) = RULES.split_once("@id(\"court\")").unwrap();
        let rules = format!("{before}@id(\"court\"){}", after.replacen(from, to, 1));
        let ground = exact_with(&rules).with(ISSUER_OF_WINDOW).ground().await;
        let key = SigningKey::es256("2026-1");
        fs::write(ground.folder.path().join("idp.json"), jwk_set(&[&key])).unwrap();
        let mistakes = load(&ground.config()).err().unwrap();
        let found: Vec<String> = mistakes.iter().map(ToString::to_string).collect();
        let of_rule = |it: &String| it.contains("rule civil-registry/court ") && it.contains(mend);
        assert!(found.iter().any(of_rule), "{found:#?}");
    }
    check_shown().await;
    // Where nobody can sign for two, it can never apply.
    let mistakes = load(&exact_with(RULES).ground().await.config()).err().unwrap();
    let found: Vec<String> = mistakes.iter().map(ToString::to_string).collect();
    let never = "rule civil-registry/court can never apply";
    assert!(found.iter().any(|it| it.contains(never)), "{found:#?}");
}
