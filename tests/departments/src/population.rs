//! Makes a population from a seed: the same seed, count and day make the same people, and a larger
//! population begins with the smaller one. Never reads a clock.

use std::collections::HashSet;

use jiff::ToSpan as _;
use jiff::civil::Date;

use crate::person::{
    Household, Identifiers, Marital, Member, Person, RecordedBirth, Residence, Role, Sex,
};
use crate::random::Random;
use crate::special::Special;
use crate::{identifier, insurance, names, places};

/// The largest population: its replies take about 30 MB of memory, and the passports of more people
/// would not fit eight digits.
pub const PEOPLE_MAX: usize = 10_000;

/// The first `count` people of a seed as of a day, at most [`PEOPLE_MAX`]: the special people
/// first, then ordinary ones, who are all alive, on record and known by every field.
pub fn population(seed: u64, count: usize, today: Date) -> Vec<Person> {
    let front = Special::ALL
        .into_iter()
        .flat_map(|special| std::iter::repeat_n(Some(special), special.records()));
    let wanted = front.chain(std::iter::repeat(None)).take(count.min(PEOPLE_MAX));
    let mut people: Vec<Person> = Vec::with_capacity(count.min(PEOPLE_MAX));
    let mut taken = HashSet::new();
    for (ordinal, special) in wanted.enumerate() {
        let mut person = compose(seed, ordinal, special, today, &mut taken);
        if let Some(twin) =
            people.last().filter(|last| special.is_some() && last.special == special)
        {
            person.identifiers.handle.clone_from(&twin.identifiers.handle);
        }
        people.push(person);
    }
    people
}

fn compose(
    seed: u64,
    ordinal: usize,
    special: Option<Special>,
    today: Date,
    taken: &mut HashSet<String>,
) -> Person {
    let mut random = Random::stream(seed, PEOPLE_LANE, ordinal as u64);
    let sex = if random.chance(51) { Sex::Male } else { Sex::Female };
    let drawn_birth = ordinary_birth(&mut random, today);
    let birth = special.map_or(drawn_birth, |special| special.birth_date(today));
    let age_years = years_between(birth, today);
    let drawn_marital = ordinary_marital(&mut random, age_years);
    let marital = special.and_then(Special::marital).unwrap_or(drawn_marital);
    let mut name = names::name(&mut random, sex, None);
    if random.chance(4) {
        name.former = Some(names::name(&mut random, sex, None).full);
    }
    let place = places::place(&mut random);
    let registered_days = random.between(200, 9_000);
    let mut person = Person {
        ordinal,
        special,
        identifiers: identifiers(&mut random, ordinal, special, (sex, birth), taken),
        household: household(&mut random, ordinal, &name.family, (age_years, sex, marital), today),
        name,
        sex,
        birth_date: birth,
        recorded_birth: RecordedBirth::Entered,
        death_date: None,
        is_suspended: false,
        marital,
        residence: Residence {
            place,
            address: places::address(&mut random, place),
            since: days_before(today, registered_days).max(birth),
        },
        insurance: Some(insurance::ordinary(&mut random, birth, sex, today)),
        noise: random.next(),
    };
    if let Some(special) = special {
        special.mark(&mut person, today);
    }
    person
}

fn ordinary_birth(random: &mut Random, today: Date) -> Date {
    let years = match random.below(100) {
        0..14 => random.between(0, 17),
        14..80 => random.between(18, 62),
        80.. => random.between(63, 92),
    };
    days_before(today, years * 365 + years / 4 + random.between(1, 360))
}

fn ordinary_marital(random: &mut Random, age_years: i16) -> Marital {
    let drawn = random.below(100);
    match age_years {
        ..22 => Marital::Single,
        22..30 if drawn < 60 => Marital::Single,
        30.. if drawn < 10 => Marital::Single,
        70.. if drawn < 40 => Marital::Widowed,
        30.. if drawn < 18 => Marital::Divorced,
        _ => match drawn % 10 {
            0 => Marital::Remarried,
            1 => Marital::Reunited,
            2..5 => Marital::Married,
            _ => Marital::FirstMarriage,
        },
    }
}

fn identifiers(
    random: &mut Random,
    ordinal: usize,
    special: Option<Special>,
    (sex, birth): (Sex, Date),
    taken: &mut HashSet<String>,
) -> Identifiers {
    // A stride larger than the widest draw keeps passports apart without looking back.
    let drawn = 10_000_000 + ordinal as u64 * PASSPORT_STRIDE + random.below(PASSPORT_STRIDE);
    let passport =
        special.map_or_else(|| format!("E{drawn:08}"), |special| special.passport().into());
    let parity = u16::from(sex == Sex::Male);
    let division = places::place(random).division;
    let mut sequence = random.below(500) as u16 * 2 + parity;
    let mut resident_identity = identifier::resident_identity(division, birth, sequence);
    while !taken.insert(resident_identity.clone()) {
        sequence = (sequence + 2) % 1000;
        resident_identity = identifier::resident_identity(division, birth, sequence);
    }
    let isikukood = identifier::isikukood(sex, birth, (ordinal % 1000) as u16);
    Identifiers {
        passport,
        handle: identifier::handle(u128::from(random.next()) << 64 | u128::from(random.next())),
        resident_identity,
        isikukood: (random.chance(2) && taken.insert(isikukood.clone())).then_some(isikukood),
    }
}

/// A household of one to three other people that fits the person's age and marital status.
fn household(
    random: &mut Random,
    ordinal: usize,
    family: &str,
    (age, sex, marital): (i16, Sex, Marital),
    today: Date,
) -> Household {
    let mut member = |role, sex, years: i16, family: Option<&str>| {
        let mut name = names::name(random, sex, None);
        if let Some(family) = family {
            name.full = format!("{family}{}", name.given);
        }
        let days = i64::from(years.max(0)) * 365 + random.between(90, 330);
        Member { role, birth_date: days_before(today, days), full_name: name.full }
    };
    let spread = (ordinal % 5) as i16;
    let is_head = sex == Sex::Male || ordinal.is_multiple_of(3);
    let (role, members) = if marital.is_married() {
        let own = if is_head { Role::Head } else { Role::Spouse };
        let other = if is_head { Role::Spouse } else { Role::Head };
        let mut members = vec![member(other, sex.other(), age + spread - 2, None)];
        let family = (sex == Sex::Male).then_some(family);
        if (24..50).contains(&age) {
            members.push(member(Role::Child, sex, (age - 24 - spread).max(0), family));
        }
        (own, members)
    } else if age < 36 {
        let father = member(Role::Head, Sex::Male, age + 24 + spread, Some(family));
        (Role::Child, vec![father, member(Role::Spouse, Sex::Female, age + 23, None)])
    } else if age < 60 {
        (Role::Head, vec![member(Role::Parent, Sex::Female, age + 24, None)])
    } else {
        (Role::Head, vec![member(Role::Child, sex, age - 27 - spread, None)])
    };
    Household { number: format!("HH{:08}", 60_000_000 + ordinal), role, members }
}

fn years_between(birth: Date, today: Date) -> i16 {
    let had_birthday = (today.month(), today.day()) >= (birth.month(), birth.day());
    today.year() - birth.year() - i16::from(!had_birthday)
}

fn days_before(date: Date, days: i64) -> Date {
    date.saturating_sub(days.days())
}

const PEOPLE_LANE: u64 = 1;
const PASSPORT_STRIDE: u64 = 8_999;

#[cfg(test)]
mod tests;
