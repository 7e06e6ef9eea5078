use std::collections::BTreeMap;

use jumpgate_catalogue::RefusalCode;
use proptest::prelude::*;

use super::*;
use crate::sample::catalogue;

const AGE: &str = "civil-registry/age-at-least@1";
const ALIVE: &str = "civil-registry/alive@1";
const NAME: &str = "civil-registry/name-matches@1";
const INSURED: &str = "social-insurance/insured@1";
const PREDICATES: [&str; 4] = [AGE, ALIVE, NAME, INSURED];
const CALLERS: [&str; 2] = ["one-window", "school"];

const DAY_MS: i64 = 24 * 60 * 60 * 1000;
/// Monday, 23 November 2026, ten o'clock in the zone of the tests.
const NOW_MS: i64 = 1_795_399_200_000;

fn zone() -> TimeZone {
    TimeZone::get("Asia/Shanghai").unwrap()
}

fn allotment(per_day: u32, per_90_days: u32) -> Allotment {
    Allotment { per_day, per_90_days }
}

fn limits(department: u32, subject: u32, attempts: u32) -> AskingLimits {
    AskingLimits {
        department: allotment(department, 10 * department),
        subject: allotment(subject, 2 * subject),
        attempts: allotment(attempts, 2 * attempts),
        alarm_per_day: 3,
    }
}

struct Desk {
    ledger: Arc<Ledger>,
    families: Families,
}

impl Desk {
    fn new(ledger: Arc<Ledger>) -> Self {
        let families = ledger.families(FamilyName::all(&catalogue()));
        Self { ledger, families }
    }

    fn empty() -> Self {
        Self::new(Arc::new(Ledger::new(zone())))
    }

    fn asking(&self, caller: &str, predicate: &str, subject: u64) -> Asking {
        let id: PredicateId = predicate.parse().unwrap();
        let department = predicate.split('/').next().unwrap().parse().unwrap();
        Asking {
            caller: self.ledger.caller(&caller.parse().unwrap()),
            department: self.ledger.department(&department),
            subject: SubjectNumber(subject),
            family: self.families.of(&id).unwrap(),
        }
    }

    fn reserve(
        &self,
        (caller, predicate, subject): (&str, &str, u64),
        limits: &AskingLimits,
        now_ms: i64,
    ) -> Result<Reservation, Spent> {
        let asking = self.asking(caller, predicate, subject);
        match self.ledger.reserve(asking, limits, now_ms) {
            Ok((reservation, _)) => Ok(reservation),
            Err(NotReserved::Spent(spent)) => Err(spent),
            Err(NotReserved::Full { .. }) => panic!("not so many"),
        }
    }

    /// Asks and answers.
    fn ask(&self, about: (&str, &str, u64), limits: &AskingLimits, verdict: Verdict, now_ms: i64) {
        let mut reservation = self.reserve(about, limits, now_ms).unwrap();
        reservation.asked(now_ms as u64);
        reservation.answered(verdict);
    }
}

/// Every count that is not of callers together, in words.
fn counts(ledger: &Ledger) -> BTreeMap<String, Vec<(Day, u32)>> {
    let names = locked(&ledger.names);
    let mut all = BTreeMap::new();
    for ((caller, department), days) in &*locked(&ledger.totals) {
        let at = department.map(|at| names.departments.names()[usize::from(at)].to_string());
        let caller = &names.callers.names()[usize::from(*caller)];
        all.insert(format!("{caller} at {at:?}"), days.counts().to_vec());
    }
    for shard in &ledger.subjects {
        for (key, days) in locked(shard).counts.iter().filter(|(key, _)| key.caller != ALL) {
            let caller = &names.callers.names()[usize::from(key.caller)];
            let family = &names.families.names()[usize::from(key.family)];
            let what = format!("{caller} about {} on {family}", key.subject);
            all.insert(what, days.counts().to_vec());
        }
    }
    all
}

