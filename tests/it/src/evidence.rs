//! What the query log proves and what it does not tell: each question has exactly the entries
//! promised, nothing personal stands in clear, and a byte that was changed is found.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

use jumpgate_catalogue::Reason;
use jumpgate_querylog::{FieldId, Kind, Record, verify};
use serde_json::{Value, json};

use crate::harness::{Client, Harness, Reply, counted, questions as q};

const CASE: &str = "2026-HR-004711-zebra";
const OPERATOR: &str = "window-3-okapi";
/// A name that nobody has.
const NAME: &str = "Numbat Wallaby";

/// A question, what it is answered with, and the entries it makes.
type Row = (Value, &'static str, &'static [Kind]);

const ANSWERED: &[Kind] = &[Kind::Ask, Kind::Answer];
const FAILED: &[Kind] = &[Kind::Ask, Kind::Failed];
const REFUSED: &[Kind] = &[Kind::Refused];

/// Questions that end in every way. Those about E00000008 fail: its department has a fault then.
fn rows() -> Vec<Row> {
    let noted = |question: Value| q::but(q::but(question, "case", CASE), "operator", OPERATOR);
    let married = q::civil("marital-status-is", json!({ "status": "married" }), q::WIDOW);
    let rows: Vec<Row> = vec![
        (noted(q::age(18, q::WIDOW)), "yes", ANSWERED),
        (q::age(65, q::WIDOW), "no", ANSWERED),
        (noted(q::age(18, "E00000004")), "undetermined", ANSWERED),
        (q::age(18, "E00000006"), "undetermined", ANSWERED),
        (noted(q::name_matches(NAME, q::WIDOW)), "no", ANSWERED),
        (married, "no", ANSWERED),
        (q::insured(q::WIDOW), "yes", ANSWERED),
        (q::insured("E00000012"), "no", ANSWERED),
        (noted(q::age(18, "E00000008")), "department-error", FAILED),
        (q::insured("E00000008"), "undetermined", ANSWERED),
    ];
    rows.into_iter()
        .zip(1..)
        .map(|((row, says, made), id)| (q::under_id(row, id), says, made))
        .collect()
}

async fn ask_all(harness: &Harness) -> Vec<(Row, Reply)> {
    let fault = "status:500".parse().unwrap();
    let rule = jumpgate_departments::FaultRule {
        fault,
        requests: None,
        identifier: Some("E00000008".to_owned()),
    };
    harness.civil().faults().set(rule).unwrap();
    let mut client = harness.client("one-window").await;
    let mut asked = Vec::new();
    for row in rows() {
        let reply = client.ask(&row.0).await;
        assert_eq!(reply.says(), row.1, "{}: {:?}", row.0, reply.json);
        asked.push((row, reply));
    }
    asked
}

/// Questions that are refused, with an entry of their own.
async fn ask_refused(client: &mut Client) -> Vec<(Row, Reply)> {
    let insured = q::but(q::insured(q::WIDOW), "case", CASE);
    let rows: [Row; 2] = [
        (q::under_id(insured, 101), "not-granted", REFUSED),
        (q::under_id(q::name_matches(NAME, q::WIDOW), 102), "not-granted", REFUSED),
    ];
    let mut asked = Vec::new();
    for row in rows {
        let reply = client.ask(&row.0).await;
        assert_eq!(reply.says(), row.1, "{:?}", reply.json);
        asked.push((row, reply));
    }
    asked
}

#[tokio::test]
async fn each_question_has_exactly_the_entries_promised() {
    let harness = Harness::start().await;
    let mut asked = ask_all(&harness).await;
    let mut other = harness.client("other-window").await;
    asked.extend(ask_refused(&mut other).await);
    let mut by_id: BTreeMap<String, Vec<Record>> = BTreeMap::new();
    for record in harness.records() {
        if let Some(id) = record.entry.query_id {
            by_id.entry(id.to_string()).or_default().push(record);
        }
    }
    assert_eq!(by_id.len(), asked.len());
    for ((question, says, made), reply) in &asked {
        let records = &by_id[question["query_id"].as_str().unwrap()];
        let kinds: Vec<Kind> = records.iter().map(|record| record.entry.kind).collect();
        assert_eq!(kinds, *made, "{question}");
        check_entries(&harness, question, says, records, reply);
    }
    let report = harness.finish().await;
    let counts = counted(&report);
    let of = |kind: &str| counts.get(kind).copied().unwrap_or(0);
    assert_eq!((of("ask"), of("answer"), of("failed"), of("refused")), (10, 9, 1, 2));
}

