use std::io::ErrorKind;
use std::time::{Duration, Instant};

use serde_json::Value;

use super::*;
use crate::tests::{Seen, departments, exchange, get, soap, until};
use crate::{Departments, Special};

const PERSON: &str = "/v2/persons/passport/E00000015";
const PAGES: &str = "/v2/persons/passport/E00000015/contributions?scheme=pension&size=60&page=";

fn fault(text: &str) -> Fault {
    text.parse().expect("a fault")
}

/// What the civil registry sends for an ordinary request under a fault.
async fn civil(departments: &Departments, text: &str) -> Seen {
    let registry = &departments.civil_registry;
    registry.faults().set(FaultRule::from(fault(text)).times(1)).expect("a fault of its own");
    exchange(registry.address(), &soap("passport", Special::LongContributions.passport())).await
}

async fn social(departments: &Departments, text: &str, path: &str) -> Seen {
    let server = &departments.social_insurance;
    server.faults().set(FaultRule::from(fault(text)).times(1)).expect("a fault of its own");
    exchange(server.address(), &get(path)).await
}

async fn ordinary(departments: &Departments) -> Seen {
    let request = soap("passport", Special::LongContributions.passport());
    exchange(departments.civil_registry.address(), &request).await
}

#[test]
fn every_name_is_a_fault_and_stands_in_the_readme() {
    let readme = include_str!("../../README.md");
    for name in FAULT_NAMES {
        assert!(name.parse::<Fault>().is_ok(), "{name}");
        let row = format!("| `{name}");
        assert!(readme.contains(&row), "{name} has no row in README.md");
    }
    for special in Special::ALL {
        let row = format!("| `{}` | {} |", special.passport(), special.as_str());
        assert!(readme.contains(&row), "README.md lacks {row}");
    }
}

#[test]
fn parameters_have_their_ranges() {
    assert_eq!("slow:250".parse(), Ok(Fault::Slow { pause: Duration::from_millis(250) }));
    assert_eq!("status:302".parse(), Ok(Fault::Status { code: 302 }));
    assert_eq!("missing-field:Sex".parse(), Ok(Fault::MissingField { name: Some("Sex".into()) }));
    assert_eq!("fire".parse::<Fault>(), Err(InvalidFault::Unknown));
    for bad in ["status:99", "status:x", "status:", "huge-length:0", "slow:-1", "hang:1"] {
        assert!(matches!(bad.parse::<Fault>(), Err(InvalidFault::Parameter(_))), "{bad}");
    }
}

#[test]
fn the_newest_rule_that_fits_wins_until_it_is_used_up() {
    let faults = Faults::new(Department::CivilRegistry);
    let strike = |identifier| faults.strike(identifier).map(|strike| strike.fault);
    faults.set(Fault::Close).expect("fits");
    faults.set(FaultRule::from(Fault::Reset).times(2).only_for("a")).expect("fits");
    assert_eq!(strike(Some("a")), Some(Fault::Reset));
    assert_eq!(strike(Some("b")), Some(Fault::Close));
    assert_eq!(strike(None), Some(Fault::Close));
    assert_eq!(strike(Some("a")), Some(Fault::Reset));
    assert_eq!(strike(Some("a")), Some(Fault::Close));
    faults.clear();
    assert_eq!(strike(Some("a")), None);
}

#[test]
fn rules_that_make_no_sense_are_refused() {
    let faults = Faults::new(Department::SocialInsurance);
    assert_eq!(faults.set(Fault::SoapFault), Err(RefusedRule::NotHere));
    let never = FaultRule::from(Fault::Hang).times(0);
    assert_eq!(faults.set(never), Err(RefusedRule::NoRequests));
    for _ in 0..RULES_MAX {
        faults.set(Fault::Close).expect("there is room");
    }
    assert_eq!(faults.set(Fault::Close), Err(RefusedRule::TooMany));
}

#[tokio::test]
async fn slow_waits_before_the_head_and_trickle_within_the_body() {
    let departments = departments().await;
    let expected = ordinary(&departments).await;
    for (text, at_least_ms) in [("slow:80", 80), ("trickle:2", 60)] {
        let start = Instant::now();
        let seen = civil(&departments, text).await;
        assert!(start.elapsed() >= Duration::from_millis(at_least_ms), "{text}");
        assert_eq!((seen.status(), seen.broken), ("200", None));
        assert_eq!(seen.body, expected.body, "{text}");
        assert!(seen.header("content-length").is_some());
    }
}

