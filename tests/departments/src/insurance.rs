//! What social insurance knows of a person, and the employers. Never says how a reply looks.

use std::collections::HashSet;
use std::fmt;

use jiff::civil::Date;

use crate::identifier;
use crate::person::Sex;
use crate::random::Random;

/// A calendar month.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Month {
    /// Months since the beginning of year 0.
    months: i32,
}

impl Month {
    /// The month a date lies in.
    pub fn of(date: Date) -> Self {
        Self { months: i32::from(date.year()) * 12 + i32::from(date.month()) - 1 }
    }

    /// The month so many months earlier.
    pub fn before(self, months: i32) -> Self {
        Self { months: self.months - months }
    }

    /// How many months `self` is later than `earlier`.
    pub fn since(self, earlier: Self) -> i32 {
        self.months - earlier.months
    }
}

impl fmt::Display for Month {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (year, month) = (self.months.div_euclid(12), self.months.rem_euclid(12) + 1);
        write!(formatter, "{year:04}-{month:02}")
    }
}

/// What social insurance knows of a person.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Insurance {
    /// State of the whole record.
    pub status: Status,
    /// The schemes the person was ever in.
    pub schemes: Vec<Membership>,
    /// Present employment.
    pub employment: Option<Employment>,
    /// The old-age pension.
    pub pension: Pension,
    /// Newest month first; a month with two employers stands here twice. The same list holds for
    /// each scheme of `schemes` but for the medical scheme of a person who never worked.
    pub contributions: Vec<Contribution>,
}

impl Insurance {
    /// Months with at least one paid contribution, each counted once.
    pub fn months_paid(&self) -> usize {
        let paid = self.contributions.iter().filter(|item| item.state == ContributionState::Paid);
        paid.map(|item| item.month).collect::<HashSet<_>>().len()
    }

    /// The record after the person's death.
    pub(crate) fn closed(mut self, death: Date) -> Self {
        self.status = Status::Closed;
        self.employment = None;
        self.contributions.retain(|item| item.month <= Month::of(death));
        for membership in &mut self.schemes {
            membership.state = MembershipState::Ended;
        }
        if self.pension.state == PensionState::Receiving {
            self.pension.state = PensionState::Suspended;
        }
        self
    }
}

/// State of a record.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Status {
    /// In use.
    Active,
    /// Nobody contributes at present.
    Suspended,
    /// Ended for good.
    Closed,
}

impl Status {
    /// The word in replies.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Active => "active",
            Self::Suspended => "suspended",
            Self::Closed => "closed",
        }
    }
}

/// The five schemes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Scheme {
    /// Old age.
    Pension,
    /// Medical care.
    Medical,
    /// Unemployment.
    Unemployment,
    /// Work injury.
    WorkInjury,
    /// Maternity.
    Maternity,
}

impl Scheme {
    /// All of them.
    pub const ALL: [Self; 5] =
        [Self::Pension, Self::Medical, Self::Unemployment, Self::WorkInjury, Self::Maternity];

    /// The word in requests and replies.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Pension => "pension",
            Self::Medical => "medical",
            Self::Unemployment => "unemployment",
            Self::WorkInjury => "work-injury",
            Self::Maternity => "maternity",
        }
    }
}

/// A person in a scheme.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Membership {
    /// The scheme.
    pub scheme: Scheme,
    /// Its state.
    pub state: MembershipState,
    /// First month.
    pub since: Month,
}

/// State of a membership.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum MembershipState {
    /// Insured now.
    Insured,
    /// Not now.
    Paused,
    /// Never again.
    Ended,
}

impl MembershipState {
    /// The word in replies.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Insured => "insured",
            Self::Paused => "paused",
            Self::Ended => "ended",
        }
    }
}

/// Present employment.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Employment {
    /// Index into [`employers`].
    pub employer: usize,
    /// First month.
    pub since: Month,
}

/// The old-age pension.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Pension {
    /// Its state.
    pub state: PensionState,
    /// First month it was paid.
    pub since: Option<Month>,
}

/// State of the pension.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum PensionState {
    /// There is none.
    None,
    /// It is paid.
    Receiving,
    /// It is held back.
    Suspended,
}