#[test]
fn a_subjects_count_is_the_callers_own_and_its_familys_own() {
    let (desk, limits) = (Desk::empty(), limits(100, 2, 2));
    for _ in 0..2 {
        desk.ask(("one-window", AGE, 7), &limits, Verdict::Yes, NOW_MS);
    }
    let spent = desk.reserve(("one-window", AGE, 7), &limits, NOW_MS).err().unwrap();
    assert_eq!((spent.of, spent.left.span, spent.left.allotted), (Scope::Subject, Span::Day, 2));
    assert_eq!(spent.free_in_ms, 14 * 60 * 60 * 1000, "until midnight");
    let refusal = crate::denied::allotment(&spent);
    assert_eq!(refusal.code, RefusalCode::SubjectQuota);
    let others = [("school", AGE, 7), ("one-window", ALIVE, 7), ("one-window", AGE, 8)];
    for other in others {
        assert!(desk.reserve(other, &limits, NOW_MS).is_ok(), "{other:?}");
    }
    for _ in 0..2 {
        desk.ask(("one-window", AGE, 7), &limits, Verdict::No, NOW_MS + DAY_MS);
    }
    let spent = desk.reserve(("one-window", AGE, 7), &limits, NOW_MS + 2 * DAY_MS).err().unwrap();
    assert_eq!((spent.left.span, spent.left.allotted), (Span::Period, 4));
    assert_eq!(spent.free_in_ms as i64, 88 * DAY_MS - 10 * 60 * 60 * 1000);
    let later = NOW_MS + 2 * DAY_MS + spent.free_in_ms as i64;
    assert!(desk.reserve(("one-window", AGE, 7), &limits, later - 1).is_err());
    assert!(desk.reserve(("one-window", AGE, 7), &limits, later).is_ok(), "as it was told");
}

#[test]
fn whoever_has_used_up_both_spans_is_told_of_the_later_one() {
    let desk = Desk::empty();
    let limits = AskingLimits { subject: allotment(1, 1), ..limits(100, 1, 1) };
    desk.ask(("one-window", AGE, 7), &limits, Verdict::Yes, NOW_MS);
    let spent = desk.reserve(("one-window", AGE, 7), &limits, NOW_MS).err().unwrap();
    let later = NOW_MS + spent.free_in_ms as i64;
    assert!(desk.reserve(("one-window", AGE, 7), &limits, later).is_ok(), "as it was told");
}

#[test]
fn attempts_that_match_are_free_and_those_in_flight_count() {
    let (desk, limits) = (Desk::empty(), limits(100, 1, 2));
    let about = ("one-window", NAME, 7);
    for _ in 0..5 {
        desk.ask(about, &limits, Verdict::Yes, NOW_MS);
    }
    desk.ask(about, &limits, Verdict::No, NOW_MS);
    let in_flight = desk.reserve(about, &limits, NOW_MS).unwrap();
    let spent = desk.reserve(about, &limits, NOW_MS).err().unwrap();
    assert_eq!(spent.of, Scope::Attempts);
    drop(in_flight);
    desk.ask(about, &limits, Verdict::Undetermined, NOW_MS);
    let refusals = [Verdict::No, Verdict::Undetermined]
        .map(|_| crate::denied::allotment(&desk.reserve(about, &limits, NOW_MS).err().unwrap()));
    assert_eq!(refusals[0], refusals[1]);
    assert_eq!(refusals[0].code, RefusalCode::AttemptsExhausted);
    assert_eq!(
        refusals[0].mend,
        "check what you were told with the person: at most 2 attempts about one subject may fail \
         on one day"
    );
}

#[test]
fn what_is_not_asked_is_given_back_and_what_fails_counts_for_the_department_alone() {
    let (desk, limits) = (Desk::empty(), limits(2, 1, 1));
    let about = ("one-window", AGE, 7);
    drop(desk.reserve(about, &limits, NOW_MS).unwrap());
    assert_eq!(counts(&desk.ledger), BTreeMap::new(), "refused by a later check");
    for _ in 0..2 {
        let mut failed = desk.reserve(about, &limits, NOW_MS).unwrap();
        failed.asked(NOW_MS as u64);
    }
    let spent = desk.reserve(about, &limits, NOW_MS).err().unwrap();
    assert_eq!((spent.of, spent.left.allotted), (Scope::Department, 2));
    let of_callers = desk.ledger.shard(SubjectNumber(7)).counts.keys().any(|it| it.caller != ALL);
    assert!(!of_callers, "of all callers together it was asked twice");
}