/// The entries are about this question, and the receipt is the last one's.
fn check_entries(
    harness: &Harness,
    question: &Value,
    says: &str,
    records: &[Record],
    reply: &Reply,
) {
    let (first, last) = (&records[0], &records[records.len() - 1]);
    assert_eq!(reply.index(), last.index, "{question}");
    assert_eq!(reply.leaf_hash(), hex::encode(last.leaf_hash), "{question}");
    for record in records {
        let entry = &record.entry;
        assert_eq!(entry.predicate.as_deref(), question["predicate"].as_str());
        assert_eq!(entry.purpose.as_deref(), question["purpose"].as_str());
        assert_eq!(entry.pseudonym, first.entry.pseudonym);
    }
    if last.entry.kind.closes() {
        assert_eq!(last.entry.ask, Some(first.index), "{question}");
    }
    let asked = harness.fields(first);
    assert_eq!(asked.text(FieldId::Case), question["case"].as_str());
    assert_eq!(asked.text(FieldId::Operator), question["operator"].as_str());
    let closed = harness.fields(last);
    if last.entry.kind == Kind::Answer {
        assert_eq!(closed.verdict().unwrap().as_str(), says, "{question}");
        assert_eq!(closed.reason().is_some(), says == "undetermined", "{question}");
        assert_eq!(last.entry.code, None, "a verdict is sealed");
    } else {
        assert_eq!(last.entry.code.as_deref(), Some(says), "{question}");
    }
}

/// Refusals that come before there is a question are counted, and a repeat makes no entry.
#[tokio::test]
async fn what_is_no_question_is_counted_and_a_repeat_leaves_nothing() {
    let harness = Harness::start().await;
    let mut client = harness.client("one-window").await;
    let question = q::under_id(q::age(18, q::WIDOW), 1);
    let first = client.ask(&question).await;
    for _ in 0..3 {
        let again = client.ask(&question).await;
        assert_eq!((again.says(), again.index()), ("yes", first.index()));
    }
    for _ in 0..5 {
        assert_eq!(client.ask(&q::age(17, q::WIDOW)).await.says(), "invalid-parameter");
    }
    assert_eq!(client.ask(&q::age(18, "no-passport")).await.says(), "invalid-subject");
    let counted_now = crate::harness::eventually("the window's entries", async || {
        let pair = (harness.coalesced("invalid-parameter"), harness.coalesced("invalid-subject"));
        (pair.0 + pair.1 >= 6).then_some(pair)
    });
    assert_eq!(counted_now.await, (5, 1));
    let report = harness.finish().await;
    let counts = counted(&report);
    assert_eq!((counts["ask"], counts["answer"]), (1, 1));
    assert_eq!(counts.get("refused"), None);
}

/// Whoever holds every file of the log and no key learns nobody's name and nobody's answer.
#[tokio::test]
async fn nothing_personal_stands_in_clear() {
    let harness = Harness::start().await;
    ask_all(&harness).await;
    let mut other = harness.client("other-window").await;
    ask_refused(&mut other).await;
    let passports = ["E00000004", "E00000006", "E00000008", "E00000011", "E00000012"];
    // A passport's digits, should its letter be apart.
    let digits = passports.iter().map(|passport| &passport[1..]);
    let reasons = Reason::ALL.map(Reason::code);
    let words = [NAME, "Numbat", CASE, "zebra", OPERATOR, "okapi", "married", "undetermined"];
    let secrets: Vec<&str> = words.into_iter().chain(reasons).chain(digits).collect();
    harness.published().await;
    let files = files_of(&harness.log_dir());
    assert!(files.len() >= 3, "{files:?}");
    for file in files {
        let bytes = fs::read(&file).unwrap();
        for secret in &secrets {
            assert!(!has(&bytes, secret), "{secret} stands in {}", file.display());
        }
    }
    // What it is for stands there, or the search would find nothing wherever it looked.
    let segments: Vec<u8> = segments(&harness.log_dir())
        .iter()
        .flat_map(|segment| fs::read(segment).unwrap())
        .collect();
    assert!(has(&segments, "civil-registry/age-at-least@1") && has(&segments, "not-granted"));
    assert!(!format!("{:?}", harness.records()).contains("zebra"));
    harness.finish().await;
}

