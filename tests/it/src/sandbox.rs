//! The sandbox alone: what it refuses to load, how each attack of a hostile adapter ends, and that
//! the plugins of this repository find in it what their recorded cases say.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::PathBuf;

use jumpgate::author::{self, Case};
use jumpgate_catalogue::{FaultCode, Finding, Reason};
use jumpgate_runtime::{Adapter, Evaluation, Given, Limits, LoadFault, Runtime, Step, contract};

use crate::harness::parts;
use hostile::{Run, hostile, load, run};

mod cache;
mod components;
pub mod hostile;

// --- loading ---------------------------------------------------------------------------------

fn refusal(bytes: &[u8]) -> LoadFault {
    let runtime = Runtime::new(Limits::default(), 1).unwrap();
    match Adapter::load(&runtime, None, bytes) {
        Err(fault) => fault,
        Ok(adapter) => panic!("loaded: {:?}", adapter.manifest()),
    }
}

#[test]
fn a_component_that_imports_is_refused_by_the_imports_name() {
    let environment = "wasi:cli/environment@0.2.0";
    let fault = refusal(&components::importing_an_interface(&[environment]));
    let LoadFault::Imports { kind, name, others } = &fault else { panic!("{fault}") };
    assert_eq!((*kind, &**name, *others), ("interface", environment, 0));

    let fault = refusal(&components::importing_an_interface(&["a:b/c", "d:e/f", "g:h/i"]));
    let said = fault.to_string();
    assert!(said.contains("imports interface 'a:b/c' and 2 more"), "{said}");

    let fault = refusal(&components::importing_a_function("now"));
    let LoadFault::Imports { kind, name, .. } = &fault else { panic!("{fault}") };
    assert_eq!((*kind, &**name), ("function", "now"));
}

#[test]
fn what_is_no_component_is_refused() {
    let module = b"\0asm\x01\0\0\0";
    let whole = components::importing_a_function("now");
    for bytes in [&b""[..], b"MZ", module, &whole[..whole.len() - 1], &[0; 4096]] {
        let fault = refusal(bytes);
        assert!(matches!(fault, LoadFault::NotAComponent(_)), "{bytes:?}: {fault}");
    }
    assert!(matches!(refusal(&vec![0; (32 << 20) + 1]), LoadFault::TooLarge(_)));
}

#[test]
fn another_contract_is_refused_with_both_versions() {
    let said = refusal(components::EMPTY).to_string();
    assert!(said.contains("exports nothing"), "{said}");
    let said = refusal(&components::exporting("jumpgate:adapter/adapter@0.9.0")).to_string();
    assert!(said.contains("adapter@0.9.0") && said.contains("adapter@1.0.0"), "{said}");
    let fault = refusal(&components::exporting("jumpgate:adapter/adapter@1.0.0"));
    assert!(matches!(fault, LoadFault::Types(_)), "{fault}");
}

// --- attacks ---------------------------------------------------------------------------------

/// How an attack ends for an adapter whose every request is answered.
const ENDS: [(&str, Result<Finding, FaultCode>); 37] = [
    ("big-request", Err(FaultCode::AdapterOutputTooLarge)),
    ("big-state", Err(FaultCode::AdapterOutputTooLarge)),
    ("crlf-header", Ok(Finding::Yes)),
    ("crlf-path", Ok(Finding::Yes)),
    ("denied-endpoint", Ok(Finding::Yes)),
    ("denied-header", Ok(Finding::Yes)),
    ("denied-method", Ok(Finding::Yes)),
    ("denied-path", Ok(Finding::Yes)),
    ("foreign-action", Ok(Finding::Yes)),
    ("foreign-root", Ok(Finding::Yes)),
    ("foreign-verdict", Ok(Finding::Absent)),
    // Filling the memory it allocates costs all its fuel before its arena is full.
    ("heap", Err(FaultCode::AdapterFuel)),
    ("honest", Ok(Finding::Yes)),
    ("leak-position", Err(FaultCode::ReplyMalformed)),
    ("leak-request", Err(FaultCode::AdapterSteps)),
    ("long-endpoint", Ok(Finding::Yes)),
    ("long-path", Err(FaultCode::AdapterOutputTooLarge)),
    ("loop", Err(FaultCode::AdapterFuel)),
    ("loop-late", Err(FaultCode::AdapterFuel)),
    ("many-chunks", Ok(Finding::Yes)),
    ("many-headers", Ok(Finding::Yes)),
    ("many-requests", Err(FaultCode::AdapterOutputTooLarge)),
    ("memory", Err(FaultCode::AdapterMemory)),
    ("no-requests", Err(FaultCode::AdapterOutputTooLarge)),
    ("panic", Err(FaultCode::AdapterTrapped)),
    ("path-absolute", Ok(Finding::Yes)),
    ("path-authority", Ok(Finding::Yes)),
    ("path-dots", Ok(Finding::Yes)),
    ("path-dots-escaped", Ok(Finding::Yes)),
    ("plain-subject", Ok(Finding::Yes)),
    ("probe", Ok(Finding::No)),
    ("sql", Ok(Finding::Yes)),
    ("stack", Err(FaultCode::AdapterTrapped)),
    ("stack-memory", Err(FaultCode::AdapterTrapped)),
    ("steps", Err(FaultCode::AdapterSteps)),
    ("taint", Ok(Finding::Yes)),
    ("unasked", Ok(Finding::Yes)),
];

