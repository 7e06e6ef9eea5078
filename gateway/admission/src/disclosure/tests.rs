//! What the auditor lets through, held against whoever reckons from the answers alone.

use jiff::ToSpan;
use jiff::tz::TimeZone;
use jumpgate_catalogue::{Buckets, CutUnit, Histogram};
use proptest::prelude::*;

use super::*;
use crate::sample::caller;

const WIDTH: i64 = 30;
const TODAY: Date = date(2026, 11, 23);

fn attribute() -> Attribute {
    let days = |date: Date| i64::from((date - FIRST).get_days());
    let buckets =
        Buckets { from: vec![(days(date(1926, 1, 1)), 600_000)], until: days(date(2026, 1, 1)) };
    Attribute {
        id: "birth-date".to_owned(),
        title_en: "Date of birth".to_owned(),
        title_zh: "出生日期".to_owned(),
        cell_people_min: 20,
        interval_days_min: Some(30),
        people: Histogram::Dates(buckets),
        follows: None,
    }
}

fn interval(released: &Released, subject: SubjectNumber) -> Option<Interval> {
    released.intervals_of(subject).first().map(|(_, interval)| *interval)
}

fn predicate() -> PredicateId {
    "civil-registry/of-age@1".parse().unwrap()
}

fn years(threshold: i64) -> ExactCut {
    ExactCut { unit: CutUnit::YearsBefore, threshold, yes: Side::Before }
}

/// A ledger with an exact predicate, and who asks about somebody.
struct Registry {
    ledger: Arc<Ledger>,
    predicate: ExactPredicate,
    subject: SubjectNumber,
    granted: u32,
}

impl Registry {
    fn new() -> Self {
        Self::with(attribute())
    }

    fn with(attribute: Attribute) -> Self {
        let ledger = Arc::new(Ledger::new(TimeZone::UTC));
        let exact = ledger.released.exact([(predicate(), attribute)]);
        let predicate = exact.into_values().next().unwrap();
        Self { ledger, predicate, subject: SubjectNumber(7), granted: 366 }
    }

    fn audit(
        &self,
        by: &str,
        (cut, today): (ExactCut, Date),
        is_break_glass: bool,
    ) -> Result<Audited, NotReleased> {
        let cutting = Cutting {
            predicate: &self.predicate,
            cut,
            today,
            subject: self.subject,
            caller: self.ledger.released.caller(&caller(by)),
            grant: ExactGrant { cuts_per_year: self.granted, is_break_glass },
        };
        self.ledger.audit(&cutting)
    }

    fn ask(&self, by: &str, cut: ExactCut, today: Date) -> Result<Audited, NotReleased> {
        self.audit(by, (cut, today), false)
    }

    /// Asks past the auditor.
    fn break_glass(
        &self,
        by: &str,
        cut: ExactCut,
        today: Date,
    ) -> Result<CutReservation, NotReleased> {
        match self.audit(by, (cut, today), true)? {
            Audited::Cut(reservation) => Ok(reservation),
            other => panic!("{other:?}"),
        }
    }

    fn cut(&self, by: &str, cut: ExactCut, today: Date) -> CutReservation {
        match self.ask(by, cut, today) {
            Ok(Audited::Cut(reservation)) => reservation,
            other => panic!("{other:?}"),
        }
    }

    fn implied(&self, by: &str, cut: ExactCut, today: Date) -> (Verdict, Date) {
        match self.ask(by, cut, today) {
            Ok(Audited::Implied(implied)) => (implied.verdict, implied.as_of),
            other => panic!("{other:?}"),
        }
    }

    fn interval(&self) -> Option<Interval> {
        interval(&self.ledger.released, self.subject)
    }
}

/// Asks, and if the department is to be asked, has it answer about somebody of that date: what is
/// told, and whether the department was asked.
fn told(
    registry: &Registry,
    by: &str,
    cut: ExactCut,
    today: Date,
    value: i64,
) -> (Verdict, Date, bool) {
    match registry.ask(by, cut, today) {
        Ok(Audited::Cut(reservation)) => {
            let side = if value < cut.day(reservation.as_of()) { Side::Before } else { Side::From };
            let settled = reservation.settle(cut.verdict(side)).unwrap();
            (settled.verdict, settled.as_of, true)
        }
        Ok(Audited::Implied(implied)) => (implied.verdict, implied.as_of, false),
        other => panic!("{other:?}"),
    }
}