/// Verdicts cannot be told apart by the length of what seals them.
#[tokio::test]
async fn a_sealed_verdict_has_one_length() {
    let harness = Harness::start().await;
    let mut client = harness.client("one-window").await;
    let mut lengths = Vec::new();
    for (passport, says) in [(q::WIDOW, "yes"), ("E00000002", "no"), ("E00000004", "undetermined")]
    {
        let reply = client.ask(&q::age(18, passport)).await;
        assert_eq!(reply.says(), says);
        let records = harness.records_of(Kind::Answer);
        let record = records.iter().find(|record| record.index == reply.index()).unwrap();
        lengths.push((record.entry_bytes.len(), record.sealed.len()));
    }
    // An entry's own length depends on the sizes of its index and time alone.
    assert_eq!(lengths[0], lengths[1]);
    assert_eq!(lengths[0], lengths[2]);
    harness.finish().await;
}

// --- damage ----------------------------------------------------------------------------------

#[tokio::test]
async fn a_changed_byte_is_found_wherever_it_stands() {
    let harness = Harness::start().await;
    ask_all(&harness).await;
    harness.published().await;
    let keys = harness.keys();
    let copy = tempfile::tempdir().unwrap();
    copy_files(&harness.log_dir(), copy.path());
    let segment = segments(copy.path()).remove(0);
    let handles = copy.path().join("handles");
    verify(copy.path(), Some(&keys)).unwrap_or_else(|flaws| panic!("the copy: {flaws:?}"));
    for (file, places) in [(segment, 12), (handles, 6)] {
        let whole = fs::read(&file).unwrap();
        let used = whole.iter().rposition(|byte| *byte != 0).unwrap();
        // The last batch may be torn, so that damage in it is no tampering; the rest may not.
        for place in 0..places {
            let at = used * place / (places + 2);
            let mut bytes = whole.clone();
            bytes[at] ^= 0x10;
            fs::write(&file, bytes).unwrap();
            let found = verify(copy.path(), Some(&keys));
            assert!(found.is_err(), "byte {at} of {used} in {}", file.display());
        }
        fs::write(&file, &whole).unwrap();
    }
    verify(copy.path(), Some(&keys)).unwrap();
    harness.finish().await;
}

/// Without keys the shape is checked, and with another log's keys nothing opens.
#[tokio::test]
async fn a_log_is_checked_without_keys_and_not_opened_by_others() {
    let harness = Harness::start().await;
    ask_all(&harness).await;
    let report = verify(&harness.log_dir(), None).unwrap();
    assert_eq!(report.fields_opened, 0);
    assert!(harness.verify().unwrap().fields_opened >= 20);
    let folder = tempfile::tempdir().unwrap();
    let foreign = jumpgate_querylog::Keys::create(&folder.path().join("keys")).unwrap();
    assert!(verify(&harness.log_dir(), Some(&foreign)).is_err());
    harness.finish().await;
}

fn files_of(folder: &Path) -> Vec<PathBuf> {
    let paths = fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path());
    let mut files: Vec<PathBuf> = paths
        .flat_map(|path| match path.is_dir() {
            true => files_of(&path),
            false => vec![path],
        })
        .collect();
    files.sort();
    files
}

/// The segments, oldest first. The next one is prepared under another name.
fn segments(folder: &Path) -> Vec<PathBuf> {
    let mut files = files_of(folder);
    files.retain(|file| file.extension().is_some_and(|extension| extension == "seg"));
    assert!(!files.is_empty());
    files
}

/// Copies a folder and what is in it.
pub fn copy_files(from: &Path, to: &Path) {
    for file in files_of(from) {
        let path = to.join(file.strip_prefix(from).unwrap());
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::copy(file, path).unwrap();
    }
}

fn has(bytes: &[u8], text: &str) -> bool {
    bytes.windows(text.len()).any(|window| window == text.as_bytes())
}