#[tokio::test]
async fn hanging_requests_are_answered_when_the_faults_are_cleared() {
    let departments = departments().await;
    let registry = &departments.civil_registry;
    registry.faults().set(FaultRule::from(Fault::Hang).times(3)).expect("a fault of its own");
    let address = registry.address();
    let ask = move || async move { exchange(address, &soap("passport", "E00000001")).await };
    let waiting: Vec<_> = (0..3).map(|_| tokio::spawn(ask())).collect();
    until(|| registry.requests().in_flight == 3).await;
    assert_eq!(ask().await.status(), "200", "the fourth does not hang");
    assert_eq!(registry.requests().in_flight_peak, 4);
    assert!(waiting.iter().all(|one| !one.is_finished()));
    registry.faults().clear();
    for one in waiting {
        assert_eq!(one.await.expect("no panic").status(), "200");
    }
}

#[tokio::test]
async fn connections_are_reset_or_closed() {
    let departments = departments().await;
    let whole = ordinary(&departments).await;
    let half = whole.body.len() / 2;
    for (text, is_begun, broken) in [
        ("reset", false, Some(ErrorKind::ConnectionReset)),
        ("reset-mid-body", true, Some(ErrorKind::ConnectionReset)),
        ("close", false, None),
        ("close-mid-body", true, None),
    ] {
        let seen = civil(&departments, text).await;
        assert_eq!(seen.broken, broken, "{text}");
        if is_begun {
            assert_eq!(seen.header("content-length"), Some(&*whole.body.len().to_string()));
            assert_eq!(seen.body, whole.body[..half], "{text}");
        } else {
            assert_eq!(seen.head, "", "{text}");
        }
    }
}

#[tokio::test]
async fn statuses_come_with_a_text_and_redirects_with_a_location() {
    let departments = departments().await;
    for code in ["500", "401", "418", "503"] {
        let seen = civil(&departments, &format!("status:{code}")).await;
        assert_eq!(seen.status(), code);
        assert_eq!(seen.header("content-type"), Some("text/plain; charset=utf-8"));
        assert!(!seen.body.is_empty() && seen.header("location").is_none());
    }
    let seen = social(&departments, "status:302", PERSON).await;
    let elsewhere = format!("{}/elsewhere", departments.social_insurance.base_url());
    assert_eq!((seen.status(), seen.header("location")), ("302", Some(elsewhere.as_str())));
}

#[tokio::test]
async fn huge_replies_are_the_reply_and_much_white_space() {
    let departments = departments().await;
    let padding = 2 * 1024 * 1024;
    let whole = ordinary(&departments).await.body;
    let seen = civil(&departments, "huge-length:2").await;
    assert_eq!(seen.header("content-length"), Some(&*(whole.len() + padding).to_string()));
    let text = seen.text();
    let (declaration, rest) = text.split_at(text.find("?>").expect("a declaration") + 2);
    assert_eq!(format!("{declaration}{}", rest.trim_start()).into_bytes(), whole);
    assert_eq!(text.len(), whole.len() + padding);
    let seen = social(&departments, "huge-chunked:2", PERSON).await;
    assert_eq!(seen.header("transfer-encoding"), Some("chunked"));
    assert!(seen.header("content-length").is_none());
    assert!(seen.body.len() > padding && seen.body.ends_with(b"\r\n0\r\n\r\n"));
}

#[tokio::test]
async fn charsets_are_wrong_or_rare() {
    let departments = departments().await;
    let whole = ordinary(&departments).await;
    let seen = civil(&departments, "wrong-charset").await;
    assert_eq!(seen.header("content-type"), Some("text/xml; charset=utf-8"));
    assert!(std::str::from_utf8(&seen.body).is_err());
    let seen = civil(&departments, "gb18030").await;
    assert_eq!(seen.header("content-type"), Some("text/xml; charset=GB18030"));
    let (text, _, had_errors) = encoding_rs::GB18030.decode(&seen.body);
    assert!(!had_errors);
    assert_eq!(text.replace("encoding=\"GB18030\"", "encoding=\"UTF-8\""), whole.text());
    let seen = social(&departments, "wrong-charset", PERSON).await;
    assert!(std::str::from_utf8(&seen.body).is_err());
}