impl PensionState {
    /// The word in replies.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::None => "none",
            Self::Receiving => "receiving",
            Self::Suspended => "suspended",
        }
    }
}

/// One employer's contribution for one month.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Contribution {
    /// The month.
    pub month: Month,
    /// What became of it.
    pub state: ContributionState,
    /// Contribution base in fen.
    pub base_fen: u64,
    /// Index into [`employers`].
    pub employer: usize,
}

/// What became of a contribution.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ContributionState {
    /// Paid.
    Paid,
    /// Owed.
    Arrears,
    /// Paid and given back.
    Refunded,
}

impl ContributionState {
    /// The word in replies.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Paid => "paid",
            Self::Arrears => "arrears",
            Self::Refunded => "refunded",
        }
    }
}

/// An employer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Employer {
    /// Unified social credit code (GB 32100).
    pub uscc: String,
    /// Name.
    pub name: String,
    /// False once closed.
    pub is_active: bool,
    /// What it owes; none if nobody knows.
    pub arrears: Option<Arrears>,
}

/// What an employer owes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Arrears {
    /// Months it owes for.
    pub months: u32,
    /// Amount in fen.
    pub amount_fen: u64,
}

/// The employers, the same for every seed: the first owes nothing, the second owes for three
/// months, the third is closed, what the fourth owes is not known, and the rest owe nothing.
pub fn employers() -> Vec<Employer> {
    const CITIES: [(&str, &str); 6] = [
        ("北京", "110108"),
        ("上海", "310115"),
        ("南京", "320102"),
        ("苏州", "320505"),
        ("杭州", "330106"),
        ("深圳", "440305"),
    ];
    const TRADES: [&str; 4] = ["电子", "纺织", "食品", "物流"];
    let employer = |index: usize| {
        let (city, division) = CITIES[index % CITIES.len()];
        let owed = Arrears { months: 3, amount_fen: 1_284_500 };
        Employer {
            uscc: identifier::uscc(division, &format!("MAJG{index:04}")),
            name: format!("{city}样例{}第{}有限公司", TRADES[index % TRADES.len()], index + 1),
            is_active: index != CLOSED,
            arrears: match index {
                IN_ARREARS => Some(owed),
                UNKNOWN_ARREARS => None,
                _ => Some(Arrears { months: 0, amount_fen: 0 }),
            },
        }
    };
    (0..EMPLOYERS).map(employer).collect()
}

/// What social insurance knows of an ordinary person.
pub(crate) fn ordinary(random: &mut Random, birth: Date, sex: Sex, today: Date) -> Insurance {
    let now = Month::of(today);
    let age_months = now.since(Month::of(birth));
    let retired_for = match sex {
        Sex::Female => age_months - 55 * 12,
        Sex::Male => age_months - 60 * 12,
    };
    let starts_at = random.between(18 * 12, 25 * 12) as i32;
    if age_months <= starts_at {
        return never_worked(now.before(age_months));
    }
    let idle = if random.chance(12) { random.between(3, 30) as i32 } else { 0 };
    let newest_back = (retired_for.max(0) + idle + 1).min(age_months - starts_at);
    let oldest_back = (age_months - starts_at).min(newest_back + MONTHS_MAX - 1);
    let spells = spells(random, newest_back, oldest_back);
    let contributions = contributions(random, now, &spells);
    let is_retired = retired_for > 0;
    let employed = (!is_retired && idle == 0).then_some(&spells[0]);
    insurance(
        now.before(oldest_back),
        employed.map(|spell| Employment { employer: spell.employer, since: now.before(spell.to) }),
        is_retired.then(|| now.before(retired_for)),
        contributions,
    )
}

/// [`Special::ContributionGaps`](crate::Special::ContributionGaps).
pub(crate) fn with_gaps(now: Month) -> Insurance {
    let spell = |from, to, state| (from..=to).map(move |back| single(now.before(back), state));
    let contributions: Vec<_> = spell(1, 12, ContributionState::Paid)
        .chain(spell(18, 29, ContributionState::Paid))
        .chain(spell(30, 32, ContributionState::Arrears))
        .chain(spell(33, 40, ContributionState::Paid))
        .collect();
    let employment = Employment { employer: 0, since: now.before(12) };
    insurance(now.before(40), Some(employment), None, contributions)
}