/// `j` has 2 in its lowest three bits: `foreign-verdict` spells it as absent.
const RECORD: &[u8] = b"jane doe, born 1990-02-11";

#[tokio::test]
async fn each_attack_ends_in_its_fault() {
    let adapter = load(1, hostile().await);
    let attacks: BTreeSet<String> =
        ENDS.iter().map(|(attack, _)| format!("hostile/{attack}@1")).collect();
    let known = adapter.manifest().predicates.iter().map(ToString::to_string);
    assert_eq!(known.collect::<BTreeSet<_>>(), attacks, "the table holds every attack");
    for (attack, end) in ENDS {
        let ran = run(&adapter, attack, RECORD);
        assert_eq!(ran.end.as_ref().map_err(|fault| fault.code).copied(), end, "{attack}");
    }
}

/// With fuel to spare the attack reaches the end of the allocator's arena, which traps and leaves
/// the memory's own limit untouched.
#[tokio::test]
async fn an_arena_that_is_full_traps() {
    let limits = Limits { fuel_base: 1_000_000_000, ..Limits::default() };
    let runtime = Runtime::new(limits, 1).unwrap();
    let adapter = Adapter::load(&runtime, None, hostile().await).unwrap();
    let ran = run(&adapter, "heap", RECORD);
    assert_eq!(ran.end.map_err(|fault| fault.code), Err(FaultCode::AdapterTrapped));
    assert!(ran.usages[0].memory_bytes.0 < ran.usages[0].memory_bytes.1, "{:?}", ran.usages);
}

#[tokio::test]
async fn each_step_reports_what_it_used_beside_its_limits() {
    let adapter = load(1, hostile().await);
    let of = |attack| run(&adapter, attack, RECORD).usages;
    let limits = Limits::default();

    let honest = of("honest");
    assert_eq!(honest.len(), 2);
    assert_eq!(honest[0].fuel.1, limits.fuel_base);
    let reply_bytes = RECORD.len() + hostile::CONTENT_TYPE.len();
    assert_eq!(honest[1].fuel.1, limits.fuel_max(reply_bytes));
    assert_eq!(honest[0].requests_bytes, ("/record".len(), limits.requests_bytes_max));
    assert!(honest.iter().all(|usage| (1..usage.fuel.1).contains(&usage.fuel.0)));
    assert!(honest.iter().all(|usage| usage.memory_bytes.0 <= usage.memory_bytes.1));

    // wasmtime stops at the first block that the fuel does not pay for.
    let (used, limit) = of("loop")[0].fuel;
    assert!(used > limit - 100 && used <= limit, "{used} of {limit}");
    let (used, limit) = of("loop-late")[1].fuel;
    assert!(used > limit - 100 && used <= limit, "{used} of {limit}");
    let (used, limit) = of("memory")[0].memory_bytes;
    assert_eq!((used, limit), (limits.memory_bytes_max, limits.memory_bytes_max));
    assert_eq!(of("big-state")[0].state_bytes, (4097, 4096));
    assert!(of("big-request")[0].requests_bytes.0 > 1 << 20);
    assert_eq!(of("steps").len(), usize::try_from(limits.steps_max).unwrap());
}