#[test]
fn a_question_counts_on_the_day_of_its_entry() {
    let (desk, limits) = (Desk::empty(), limits(9, 9, 9));
    let before_midnight = NOW_MS + 14 * 60 * 60 * 1000 - 1;
    let mut reservation = desk.reserve(("one-window", AGE, 7), &limits, before_midnight).unwrap();
    reservation.asked(before_midnight as u64 + 1);
    reservation.answered(Verdict::Yes);
    let caller = desk.ledger.caller(&"one-window".parse().unwrap());
    let (charge, _) = desk.ledger.charge(caller, &allotment(1, 1), before_midnight).unwrap();
    assert!(desk.ledger.charge(caller, &allotment(1, 1), before_midnight).is_err());
    charge.keep(before_midnight as u64 + 1);
    let days: Vec<_> = counts(&desk.ledger).into_values().collect();
    let tomorrow = desk.ledger.calendar.day_of(NOW_MS) + 1;
    assert_eq!(days, vec![vec![(tomorrow, 1)]; 3]);
}

#[test]
fn what_all_callers_ask_together_only_raises_an_alarm_and_once_a_day() {
    let (desk, limits) = (Desk::empty(), limits(100, 100, 100));
    // Attempts that succeed and questions that fail are asked too, one that is not asked is not.
    let asked = [("one-window", NAME), ("school", ALIVE), ("one-window", NAME), ("school", NAME)];
    for day in 0..2 {
        let now_ms = NOW_MS + day * DAY_MS;
        let alarms = asked.map(|(caller, predicate)| {
            let about = (caller, predicate, 7);
            drop(desk.reserve(about, &limits, now_ms).unwrap());
            let mut reservation = desk.reserve(about, &limits, now_ms).unwrap();
            let is_alarming = reservation.asked(now_ms as u64);
            if predicate == NAME {
                reservation.answered(Verdict::Yes);
            }
            is_alarming
        });
        assert_eq!(alarms, [false, false, true, false]);
    }
}

#[test]
fn what_no_span_reaches_is_forgotten() {
    let (desk, limits) = (Desk::empty(), limits(10_000, 9, 9));
    for subject in 0..1000 {
        desk.ask(("one-window", AGE, subject), &limits, Verdict::Yes, NOW_MS);
    }
    assert_eq!(desk.ledger.subject_counts(), 2000, "the caller's and that of all callers");
    for subject in 0..SHARDS as u64 {
        let later = NOW_MS + 90 * DAY_MS;
        desk.ask(("one-window", AGE, subject), &limits, Verdict::Yes, later);
    }
    assert_eq!(desk.ledger.subject_counts(), 2 * SHARDS as u64);
    let ahead = desk.ledger.calendar.day_of(NOW_MS) + 500;
    let shard = || locked(&desk.ledger.subjects[0]);
    shard().clear(ahead);
    desk.ask(("one-window", AGE, 0), &limits, Verdict::Yes, NOW_MS);
    desk.ask(("one-window", AGE, 0), &limits, Verdict::Yes, NOW_MS + 90 * DAY_MS);
    assert_eq!(shard().counts.len(), 2, "a clock that was ahead does not end the clearing");
}

#[test]
fn a_snapshot_of_other_families_or_another_zone_is_refused() {
    let asked = [AGE, NAME, "civil-registry/age-at-least@7", "civil-registry/gone@1"];
    let mut rebuild = Rebuild::new(zone(), &catalogue(), 1000);
    for (index, predicate) in (0..).zip(asked) {
        let names = ("school", "civil-registry", predicate);
        rebuild.asked(index, NOW_MS as u64, names, SubjectNumber(7));
    }
    let mut bytes = Vec::new();
    rebuild.snapshot(&mut bytes);
    let restore = |bytes: &[u8], zone, since_ms| {
        Rebuild::restore(bytes, zone, &catalogue(), since_ms).err().map(|fault| fault.to_string())
    };
    let said = |text: &str| Some(text.to_owned());
    let needed = needed_ms(NOW_MS);
    assert_eq!(restore(&bytes, zone(), needed), None);
    let late = said("it was made while the clock was ahead");
    assert_eq!(restore(&bytes, zone(), 999), late, "entries since then are missing");
    let other = said("it was made for another civil time zone");
    assert_eq!(restore(&bytes, TimeZone::UTC, needed), other);
    let other = said("it is not what this version writes");
    for cut in 0..bytes.len() {
        assert_eq!(restore(&bytes[..cut], zone(), needed), other, "{cut} bytes");
    }
    // As if the attribute had been another one when it was made.
    let place = bytes.windows(10).position(|part| part == b"birth-date").unwrap();
    bytes[place] = b'B';
    let moved = restore(&bytes, zone(), needed).unwrap();
    assert!(moved.ends_with("has another family now"), "{moved}");
}