/// [`Special::LongContributions`](crate::Special::LongContributions).
pub(crate) fn without_gaps(now: Month) -> Insurance {
    let contributions = (1..=150).flat_map(|back| {
        let first = single(now.before(back), ContributionState::Paid);
        let second = Contribution { employer: 4, ..first };
        std::iter::once(first).chain((back % 10 == 0).then_some(second))
    });
    let employment = Employment { employer: 0, since: now.before(150) };
    insurance(now.before(150), Some(employment), None, contributions.collect())
}

/// A stretch of work for one employer, in months before now: `from` is the newest.
struct Spell {
    from: i32,
    to: i32,
    employer: usize,
}

fn spells(random: &mut Random, newest_back: i32, oldest_back: i32) -> Vec<Spell> {
    let mut spells = Vec::new();
    let mut from = newest_back;
    while from <= oldest_back {
        let to = (from + random.between(6, 70) as i32).min(oldest_back);
        // The closed employer is nobody's latest.
        let employer = match random.below(EMPLOYERS as u64) as usize {
            CLOSED if spells.is_empty() => 0,
            employer => employer,
        };
        spells.push(Spell { from, to, employer });
        let pause = if random.chance(40) { random.between(1, 9) as i32 } else { 0 };
        from = to + 1 + pause;
    }
    spells
}

fn contributions(random: &mut Random, now: Month, spells: &[Spell]) -> Vec<Contribution> {
    let newest_base_fen = random.between(4_900, 31_000) * 100;
    let mut contributions = Vec::new();
    for spell in spells {
        for back in spell.from..=spell.to {
            let state = match random.below(200) {
                0 | 1 => ContributionState::Arrears,
                2 => ContributionState::Refunded,
                _ => ContributionState::Paid,
            };
            let base_fen = (newest_base_fen * i64::from(1_200 - back) / 1_200).unsigned_abs();
            let item =
                Contribution { month: now.before(back), state, base_fen, employer: spell.employer };
            contributions.push(item);
            if random.chance(3) {
                contributions
                    .push(Contribution { employer: (spell.employer + 4) % EMPLOYERS, ..item });
            }
        }
    }
    contributions
}

fn single(month: Month, state: ContributionState) -> Contribution {
    Contribution { month, state, base_fen: 1_080_000, employer: 0 }
}

fn never_worked(since: Month) -> Insurance {
    let medical = Membership { scheme: Scheme::Medical, state: MembershipState::Insured, since };
    Insurance {
        status: Status::Active,
        schemes: vec![medical],
        employment: None,
        pension: Pension { state: PensionState::None, since: None },
        contributions: Vec::new(),
    }
}

fn insurance(
    since: Month,
    employment: Option<Employment>,
    retired: Option<Month>,
    contributions: Vec<Contribution>,
) -> Insurance {
    let state = |scheme| match (scheme, retired.is_some(), employment.is_some()) {
        (Scheme::Medical, _, _) | (_, false, true) => MembershipState::Insured,
        (_, true, _) => MembershipState::Ended,
        (_, false, false) => MembershipState::Paused,
    };
    let pension = match retired {
        Some(_) => PensionState::Receiving,
        None => PensionState::None,
    };
    let memberships = Scheme::ALL.map(|scheme| Membership { scheme, state: state(scheme), since });
    Insurance {
        status: if retired.or(employment.map(|at| at.since)).is_some() {
            Status::Active
        } else {
            Status::Suspended
        },
        schemes: memberships.to_vec(),
        employment,
        pension: Pension { state: pension, since: retired },
        contributions,
    }
}

/// Enough that colleagues exist, few enough to read in a list.
const EMPLOYERS: usize = 24;
const IN_ARREARS: usize = 1;
const CLOSED: usize = 2;
const UNKNOWN_ARREARS: usize = 3;

/// The register became electronic fifteen years ago; older months are on paper.
const MONTHS_MAX: i32 = 180;