#[tokio::test]
async fn xml_is_broken_in_each_way() {
    let departments = departments().await;
    let whole = ordinary(&departments).await;
    let seen = civil(&departments, "truncated").await;
    assert_eq!(seen.body, whole.body[..whole.body.len() / 2]);
    assert_eq!(seen.header("content-length"), Some(&*seen.body.len().to_string()));
    let seen = civil(&departments, "mismatched-tags").await;
    assert!(seen.text().contains("</p:Wrong>") && !seen.text().contains("</p:FamilyName>"));
    let seen = civil(&departments, "entity-bomb").await;
    assert!(seen.text().contains("?><!DOCTYPE reply [<!ENTITY x0 \"lol\"><!ENTITY x1 \"&x0;&x0;"));
    assert!(seen.text().contains("<!ENTITY x \"&x8;") && seen.text().contains("FamilyName>&x;"));
    let seen = civil(&departments, "external-entity").await;
    let address = format!("SYSTEM \"{}/entity\"", departments.civil_registry.base_url());
    assert!(seen.text().contains(&address) && seen.text().contains("FamilyName>&x;"));
    let seen = civil(&departments, "wrong-root").await;
    assert!(seen.text().starts_with("<p:Reply ") && seen.text().contains("<p:BirthDate>"));
    let seen = civil(&departments, "soap-fault").await;
    assert_eq!(seen.status(), "500");
    assert!(seen.text().contains("<faultcode>soapenv:Server</faultcode>"));
    let seen = civil(&departments, "wrong-content-type").await;
    assert_eq!(seen.header("content-type"), Some("text/html; charset=utf-8"));
    assert_eq!(seen.body, whole.body);
    let seen = civil(&departments, "empty-body").await;
    assert_eq!((seen.status(), seen.body.len()), ("200", 0));
    assert_eq!(seen.header("content-type"), Some("text/xml; charset=utf-8"));
}

#[tokio::test]
async fn fields_go_missing() {
    let departments = departments().await;
    let whole = ordinary(&departments).await;
    let seen = civil(&departments, "missing-field").await;
    let (start, end) = ("<p:BirthDate>", "</p:BirthDate>");
    let gone = whole.text().find(start).expect("it has one");
    let end = whole.text().find(end).expect("it ends") + end.len();
    assert_eq!(seen.text(), format!("{}{}", &whole.text()[..gone], &whole.text()[end..]));
    let seen = civil(&departments, "missing-field:Residence").await;
    assert!(!seen.text().contains("DivisionCode") && seen.text().contains("<p:Household>"));
    let registry = &departments.civil_registry;
    let rule = FaultRule::from(fault("missing-field")).times(2);
    registry.faults().set(rule).expect("a fault of its own");
    for special in [Special::BirthDateMissing, Special::BirthDateNil] {
        let seen = exchange(registry.address(), &soap("passport", special.passport())).await;
        assert!(seen.text().contains("</p:Sex><p:BirthPlace>"), "{}", seen.text());
    }
    let seen = social(&departments, "missing-field", PERSON).await;
    assert!(!seen.text().contains("\"status\"") && seen.text().contains("\"name\""));
    let seen = social(&departments, "missing-field:month", &format!("{PAGES}1")).await;
    assert!(!seen.text().contains("\"month\"") && seen.text().contains("\"items\""));
}

#[tokio::test]
async fn json_is_broken_in_each_way() {
    let departments = departments().await;
    let seen = social(&departments, "malformed-json", PERSON).await;
    assert!(serde_json::from_slice::<Value>(&seen.body).is_err());
    let seen = social(&departments, "wrong-types", PERSON).await;
    let body: Value = serde_json::from_slice(&seen.body).expect("still JSON");
    assert!(body["person"]["status"].is_number() && body["person"]["schemes"].is_object());
    assert!(body["person"]["version"].is_string());
    let server = &departments.social_insurance;
    server.faults().set(Fault::EndlessPages).expect("a fault of its own");
    let mut months = std::collections::HashSet::new();
    for page in 1..=20 {
        let seen = exchange(server.address(), &get(&format!("{PAGES}{page}"))).await;
        let body: Value = serde_json::from_slice(&seen.body).expect("JSON");
        assert_eq!((&body["page"], &body["pages"]), (&Value::from(page), &Value::from(page + 1)));
        for item in body["items"].as_array().expect("a list") {
            assert!(months.insert(item["month"].as_str().expect("text").to_owned()));
        }
    }
    assert_eq!(months.len(), 20 * 60);
}