#[test]
fn asked_daily_an_exact_age_is_as_of_today_but_in_the_weeks_around_the_birthday() {
    let registry = Registry::new();
    let day = |days: i64| TODAY.saturating_add(days.days());
    // Reaches 18 after a hundred days.
    let value = years(18).day(day(100)) - 1;
    let mut cuts = Vec::new();
    for days in 0..200 {
        let by = if days % 2 == 0 { "school" } else { "one-window" };
        let (verdict, as_of, was_asked) = told(&registry, by, years(18), day(days), value);
        if was_asked {
            cuts.push(days);
        }
        // The cuts lie thirty days apart, and the one after the ninetieth day is the first that he
        // does not pass: from the day after that one on, nothing is told as of today any more.
        let expected = match days {
            0..=90 => (Verdict::No, day(days)),
            91..120 => (Verdict::No, day(90)),
            _ => (Verdict::Yes, day(days)),
        };
        assert_eq!((verdict, as_of), expected, "after {days} days");
    }
    assert_eq!(cuts, [0, 1, 31, 61, 91]);
    assert_eq!(registry.interval().unwrap().days(), WIDTH);
    // Known for ever, and to everybody, of every other age too.
    assert_eq!(registry.implied("school", years(16), day(5_000)), (Verdict::Yes, day(5_000)));
    assert_eq!(registry.implied("school", years(60), day(200)).0, Verdict::No);
}

#[test]
fn where_nothing_is_known_a_question_too_near_another_is_refused() {
    let registry = Registry::new();
    registry.cut("school", years(18), TODAY).settle(Verdict::Yes).unwrap();
    let days = |threshold| ExactCut { unit: CutUnit::DaysBefore, threshold, yes: Side::Before };
    // Twenty days older than 18 years.
    let near = years(18).day(TODAY) - 20;
    let older = days(i64::from((TODAY - FIRST).get_days()) + 1 - near);
    assert_eq!(older.day(TODAY), near);
    let refused = registry.ask("one-window", older, TODAY).unwrap_err();
    assert_eq!(refused, NotReleased::TooLittleLeft);
    assert!(matches!(registry.ask("one-window", years(19), TODAY), Ok(Audited::Cut(_))));
}

#[test]
fn few_people_are_left_together_by_no_answer() {
    // In the first years about a person a month was born.
    let mut attribute = attribute();
    let Histogram::Dates(people) = &mut attribute.people else { unreachable!() };
    people.from.insert(0, (people.from[0].0 - 3_650, 120));
    let registry = Registry::with(attribute);
    let refused = registry.ask("school", years(110), TODAY).unwrap_err();
    assert_eq!(refused, NotReleased::TooLittleLeft, "ten people are older");
    let cut = registry.cut("school", years(108), TODAY);
    cut.settle(Verdict::Yes).unwrap();
    let refused = registry.ask("school", years(109), TODAY).unwrap_err();
    assert_eq!(refused, NotReleased::TooLittleLeft, "twelve people lie between");
}

#[test]
fn cuts_on_their_way_count_as_released_both_ways() {
    let registry = Registry::new();
    let first = registry.cut("school", years(18), TODAY);
    let soon = TODAY.saturating_add(10.days());
    // Nothing is told yet, so that there is no earlier answer either.
    assert_eq!(
        registry.ask("one-window", years(18), soon).unwrap_err(),
        NotReleased::TooLittleLeft
    );
    // The same cut twice tells no more than once.
    let same = registry.cut("one-window", years(18), TODAY);
    let far = registry.cut("one-window", years(16), TODAY);
    drop(first);
    assert!(registry.ask("one-window", years(18), soon).is_err(), "one is on its way");
    same.settle(Verdict::Undetermined).unwrap();
    assert_eq!(registry.interval(), None, "undetermined tells nothing");
    assert!(matches!(registry.ask("one-window", years(18), soon), Ok(Audited::Cut(_))));
    far.settle(Verdict::Yes).unwrap();
    assert_eq!(registry.interval().unwrap().until, clamped(years(16).day(TODAY)));
}

