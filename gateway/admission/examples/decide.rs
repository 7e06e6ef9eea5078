//! What admission costs on this machine:
//! `cargo run --release -p jumpgate-admission --example decide`, from the root of a checkout.
//!
//! A hundred callers, a thousand rules and a million subjects that were asked about before: nine
//! permits for each caller, and a hundred rules that forbid whoever asks. Prints the processor's
//! time of a question through every check and count, where the decision is kept and where a rule
//! looks at the time, so that it is made anew. Asserts nothing.

use std::fmt::Write;
use std::fs;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use jiff::Zoned;
use jumpgate_admission::{
    Admission, AdmissionPlan, AdmissionSettings, CallerFacts, Channel, DefaultClock, Desk, Ledger,
    PolicyFile, Rebuild, Settled, SubjectNumber,
};
use jumpgate_catalogue::{CallerId, Catalogue, Query, QueryId, Question, Verdict};
use tokio::time::Instant;

type Fault = Box<dyn std::error::Error>;

const CALLERS: usize = 100;
const PERMITS: usize = 9;
const FORBIDS: usize = 100;
const KEPT: &str = "civil-registry/alive@1";
const ANEW: &str = "civil-registry/household-head@1";
const ROUNDS: usize = 100_000;
const SUBJECTS: u64 = 1_000_000;

fn main() -> Result<(), Fault> {
    let catalogue = Catalogue::load(Path::new("spec/catalogue"))
        .map_err(|mistakes| format!("{mistakes:?}: run it from the root of a checkout"))?;
    let callers: Vec<CallerId> =
        (0..CALLERS).map(|at| format!("caller-{at:03}").parse()).collect::<Result<_, _>>()?;
    let begun = processor_time()?;
    let plan = plan(&catalogue, &callers)?;
    println!("{} rules compiled in {:.1?}", plan.policy().rules(), processor_time()? - begun);
    let now: Zoned = "2026-11-23T10:00[Asia/Shanghai]".parse()?;
    let begun = processor_time()?;
    let ledger = ledger(&catalogue, &callers, &now);
    println!("{SUBJECTS} subjects counted in {:.1?}", processor_time()? - begun);
    let now_ms = u64::try_from(now.timestamp().as_millisecond())?;
    let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build()?;
    let civil_now = Arc::new(move || now.clone());
    let admission = Admission::new(plan, DefaultClock::default(), civil_now, ledger);
    for (what, predicate) in [("kept", KEPT), ("made anew", ANEW)] {
        let query = query(&catalogue, predicate)?;
        let mut permitted = 0;
        let begun = processor_time()?;
        runtime.block_on(async {
            for round in 0..ROUNDS {
                let caller = &callers[round % CALLERS];
                let _mark = admission.in_flight().enter(caller);
                let deadline = Instant::now() + Duration::from_secs(5);
                // Far apart, so that no count is in the processor's cache.
                let subject = SubjectNumber(round as u64 * 7919 % SUBJECTS);
                if admission.check_caller(caller).is_ok()
                    && let Ok(charged) = admission.charge(caller)
                    && let asked =
                        admission.admit(caller, Desk::Claimed, (&query, subject), deadline)
                    && let Ok(mut permit) = asked.await
                {
                    charged.charge.keep(now_ms);
                    permit.asked(now_ms);
                    permitted += 1;
                    if let Some(counted) = permit.settle(Settled::Ok) {
                        counted.answered(Verdict::Yes);
                    }
                }
            }
        });
        let took = (processor_time()? - begun) / ROUNDS as u32;
        println!("a decision that is {what}: {took:.2?} a question, {permitted} permitted");
    }
    Ok(())
}

/// What each subject's one question by some caller leaves.
fn ledger(catalogue: &Catalogue, callers: &[CallerId], now: &Zoned) -> Arc<Ledger> {
    let mut rebuild = Rebuild::new(now.time_zone().clone(), catalogue, 0);
    let at_ms = u64::try_from(now.timestamp().as_millisecond()).unwrap_or(0);
    for subject in 0..SUBJECTS {
        let caller = callers[subject as usize % callers.len()].as_str();
        let names = (caller, "civil-registry", KEPT);
        rebuild.asked(subject, at_ms, names, SubjectNumber(subject));
        rebuild.answered(subject, || None);
    }
    rebuild.into_ledger()
}

fn plan(catalogue: &Catalogue, callers: &[CallerId]) -> Result<AdmissionPlan, Fault> {
    let mut rules = String::new();
    let predicates: Vec<_> = catalogue.predicates().map(|it| it.id.to_string()).collect();
    for caller in callers {
        let others = predicates.iter().filter(|it| ![KEPT, ANEW].contains(&it.as_str()));
        let asked = [KEPT, ANEW].into_iter().chain(others.map(String::as_str)).cycle();
        for (at, predicate) in asked.take(PERMITS).enumerate() {
            let (who, what) = (format!("Caller::\"{caller}\""), format!("Action::\"{predicate}\""));
            let head = format!("principal == {who}, action == {what}, resource");
            writeln!(rules, "@id(\"{caller}-{at}\") permit({head});")?;
        }
    }
    for at in 0..FORBIDS {
        let predicate = &predicates[at % predicates.len()];
        let looks = if predicate == ANEW { "context.time.hour < 6" } else { "false" };
        let when = format!("{looks} || context.channel == Channel::\"terminal\"");
        let head = format!("principal, action == Action::\"{predicate}\", resource");
        writeln!(rules, "@id(\"forbid-{at}\") forbid({head}) when {{ {when} }};")?;
    }
    let mut settings = AdmissionSettings::default();
    settings.policy.files = vec![PolicyFile { name: "bench.cedar".to_owned(), text: rules }];
    let most = std::num::NonZeroU32::new(1_000_000).ok_or("zero")?;
    settings.quotas.caller.per_second = most;
    settings.quotas.caller.burst = most;
    settings.quotas.department = settings.quotas.caller;
    // One at a terminal, so that the rules that forbid can apply.
    let channel = |at| if at == 0 { Channel::Terminal } else { Channel::Counter };
    let facts = |at| CallerFacts { channel: channel(at), operator_roles: None };
    let callers: Vec<_> =
        callers.iter().enumerate().map(|(at, id)| (id.clone(), facts(at))).collect();
    settings.check(catalogue, &callers).map_err(|mistakes| format!("{mistakes:#?}").into())
}

fn query(catalogue: &Catalogue, predicate: &str) -> Result<Query, Fault> {
    let question = Question {
        predicate: predicate.to_owned(),
        parameters: Vec::new(),
        subject_kind: "passport".to_owned(),
        subject: "E00000011".to_owned(),
        purpose: "benefit-claim".to_owned(),
        case: None,
        operator: None,
    };
    let today = jiff::civil::date(2026, 11, 23);
    let query = catalogue.resolve(question, QueryId([7; 16]), today);
    query.map_err(|refusal| format!("{refusal:?}").into())
}

/// User and system time of this process, in the kernel's hundredths of a second.
fn processor_time() -> Result<Duration, Fault> {
    let stat = fs::read_to_string("/proc/self/stat")?;
    let fields: Vec<&str> = stat.rsplit(')').next().unwrap_or("").split_whitespace().collect();
    let ticks: u64 = fields[11].parse::<u64>()? + fields[12].parse::<u64>()?;
    Ok(Duration::from_millis(ticks * 10))
}