#[tokio::test]
async fn a_trap_names_its_function_and_a_failure_its_place_and_nothing_else_leaves() {
    let adapter = load(1, hostile().await);
    let Run { end, .. } = run(&adapter, "panic", RECORD);
    let fault = end.unwrap_err();
    assert!(fault.function.as_deref().is_some_and(|name| name.contains("reveal")), "{fault:?}");
    assert!(!format!("{fault:?} {fault}").contains("jane"), "{fault:?}");
    // The position is the author's; what the server prints of a fault must not hold it.
    let fault = run(&adapter, "leak-position", RECORD).end.unwrap_err();
    assert!(fault.position.as_ref().is_some_and(|at| at.path.is_some()));
    assert_eq!(fault.to_string(), "department-reply-malformed");
}

#[tokio::test]
async fn a_finding_has_eight_symbols_and_no_more() {
    let adapter = load(1, hostile().await);
    let found: Vec<Finding> =
        (0..8).map(|byte| run(&adapter, "foreign-verdict", &[byte]).end.unwrap()).collect();
    let mut expected = vec![Finding::Yes, Finding::No, Finding::Absent];
    // No adapter can say `no-record`: the catalogue does.
    let reasons = Reason::ALL.into_iter().filter(|reason| *reason != Reason::NoRecord);
    expected.extend(reasons.map(Finding::Undetermined));
    assert_eq!(found, expected);
}

/// One slot, so that each step stands where the last one stood.
#[tokio::test]
async fn nothing_of_one_person_is_left_for_the_next() {
    let adapter = load(1, hostile().await);
    for round in 0..200 {
        assert_eq!(run(&adapter, "taint", RECORD).end, Ok(Finding::Yes), "round {round}");
        assert_eq!(run(&adapter, "probe", RECORD).end, Ok(Finding::No), "round {round}");
    }
}

/// An instance that was cut off in the middle is wiped like one that returned.
#[tokio::test]
async fn nothing_is_left_by_an_adapter_that_was_stopped() {
    let adapter = load(1, hostile().await);
    for attack in ["memory", "heap", "stack", "stack-memory", "loop", "panic"] {
        assert!(run(&adapter, attack, RECORD).end.is_err(), "{attack}");
        assert_eq!(run(&adapter, "probe", RECORD).end, Ok(Finding::No), "after {attack}");
    }
}

#[tokio::test]
async fn the_same_input_burns_the_same_fuel_in_any_engine() {
    let bytes = hostile().await;
    let burnt = |adapter: &Adapter| -> Vec<Vec<u64>> {
        let runs = ENDS.iter().map(|(attack, _)| run(adapter, attack, RECORD).usages);
        runs.map(|usages| usages.iter().map(|usage| usage.fuel.0).collect()).collect()
    };
    let adapter = load(1, bytes);
    let once = burnt(&adapter);
    assert_eq!(burnt(&adapter), once);
    assert_eq!(burnt(&load(8, bytes)), once);
}

// --- first steps that are kept ---------------------------------------------------------------

/// What the first step asked for, and whether it ran.
fn first_step(evaluation: Evaluation) -> (Vec<String>, bool) {
    let mut evaluation = evaluation;
    let Ok(Step::Fetch(requests)) = evaluation.step(&[]) else { panic!("no request") };
    let requests = requests.iter().map(|request| format!("{request:?}")).collect();
    (requests, evaluation.usage().is_some())
}

#[tokio::test]
async fn a_first_step_is_kept_for_questions_that_give_the_same_and_for_no_others() {
    let adapter = load(1, hostile().await);
    let given = hostile::given("honest");
    let kept = |given: &Given| first_step(adapter.evaluate(given.clone()).keeping_first());
    let (asked, has_run) = first_step(adapter.evaluate(given.clone()));
    assert!(has_run);
    assert_eq!(kept(&given), (asked.clone(), true), "nothing was kept without leave");
    assert_eq!(kept(&given), (asked.clone(), false));
    assert_eq!(first_step(adapter.evaluate(given.clone())), (asked, true), "nor taken");

    let date = contract::Date { day: given.as_of.day + 1, ..given.as_of };
    let threshold = contract::ParameterValue::Integer(18);
    let parameters = vec![contract::Parameter { name: "years".to_owned(), value: threshold }];
    let others = [
        Given { as_of: date, ..given.clone() },
        Given { version: 2, ..given.clone() },
        Given { subject_kind: "handle".to_owned(), ..given.clone() },
        Given { parameters, ..given.clone() },
    ];
    for other in others {
        assert!(kept(&other).1, "{other:?}");
        assert!(!kept(&other).1, "{other:?}");
    }
}