#[test]
fn an_answer_that_contradicts_another_is_not_given() {
    let registry = Registry::new();
    let (older, younger) =
        (registry.cut("a", years(60), TODAY), registry.cut("b", years(18), TODAY));
    older.settle(Verdict::Yes).unwrap();
    assert_eq!(younger.settle(Verdict::No), Err(Contradiction));
    let interval = Interval { until: clamped(years(60).day(TODAY)), ..Interval::NOTHING };
    assert_eq!(registry.interval(), Some(interval));
    assert_eq!(registry.implied("b", years(18), TODAY), (Verdict::Yes, TODAY));
}

#[test]
fn a_department_grants_a_number_of_cuts_a_year() {
    let mut registry = Registry::new();
    registry.granted = 2;
    let day = |days: i64| TODAY.saturating_add(days.days());
    let first = registry.cut("school", years(18), day(0));
    assert!(!first.is_last_granted());
    first.settle(Verdict::No).unwrap();
    drop(registry.cut("school", years(18), day(40)));
    let cut = registry.cut("school", years(18), day(40));
    assert!(cut.is_last_granted(), "known before the answer");
    assert_eq!(registry.implied("school", years(18), day(80)), (Verdict::No, day(0)), "both count");
    cut.settle(Verdict::No).unwrap();
    assert_eq!(registry.implied("school", years(18), day(364)), (Verdict::No, day(40)));
    let other = ExactCut { yes: Side::From, ..years(60) };
    assert_eq!(registry.implied("school", other, day(364)).0, Verdict::Yes, "this one is known");
    // Another caller has its own, and the first one again when a year is over.
    drop(registry.cut("one-window", years(18), day(364)));
    drop(registry.cut("school", years(18), day(365)));
    let strict = Registry { granted: 0, ..Registry::new() };
    let refused = strict.ask("school", years(18), TODAY).unwrap_err();
    assert_eq!(refused, NotReleased::CutsSpent { granted: 0 });
}

#[test]
fn nobody_is_found_in_the_days_before_he_was_first_asked_about() {
    let registry = Registry::new();
    let fifty = ExactCut { unit: CutUnit::DaysBefore, threshold: 50, yes: Side::Before };
    let day = |days: i64| TODAY.saturating_add(days.days());
    registry.cut("a", fifty, day(0)).settle(Verdict::No).unwrap();
    // Within the fifty days that end with the first question, and no date lies after it.
    assert_eq!(registry.interval().unwrap().days(), 50);
    for days in 1..50 {
        assert_eq!(registry.implied("a", fifty, day(days)), (Verdict::No, day(0)), "{days}");
    }
    assert_eq!(registry.implied("a", fifty, day(50)), (Verdict::Yes, day(50)));
}

#[test]
fn a_new_record_is_asked_about_anew_and_an_erased_person_is_not() {
    let registry = Registry::new();
    registry.cut("a", years(18), TODAY).settle(Verdict::No).unwrap();
    let known = registry.interval().unwrap();
    registry.ledger.released.forget(registry.subject, "birth-date");
    drop(registry.cut("a", years(18), TODAY));
    registry.ledger.released.remember(registry.subject, "birth-date", known);
    assert_eq!(registry.interval(), Some(known));
    registry.ledger.released.remember(registry.subject, "birth-date", Interval::NOTHING);
    assert_eq!(registry.interval(), Some(known));
    // While he is erased nothing new is told, and what is awaited comes first.
    let cut = registry.cut("a", years(16), TODAY);
    assert_eq!(registry.ledger.freeze(registry.subject), None);
    drop(cut);
    let frozen = registry.ledger.freeze(registry.subject).unwrap();
    assert_eq!(frozen, [("birth-date".into(), known)]);
    assert!(registry.ask("a", years(16), TODAY.saturating_add(5.years())).is_err());
    registry.ledger.thaw(registry.subject, false);
    drop(registry.cut("a", years(16), TODAY.saturating_add(5.years())));
    registry.ledger.freeze(registry.subject).unwrap();
    registry.ledger.thaw(registry.subject, true);
    assert_eq!(registry.interval(), None);
}