/// From when on a snapshot must be whole for a start at that time.
fn needed_ms(now_ms: i64) -> u64 {
    (now_ms - 91 * DAY_MS) as u64
}

#[test]
fn a_snapshot_that_has_forgotten_what_is_needed_is_refused() {
    let mut rebuild = Rebuild::new(zone(), &catalogue(), 0);
    let names = ("one-window", "civil-registry", AGE);
    rebuild.asked(0, NOW_MS as u64, names, SubjectNumber(7));
    let restored = |rebuild: &Rebuild, now_ms: i64| {
        let mut bytes = Vec::new();
        rebuild.snapshot(&mut bytes);
        Rebuild::restore(&bytes, zone(), &catalogue(), needed_ms(now_ms)).is_ok()
    };
    assert!(restored(&rebuild, NOW_MS));
    // The clock goes on by a hundred days, a question is asked, and then the clock is set right.
    let ahead = NOW_MS + 100 * DAY_MS;
    rebuild.asked(1, ahead as u64, names, SubjectNumber(8));
    assert!(restored(&rebuild, ahead));
    assert!(!restored(&rebuild, NOW_MS), "what was asked about 7 is not in it");
}

#[test]
fn what_was_asked_under_a_version_that_is_gone_counts_for_its_family() {
    let mut rebuild = Rebuild::new(zone(), &catalogue(), 0);
    for index in 0..2 {
        let names = ("one-window", "civil-registry", "civil-registry/age-at-least@99");
        rebuild.asked(index, NOW_MS as u64, names, SubjectNumber(7));
        rebuild.answered(index, || None);
    }
    let desk = Desk::new(rebuild.into_ledger());
    let spent = desk.reserve(("one-window", AGE, 7), &limits(100, 2, 2), NOW_MS).err().unwrap();
    assert_eq!(spent.of, Scope::Subject);
}

#[test]
fn a_clock_that_was_a_year_ahead_does_not_end_the_counting() {
    let mut rebuild = Rebuild::new(zone(), &catalogue(), 0);
    let names = ("one-window", "civil-registry", AGE);
    rebuild.asked(0, (NOW_MS + 365 * DAY_MS) as u64, names, SubjectNumber(7));
    rebuild.answered(0, || None);
    let desk = Desk::new(rebuild.into_ledger());
    let limits = limits(100, 2, 2);
    for _ in 0..2 {
        desk.ask(("one-window", AGE, 7), &limits, Verdict::Yes, NOW_MS);
    }
    assert!(desk.reserve(("one-window", AGE, 7), &limits, NOW_MS).is_err());
}

/// What happens to one question.
#[derive(Debug, Clone, Copy)]
enum Fate {
    NotAsked,
    Refused,
    Failed,
    Answered(Verdict),
}

fn fates() -> impl Strategy<Value = Fate> {
    prop_oneof![
        Just(Fate::NotAsked),
        Just(Fate::Refused),
        Just(Fate::Failed),
        Just(Fate::Answered(Verdict::Yes)),
        Just(Fate::Answered(Verdict::No)),
    ]
}

/// Tells `rebuild` of the entries from the one at `from` on.
fn replay(rebuild: &mut Rebuild, entries: &[Entry], from: usize) {
    for (index, entry) in entries.iter().enumerate().skip(from) {
        match *entry {
            Entry::Ask { at_ms, caller, predicate, subject } => {
                let department = predicate.split('/').next().unwrap();
                let header = (caller, department, predicate);
                rebuild.asked(index as u64, at_ms, header, SubjectNumber(subject));
            }
            Entry::Refused { at_ms, caller } => rebuild.refused(at_ms, caller),
            Entry::Failed { ask } => rebuild.failed(ask),
            Entry::Answer { ask, verdict } => rebuild.answered(ask, || Some(verdict)),
        }
    }
}

