use jiff::civil::date;

use super::*;
use crate::insurance::{ContributionState, Month, PensionState, Status};

const TODAY: Date = date(2026, 5, 12);

fn special(special: Special, today: Date) -> Person {
    let people = population(7, 16, today);
    people.into_iter().find(|person| person.special == Some(special)).expect("they are in front")
}

#[test]
fn a_larger_population_begins_with_the_smaller_one() {
    let (small, large) = (population(7, 50, TODAY), population(7, 400, TODAY));
    assert_eq!(small.len(), 50);
    for (one, other) in small.iter().zip(&large) {
        assert_eq!(format!("{one:?}"), format!("{other:?}"));
    }
    let other_seed = population(8, 50, TODAY);
    assert!(small.iter().zip(&other_seed).skip(16).all(|(one, other)| {
        one.identifiers != other.identifiers && one.identifiers.handle != other.identifiers.handle
    }));
}

#[test]
fn identifiers_are_one_persons_and_agree_with_the_record() {
    let people = population(7, 2_000, TODAY);
    let mut seen = HashSet::new();
    for person in &people {
        let Identifiers { passport, handle, resident_identity, isikukood } = &person.identifiers;
        let shared = seen.contains(passport);
        assert_eq!(shared, !seen.insert(passport.clone()));
        assert_eq!(shared, !seen.insert(handle.clone()));
        assert!(!shared || person.special == Some(Special::SeveralRecords));
        assert!(seen.insert(resident_identity.clone()));
        assert_eq!(resident_identity[6..14], person.birth_date.strftime("%Y%m%d").to_string());
        let is_odd = resident_identity.as_bytes()[16] % 2 == 1;
        assert_eq!(is_odd, person.sex == Sex::Male);
        let sequence: u16 = resident_identity[14..17].parse().expect("three digits");
        let again =
            identifier::resident_identity(&resident_identity[..6], person.birth_date, sequence);
        assert_eq!(again, *resident_identity);
        if let Some(code) = isikukood {
            assert!(seen.insert(code.clone()));
            assert_eq!(code[1..7], person.birth_date.strftime("%y%m%d").to_string());
        }
        assert!(passport.len() == 9 && passport.starts_with('E'));
    }
    let with_code = people.iter().filter(|person| person.identifiers.isikukood.is_some()).count();
    assert!((20..=70).contains(&with_code), "{with_code} of 2,000 have a personal code");
}

#[test]
fn the_largest_population_has_distinct_passports_of_eight_digits() {
    let people = population(3, PEOPLE_MAX + 5, TODAY);
    assert_eq!(people.len(), PEOPLE_MAX);
    let passports: HashSet<_> = people.iter().map(|person| &person.identifiers.passport).collect();
    assert_eq!(passports.len(), PEOPLE_MAX - 1);
    assert!(passports.iter().all(|passport| passport.len() == 9));
}

/// Days that calendars trip over.
#[test]
fn those_who_turn_18_do_so_when_they_should() {
    for today in [
        date(2026, 5, 12),
        date(2026, 5, 1),
        date(2026, 12, 31),
        date(2028, 2, 29),
        date(2027, 2, 28),
        date(2028, 3, 1),
    ] {
        let just = special(Special::JustTurned18, today).birth_date;
        assert_eq!(years_between(just, today), 18, "{today}");
        let month = (today.year() - 18, today.month());
        assert_eq!((just.year(), just.month()), month, "{today}");
        let almost = special(Special::Turns18Tomorrow, today).birth_date;
        assert_eq!(years_between(almost, today), 17, "{today}");
        let tomorrow = today.saturating_add(1.day());
        assert_eq!(years_between(almost, tomorrow), 18, "{today}");
        let leap = special(Special::BornOnLeapDay, today).birth_date;
        assert_eq!((leap.month(), leap.day()), (2, 29));
        assert!((18..22).contains(&years_between(leap, today)), "{today}: {leap}");
    }
    let today = date(2028, 2, 28);
    let almost = special(Special::Turns18Tomorrow, today).birth_date;
    assert_eq!(almost, date(2010, 3, 1), "nobody turns 18 on 29 February");
}

#[test]
fn special_people_are_what_they_are_known_for() {
    let is = |kind| special(kind, TODAY);
    assert_eq!(is(Special::BirthDateMissing).recorded_birth, RecordedBirth::Empty);
    assert_eq!(is(Special::BirthDateNil).recorded_birth, RecordedBirth::Nil);
    assert_eq!(is(Special::BirthDateUnusable).recorded_birth, RecordedBirth::Unusable);
    let deceased = is(Special::Deceased);
    assert_eq!(deceased.death_date, Some(date(2024, 5, 12)));
    assert_eq!(deceased.insurance.expect("known").status, Status::Closed);
    assert!(is(Special::RecordSuspended).is_suspended);
    assert_eq!(is(Special::MovedRecently).residence.since, date(2026, 4, 22));
    let widowed = is(Special::WidowedHead);
    assert_eq!((widowed.marital, widowed.household.role), (Marital::Widowed, Role::Head));
    let ages = widowed.household.members.iter().map(|child| years_between(child.birth_date, TODAY));
    assert_eq!(ages.collect::<Vec<_>>(), [13, 7]);
    assert!(is(Special::UnknownToSocialInsurance).insurance.is_none());
    let pensioner = is(Special::Pensioner).insurance.expect("known");
    assert_eq!(pensioner.pension.state, PensionState::Receiving);
    assert_eq!(years_between(is(Special::Pensioner).birth_date, TODAY), 66);
    let twins = population(7, 16, TODAY);
    let twins: Vec<_> =
        twins.iter().filter(|one| one.special == Some(Special::SeveralRecords)).collect();
    assert_eq!(twins.len(), 2);
    assert_eq!(twins[0].identifiers.handle, twins[1].identifiers.handle);
    assert_ne!(twins[0].name, twins[1].name);
}

#[test]
fn contribution_histories_are_as_promised() {
    let gaps = special(Special::ContributionGaps, TODAY).insurance.expect("known");
    assert_eq!((gaps.months_paid(), gaps.contributions.len()), (32, 35));
    let arrears = gaps.contributions.iter().filter(|item| item.state == ContributionState::Arrears);
    assert_eq!(arrears.count(), 3);
    let long = special(Special::LongContributions, TODAY).insurance.expect("known");
    assert_eq!((long.months_paid(), long.contributions.len()), (150, 165));
    let closed = crate::employers().iter().position(|employer| !employer.is_active);
    for person in population(7, 400, TODAY) {
        let Some(insurance) = person.insurance else { continue };
        let months: Vec<Month> = insurance.contributions.iter().map(|item| item.month).collect();
        assert!(months.is_sorted_by(|newer, older| newer >= older));
        assert!(months.first().is_none_or(|newest| *newest < Month::of(TODAY)));
        assert!(insurance.employment.is_none_or(|at| Some(at.employer) != closed));
        assert!(months.iter().all(|month| *month > Month::of(person.birth_date).before(-17 * 12)));
    }
}