#[test]
fn what_is_told_past_the_auditor_is_counted_apart_and_tells_nobody_else() {
    let mut registry = Registry::new();
    registry.granted = 2;
    let day = |days: i64| TODAY.saturating_add(days.days());
    registry.cut("court", years(18), day(0)).settle(Verdict::No).unwrap();
    let known = registry.interval();
    // The next day would leave too little, and two operators are told.
    let first = registry.break_glass("court", years(18), day(1)).unwrap();
    assert!(first.is_break_glass() && !first.is_last_granted());
    let CutSettled { verdict, as_of, release } = first.settle(Verdict::No).unwrap();
    assert_eq!((verdict, as_of, release.way), (Verdict::No, day(1), Way::BreakGlass));
    assert_eq!(registry.interval(), known);
    let of_others = registry.cut("one-window", years(18), day(1));
    assert!(of_others.as_of() > day(1), "others are asked about ahead, as if there were none");
    drop(of_others);
    // One that is on its way takes no room from others, and others none from it.
    let under_way = registry.break_glass("court", years(16), day(1)).unwrap();
    assert!(under_way.is_last_granted());
    let spent = registry.break_glass("court", years(14), day(1)).unwrap_err();
    assert_eq!(spent, NotReleased::CutsSpent { granted: 2 });
    let beside = registry.cut("one-window", years(16), day(2));
    under_way.settle(Verdict::Yes).unwrap();
    beside.settle(Verdict::Yes).unwrap();
    // It still has a cut of the usual way.
    drop(registry.cut("court", years(17), day(2)));
    let cuts = registry.ledger.released.cuts(registry.subject);
    let mut ways: Vec<_> = cuts.iter().map(|cut| (&*cut.caller, cut.is_break_glass)).collect();
    ways.sort_unstable();
    let court = [("court", false), ("court", true), ("court", true)];
    assert_eq!(ways, [&court[..], &[("one-window", false)]].concat());
    registry.granted = 9;
    let false_one = registry.break_glass("court", years(18), day(2)).unwrap();
    assert!(false_one.settle(Verdict::No).is_ok());
    let false_one = registry.break_glass("court", years(15), day(2)).unwrap();
    assert_eq!(false_one.settle(Verdict::No), Err(Contradiction), "he is told to be sixteen");
}

#[test]
fn of_a_person_asked_about_past_the_auditor_alone_nothing_is_released() {
    let registry = Registry::new();
    registry.break_glass("court", years(18), TODAY).unwrap().settle(Verdict::Yes).unwrap();
    assert_eq!(registry.interval(), None);
    assert_eq!(registry.ledger.freeze(registry.subject), Some(Vec::new()), "nothing to keep");
}

/// What somebody asks, on which later day, and what becomes of it.
#[derive(Debug, Clone)]
struct Step {
    days_later: i64,
    by: &'static str,
    cut: ExactCut,
    /// How many questions of the others on the way are closed before it, the oldest first.
    closed: usize,
    /// Whether the department fails when it is closed.
    fails: bool,
    /// Whether two operators ask past the auditor.
    is_break_glass: bool,
}

fn step() -> impl Strategy<Value = Step> {
    let unit = prop::sample::select(
        &[CutUnit::YearsBefore, CutUnit::MonthsBefore, CutUnit::DaysBefore][..],
    );
    let cut =
        (unit, 0_i64..6, prop::sample::select(&Side::ALL[..])).prop_map(|(unit, nth, yes)| {
            // All of them lie within some months of each other.
            let threshold = match unit {
                CutUnit::YearsBefore => 18,
                CutUnit::MonthsBefore => 214 + nth,
                CutUnit::DaysBefore | CutUnit::AtLeastMonths => 6_500 + nth * 17,
            };
            ExactCut { unit, threshold, yes }
        });
    let by = prop::sample::select(&["one-window", "pension-office", "school"][..]);
    let seldom = || prop::bool::weighted(0.1);
    (0_i64..25, by, cut, 0_usize..3, seldom(), seldom()).prop_map(
        |(days_later, by, cut, closed, fails, is_break_glass)| Step {
            days_later,
            by,
            cut,
            closed,
            fails,
            is_break_glass,
        },
    )
}