#[tokio::test]
async fn what_is_kept_of_first_steps_is_bounded() {
    let adapter = load(1, hostile().await);
    let on = |day: u16| {
        let (year, day) = (2000 + day / 28, u8::try_from(day % 28).unwrap() + 1);
        let as_of = contract::Date { year, month: 1, day };
        first_step(adapter.evaluate(Given { as_of, ..hostile::given("honest") }).keeping_first()).1
    };
    assert!((0..256).all(on));
    assert!(!(0..256).any(on));
    assert!(on(256), "one more, and all others go");
    assert!(on(0));
    let kept = adapter.firsts_kept();
    for large in ["long-endpoint", "many-chunks", "many-headers"] {
        let mut asked = adapter.evaluate(hostile::given(large)).keeping_first();
        assert!(matches!(asked.step(&[]), Ok(Step::Fetch(_))), "{large}");
        assert_eq!(adapter.firsts_kept(), kept, "{large}");
    }
}

#[tokio::test]
async fn a_step_that_is_told_the_subject_is_never_kept() {
    let adapter = load(1, hostile().await);
    let given = Given { subject: Some("E12345678".to_owned()), ..hostile::given("honest") };
    for _ in 0..2 {
        assert!(first_step(adapter.evaluate(given.clone()).keeping_first()).1);
    }
    assert_eq!(adapter.firsts_kept(), 0);
}

/// A second step that was reached by a kept first one has its state and burns its fuel.
#[tokio::test]
async fn a_question_ends_the_same_by_a_kept_first_step() {
    let adapter = load(1, hostile().await);
    for (attack, _) in ENDS {
        let ran = run(&adapter, attack, RECORD);
        for is_kept in [false, true] {
            let again = hostile::run_keeping(&adapter, attack, RECORD);
            assert_eq!(again.end, ran.end, "{attack}, {is_kept}");
            let last = |run: &Run| run.usages.last().map(|usage| usage.fuel);
            assert_eq!(last(&again), last(&ran), "{attack}, {is_kept}");
        }
    }
}

// --- plugins ---------------------------------------------------------------------------------

async fn plugin(name: &str) -> Adapter {
    let component = parts::plugins().await.join(format!("{name}.component.wasm"));
    load(1, &fs::read(component).unwrap())
}

fn cases(name: &str) -> Vec<(String, Case)> {
    let folders = author::cases_of(&parts::root().join("plugins").join(name)).unwrap();
    let named = |folder: &PathBuf| folder.file_name().unwrap().to_str().unwrap().to_owned();
    folders.iter().map(|folder| (named(folder), Case::read(folder).unwrap())).collect()
}

async fn check_cases(name: &str, cases_min: usize) {
    let adapter = plugin(name).await;
    let mut expected: BTreeMap<String, BTreeSet<String>> = BTreeMap::new();
    let cases = cases(name);
    assert!(cases.len() >= cases_min, "{name} has {} cases", cases.len());
    for (folder, case) in &cases {
        let report = author::run(&adapter, case).unwrap();
        assert!(report.passed(), "{name}/{folder}: {report:?}");
        let again = author::run(&adapter, case).unwrap();
        let fuel = |report: &author::CaseReport| -> Vec<_> {
            report.steps.iter().map(|usage| usage.fuel).collect()
        };
        assert_eq!(fuel(&again), fuel(&report), "{name}/{folder}");
        let sort = case.expected().split(':').next().unwrap().to_owned();
        expected.entry(case.predicate().to_owned()).or_default().insert(sort);
    }
    for predicate in &adapter.manifest().predicates {
        let sorts = expected.remove(&predicate.to_string()).unwrap_or_default();
        let missing: Vec<_> =
            ["yes", "no", "undetermined"].into_iter().filter(|s| !sorts.contains(*s)).collect();
        assert!(missing.is_empty(), "{predicate} lacks a case that ends in {missing:?}");
    }
    assert!(expected.is_empty(), "cases of predicates that {name} does not answer: {expected:?}");
}

#[tokio::test]
async fn the_civil_registry_finds_what_its_cases_say() {
    check_cases("civil-registry", 50).await;
}

#[tokio::test]
async fn social_insurance_finds_what_its_cases_say() {
    check_cases("social-insurance", 50).await;
}