#[derive(Debug, Clone, Copy)]
enum Entry {
    Ask { at_ms: u64, caller: &'static str, predicate: &'static str, subject: u64 },
    Refused { at_ms: u64, caller: &'static str },
    Failed { ask: u64 },
    Answer { ask: u64, verdict: Verdict },
}

proptest! {
    /// Whatever is asked, refused, answered and broken, in whatever order it is closed: the counts
    /// that a restart rebuilds are those that were in force, from all entries or from a snapshot at
    /// any of them and the entries after it.
    #[test]
    fn a_restart_changes_no_count(
        questions in prop::collection::vec(
            (0..2_usize, 0..4_usize, 0..3_u64, 0..200_i64, fates(), any::<bool>()), 1..60),
        at in any::<prop::sample::Index>(),
    ) {
        let desk = Desk::empty();
        let limits = limits(1_000_000, 1_000, 1_000);
        let (mut entries, mut late, mut hours) = (Vec::new(), Vec::new(), 0);
        for (caller, predicate, subject, wait, fate, is_late) in questions {
            hours += wait;
            let now_ms = NOW_MS + hours * 60 * 60 * 1000;
            let (caller, predicate) = (CALLERS[caller], PREDICATES[predicate]);
            let number = desk.ledger.caller(&caller.parse().unwrap());
            let (charge, _) =
                desk.ledger.charge(number, &allotment(1_000_000, 1_000_000), now_ms).unwrap();
            let mut reservation =
                desk.reserve((caller, predicate, subject), &limits, now_ms).unwrap();
            let at_ms = now_ms as u64 + 500;
            if let Fate::NotAsked = fate {
                continue;
            }
            charge.keep(at_ms);
            if let Fate::Refused = fate {
                entries.push(Entry::Refused { at_ms, caller });
                continue;
            }
            reservation.asked(at_ms);
            let ask = entries.len() as u64;
            entries.push(Entry::Ask { at_ms, caller, predicate, subject });
            let verdict = if let Fate::Answered(verdict) = fate { Some(verdict) } else { None };
            if is_late {
                late.push((ask, reservation, verdict));
            } else {
                close(&mut entries, ask, reservation, verdict);
            }
        }
        for (ask, reservation, verdict) in late {
            close(&mut entries, ask, reservation, verdict);
        }
        let today = desk.ledger.calendar.day_of(NOW_MS + hours * 60 * 60 * 1000);
        let recent = |ledger: &Ledger| recent(ledger, today);
        let mut whole = Rebuild::new(zone(), &catalogue(), 0);
        replay(&mut whole, &entries, 0);
        prop_assert_eq!(recent(&whole.into_ledger()), recent(&desk.ledger));

        let at = at.index(entries.len() + 1);
        let mut first = Rebuild::new(zone(), &catalogue(), 0);
        replay(&mut first, &entries[..at], 0);
        let mut bytes = Vec::new();
        first.snapshot(&mut bytes);
        let needed = needed_ms(NOW_MS + hours * 60 * 60 * 1000);
        let mut second = Rebuild::restore(&bytes, zone(), &catalogue(), needed).unwrap();
        replay(&mut second, &entries, at);
        prop_assert_eq!(recent(&second.into_ledger()), recent(&desk.ledger));
    }
}

fn close(entries: &mut Vec<Entry>, ask: u64, reservation: Reservation, verdict: Option<Verdict>) {
    match verdict {
        Some(verdict) => {
            reservation.answered(verdict);
            entries.push(Entry::Answer { ask, verdict });
        }
        None => {
            drop(reservation);
            entries.push(Entry::Failed { ask });
        }
    }
}

/// The counts that allotments can still meet.
fn recent(ledger: &Ledger, today: Day) -> BTreeMap<String, Vec<(Day, u32)>> {
    let mut counts = counts(ledger);
    for days in counts.values_mut() {
        days.retain(|(day, _)| *day >= days::first_until(today));
    }
    counts.retain(|_, days| !days.is_empty());
    counts
}