/// Everything that callers see of whom nobody asks past the auditor, and what they can reckon from
/// it.
#[derive(Default)]
struct Play {
    seen: Vec<String>,
    releases: Vec<(Release, &'static str)>,
    left: Vec<i64>,
    today: Day,
}

impl Play {
    /// Strikes out every date that does not fit an answer.
    fn learn(&mut self, cut: &ExactCut, as_of: Date, verdict: Verdict) {
        let (day, is_before) = (cut.day(as_of), cut.verdict(Side::Before) == verdict);
        self.left.retain(|value| (*value < day) == is_before);
    }
}

impl Play {
    fn strike(&mut self, release: &Release) {
        let day = i64::from(release.day);
        self.left.retain(|value| (*value < day) == (release.side == Some(Side::Before)));
    }
}

/// Plays the steps with somebody whose date is `value`.
fn play(registry: &Registry, value: i64, steps: &[Step]) -> Play {
    let from = i64::from((date(2007, 1, 1) - FIRST).get_days());
    let mut play = Play { left: (from..from + 1_600).collect(), ..Play::default() };
    let answer = |cut: &ExactCut, as_of: Date| {
        cut.verdict(if value < cut.day(as_of) { Side::Before } else { Side::From })
    };
    let mut today = TODAY;
    let mut open = std::collections::VecDeque::new();
    let close = |play: &mut Play, (reservation, step): (CutReservation, Step)| {
        if step.fails {
            drop(reservation);
            return play.seen.push("failed".to_owned());
        }
        let verdict = answer(&step.cut, reservation.as_of());
        let settled = reservation.settle(verdict).expect("what is true contradicts nothing");
        let CutSettled { verdict, as_of: told, release, .. } = settled;
        if step.is_break_glass {
            return play.releases.push((release, step.by));
        }
        play.seen.push(format!("{verdict} as of {told}"));
        // Whoever knows the rules knows what was asked.
        play.learn(&step.cut, told, verdict);
        play.strike(&release);
        play.releases.push((release, step.by));
    };
    for step in steps {
        today = today.saturating_add(step.days_later.days());
        play.today = day_number(today);
        for _ in 0..step.closed {
            if let Some(first) = open.pop_front() {
                close(&mut play, first);
            }
        }
        if step.is_break_glass {
            let reserved = registry.break_glass(step.by, step.cut, today);
            open.extend(reserved.ok().map(|reservation| (reservation, step.clone())));
            continue;
        }
        match registry.ask(step.by, step.cut, today) {
            Ok(Audited::Cut(reservation)) => {
                play.seen.push("asked".to_owned());
                open.push_back((reservation, step.clone()));
            }
            Ok(Audited::Implied(Implied { verdict, as_of, release })) => {
                play.seen.push(format!("{verdict} as of {as_of}"));
                play.learn(&step.cut, as_of, verdict);
                play.releases.push((release, step.by));
            }
            Ok(Audited::Uncut) => panic!("it is exact"),
            Err(why) => play.seen.push(format!("{why:?}")),
        }
    }
    while let Some(first) = open.pop_front() {
        close(&mut play, first);
    }
    play
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(4_000))]

    /// Whoever keeps every answer has thirty days left at least, and each answer was true.
    #[test]
    fn all_answers_together_leave_thirty_days(
        steps in prop::collection::vec(step(), 1..40),
        value in 13_600_i64..14_600,
        granted in 1_u32..20,
    ) {
        let registry = Registry { granted, ..Registry::new() };
        let play = play(&registry, value, &steps);
        prop_assert!(play.left.contains(&value));
        prop_assert!(play.left.len() as i64 >= WIDTH, "{} days left", play.left.len());
        // What the auditor keeps is what the answers say, no more and no less.
        if let Some(known) = registry.interval().filter(|_| !play.releases.is_empty()) {
            let (from, until) = (i64::from(known.from), i64::from(known.until));
            prop_assert!(play.left.iter().all(|day| (from..until).contains(day)));
            let (first, last) = (13_514, 13_514 + 1_599);
            prop_assert_eq!(play.left.first(), Some(&from.max(first)));
            prop_assert_eq!(play.left.last(), Some(&(until - 1).min(last)));
        }
        // Made again from what is on record, in any order, it is the same.
        let made = |released: &Released| {
            let mut cuts = released.cuts(registry.subject);
            cuts.retain(|cut| day_number(cut.day) > play.today - YEAR_DAYS);
            (interval(released, registry.subject), cuts)
        };
        let (live, again) = (made(&registry.ledger.released), Released::default());
        for (release, by) in play.releases.iter().rev() {
            again.record(registry.subject, release, (*by, predicate().as_str()));
        }
        prop_assert_eq!(made(&again), live.clone());
        // And from a snapshot.
        let (mut bytes, read) = (Vec::new(), Released::default());
        again.write(&mut minicbor::Encoder::new(&mut bytes)).unwrap();
        read.read(&mut minicbor::Decoder::new(&bytes)).unwrap();
        prop_assert_eq!(made(&read), live);
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(100_000))]

    /// What is decided depends on what was answered and not on the record: two people of whom all
    /// answers are the same are answered, put off and refused alike.
    #[test]
    fn two_records_that_agree_on_all_answers_are_told_apart_by_nothing(
        steps in prop::collection::vec(step(), 1..24),
        value in 13_900_i64..14_300,
        other in -60_i64..60,
    ) {
        let (one, two) = (Registry::new(), Registry::new());
        let (one, two) = (play(&one, value, &steps), play(&two, value + other, &steps));
        let differs = one.seen.iter().zip(&two.seen).position(|(one, two)| one != two);
        if let Some(at) = differs {
            // Before an answer tells them apart, nothing else does.
            for seen in [&one.seen[at], &two.seen[at]] {
                prop_assert!(seen.starts_with("yes") || seen.starts_with("no "), "{seen}");
            }
        } else {
            prop_assert_eq!(&one.left, &two.left);
        }
    }
}

/// Of many persons, from a cut to a snapshot that is read whole. It prints what that takes:
/// `JUMPGATE_AUDITED=10000000 cargo test --release -p jumpgate-admission --lib of_many --
/// --nocapture`
#[test]
fn a_snapshot_of_many_persons_is_read_whole() {
    let persons = std::env::var("JUMPGATE_AUDITED").map_or(20_000, |it| it.parse().unwrap());
    let mut registry = Registry::new();
    let before = resident_bytes();
    let timed = |name: &str, days: i64, registry: &mut Registry| {
        let since = std::time::Instant::now();
        for person in 0..persons {
            registry.subject = SubjectNumber(person);
            let today = TODAY.saturating_add(days.days());
            if let Ok(Audited::Cut(cut)) = registry.ask("school", years(18), today) {
                cut.settle(Verdict::No).unwrap();
            }
        }
        println!("{name}: {:?} a person", since.elapsed() / u32::try_from(persons).unwrap());
    };
    timed("a cut", 0, &mut registry);
    println!("{} bytes a person", (resident_bytes() - before) / persons);
    timed("known from others", 0, &mut registry);
    timed("looking ahead", 1, &mut registry);
    let since = std::time::Instant::now();
    let mut bytes = Vec::new();
    registry.ledger.released.write(&mut minicbor::Encoder::new(&mut bytes)).unwrap();
    println!("a snapshot of {} bytes: written in {:?}", bytes.len(), since.elapsed());
    let (since, read) = (std::time::Instant::now(), Released::default());
    read.read(&mut minicbor::Decoder::new(&bytes)).unwrap();
    println!("read in {:?}", since.elapsed());
    let known = read.shards.iter().map(|shard| locked(shard).known.len() as u64);
    assert_eq!(known.sum::<u64>(), persons);
    let last = SubjectNumber(persons - 1);
    assert_eq!(interval(&read, last), interval(&registry.ledger.released, last));
    assert_eq!(read.cuts(last), registry.ledger.released.cuts(last));
    assert_eq!(read.cuts(last).len(), 2);
}

fn resident_bytes() -> u64 {
    let pages = std::fs::read_to_string("/proc/self/statm").unwrap();
    pages.split(' ').nth(1).unwrap().parse::<u64>().unwrap() * 4096
}
