//! What the catalogue makes of a question, on the entries that are shipped.

use jiff::civil::{Date, date};
use proptest::prelude::*;

use super::*;
use crate::catalogue::tests::shipped;

const TODAY: Date = date(2026, 11, 19);
const ID: QueryId = QueryId([7; 16]);

fn integer(name: &str, value: i64) -> (String, ParameterValue) {
    (name.to_owned(), ParameterValue::Integer(value))
}

fn text(name: &str, value: &str) -> (String, ParameterValue) {
    (name.to_owned(), ParameterValue::Text(value.to_owned()))
}

/// Is the holder of this passport at least 18, asked for a hiring?
fn question() -> Question {
    Question {
        predicate: "civil-registry/age-at-least@1".to_owned(),
        parameters: vec![integer("years", 18)],
        subject_kind: "passport".to_owned(),
        subject: "E12345678".to_owned(),
        purpose: "hiring".to_owned(),
        case: Some("2026-0001".to_owned()),
        operator: Some("窗口 07".to_owned()),
    }
}

/// The question of a predicate with these parameters, for a purpose that every predicate allows.
fn question_of(predicate: &str, parameters: Vec<(String, ParameterValue)>) -> Question {
    Question {
        predicate: predicate.to_owned(),
        parameters,
        purpose: "court-order".to_owned(),
        ..question()
    }
}

fn resolve(question: Question) -> Result<Query, Refusal> {
    shipped().resolve(question, ID, TODAY)
}

fn refused(question: Question, code: RefusalCode, field: &str, mend: &str) {
    let refusal = resolve(question).unwrap_err();
    let found = (refusal.code, refusal.field.as_deref(), refusal.mend.as_str());
    assert_eq!(found, (code, Some(field), mend));
}

#[test]
fn a_good_question_becomes_a_query() {
    let query = resolve(question()).unwrap();
    assert_eq!(query.id(), ID);
    assert_eq!(query.predicate().id.as_str(), "civil-registry/age-at-least@1");
    let [(name, ParameterValue::Integer(18))] = query.parameters() else {
        panic!("one parameter of value 18");
    };
    assert_eq!(&**name, "years");
    assert_eq!(query.subject().kind().id.as_str(), "passport");
    assert_eq!(query.subject().expose(), "E12345678");
    assert_eq!(query.purpose().as_str(), "hiring");
    assert_eq!((query.case(), query.operator()), (Some("2026-0001"), Some("窗口 07")));
    assert_eq!((query.as_of(), query.next_as_of()), (date(2026, 11, 1), Some(date(2026, 12, 1))));
}

#[test]
fn a_current_question_is_about_today() {
    let query = resolve(question_of("civil-registry/alive@1", Vec::new())).unwrap();
    assert_eq!((query.as_of(), query.next_as_of()), (TODAY, None));
}

#[test]
fn a_query_prints_neither_subject_nor_case_nor_operator_nor_claim() {
    let claim = vec![text("name", "欧阳娜娜")];
    let query = resolve(question_of("civil-registry/name-matches@1", claim)).unwrap();
    let printed = format!("{query:?} {query:#?}");
    assert!(printed.contains("civil-registry/name-matches@1"), "{printed}");
    for secret in ["E12345678", "2026-0001", "窗口", "欧阳"] {
        assert!(!printed.contains(secret), "{printed}");
    }
}

#[test]
fn unknown_predicates() {
    let civil = "one of civil-registry/age-at-least@1, civil-registry/alive@1, \
                 civil-registry/household-head@1, civil-registry/marital-status-is@1, \
                 civil-registry/name-matches@1, civil-registry/parent-of-minor@1, \
                 civil-registry/resident-for-months@1, civil-registry/resident-in@1, \
                 civil-registry/sex-is@1";
    let departments = "a predicate of one of the departments civil-registry, social-insurance";
    let form = "a predicate id must be department/name@version, \
                such as civil-registry/age-at-least@1";
    let table = [
        ("civil-registry/age@1", civil),
        ("civil-registry/age-at-least@2", civil),
        ("land-records/owns-parcel@1", departments),
        ("", form),
        ("age-at-least", form),
        ("civil-registry/age-at-least@01", form),
    ];
    for (predicate, mend) in table {
        let question = question_of(predicate, Vec::new());
        refused(question, RefusalCode::UnknownPredicate, "/predicate", mend);
    }
}

#[test]
fn wrong_parameters() {
    let age = "civil-registry/age-at-least@1";
    let years = "an integer, one of 14, 16, 18, 22, 60, 65";
    let name = "a text of 1 to 64 printable characters";
    let matches = "civil-registry/name-matches@1";
    let employer = "social-insurance/employer-is@1";
    let long = "王".repeat(65);
    let table = [
        (age, vec![], "/years", format!("required: {years}")),
        (age, vec![integer("years", 17)], "/years", years.to_owned()),
        (age, vec![text("years", "18")], "/years", years.to_owned()),
        (age, vec![integer("years", 18), integer("years", 18)], "/years", "given once".into()),
        (age, vec![integer("age", 18)], "", "this predicate takes only years".into()),
        (
            "civil-registry/alive@1",
            vec![integer("a/b", 1)],
            "",
            "this predicate takes no parameters".into(),
        ),
        (
            "civil-registry/sex-is@1",
            vec![text("sex", "Male")],
            "/sex",
            "a text, one of female, male".into(),
        ),
        (matches, vec![text("name", "")], "/name", name.to_owned()),
        (matches, vec![text("name", "\u{3000} ")], "/name", name.to_owned()),
        (matches, vec![text("name", "王\n芳")], "/name", name.to_owned()),
        (matches, vec![text("name", "王\u{202e}芳")], "/name", name.to_owned()),
        (matches, vec![text("name", &long)], "/name", name.to_owned()),
        (matches, vec![integer("name", 1)], "/name", name.to_owned()),
        (
            employer,
            vec![text("employer", "91350100M000100Y44")],
            "/employer",
            "a text that fits the rule gb-32100: must end in the check character of the ones \
             before it"
                .to_owned(),
        ),
        (
            employer,
            vec![integer("employer", 9)],
            "/employer",
            "a text that fits the rule gb-32100".to_owned(),
        ),
    ];
    for (predicate, parameters, field, mend) in table {
        let field = format!("/parameters{field}");
        let question = question_of(predicate, parameters);
        refused(question, RefusalCode::InvalidParameter, &field, &mend);
    }
}

#[test]
fn right_parameters() {
    let months = "social-insurance/contribution-months-at-least@1";
    let table = [
        ("civil-registry/resident-in@1", vec![text("division", "310115")]),
        ("civil-registry/name-matches@1", vec![text("name", &"王".repeat(64))]),
        ("civil-registry/name-matches@1", vec![text("name", "阿依古丽·买买提")]),
        ("social-insurance/employer-is@1", vec![text("employer", "91350100M000100Y43")]),
        (months, vec![integer("months", 120), text("scheme", "work-injury")]),
    ];
    for (predicate, parameters) in table {
        let query = resolve(question_of(predicate, parameters)).unwrap();
        let given = query.parameters().iter().map(|(name, _)| name);
        let declared = query.predicate().parameters.iter().map(|spec| &spec.name);
        assert!(given.eq(declared), "{predicate}: in the entry's order");
    }
}

#[test]
fn wrong_subjects() {
    let kinds = "one of passport, handle, resident-identity, isikukood";
    for kind in ["", "Passport", "unified-social-credit", "driving-licence"] {
        let question = Question { subject_kind: kind.to_owned(), ..question() };
        refused(question, RefusalCode::SubjectKindNotAllowed, "/subject/kind", kinds);
    }
    let table = [
        ("passport", "e12345678", "must be 6 to 9 of A-Z and 0-9, with at least one digit"),
        (
            "resident-identity",
            "110105194912310021",
            "must end in the check character of the ones before it",
        ),
    ];
    for (kind, value, mend) in table {
        let question =
            Question { subject_kind: kind.to_owned(), subject: value.to_owned(), ..question() };
        refused(question, RefusalCode::InvalidSubject, "/subject/value", mend);
    }
}

#[test]
fn wrong_purposes() {
    let mend = "one of benefit-claim, business-licence, court-order, hiring, \
                marriage-registration, pension-claim, school-enrolment";
    for purpose in ["", "curiosity", "housing-subsidy", "Hiring"] {
        let question = Question { purpose: purpose.to_owned(), ..question() };
        refused(question, RefusalCode::PurposeNotAllowed, "/purpose", mend);
    }
}

#[test]
fn cases_and_operators() {
    let mend = "1 to 64 bytes of printable UTF-8 without control characters, or left out";
    let longest = "x".repeat(64);
    let too_long = format!("{longest}x");
    for good in [None, Some("1"), Some("海淀〔2026〕第 12 号"), Some(longest.as_str())] {
        let note = good.map(str::to_owned);
        let question = Question { case: note.clone(), operator: note, ..question() };
        assert!(resolve(question).is_ok(), "{good:?}");
    }
    for bad in ["", "  ", "a\tb", "a\u{0}", "a\u{85}", "a\u{2028}b", "\u{feff}a", &too_long] {
        let question = |case: Option<&str>, operator: Option<&str>| Question {
            case: case.map(str::to_owned),
            operator: operator.map(str::to_owned),
            ..question()
        };
        refused(question(Some(bad), None), RefusalCode::InvalidCase, "/case", mend);
        refused(question(None, Some(bad)), RefusalCode::InvalidCase, "/operator", mend);
    }
}

#[test]
fn the_first_mistake_in_the_order_of_the_codes_is_the_refusal() {
    let mends: [fn(&mut Question); 6] = [
        |question| question.predicate = "civil-registry/alive@1".to_owned(),
        |question| question.parameters.clear(),
        |question| question.subject_kind = "passport".to_owned(),
        |question| question.subject = "E12345678".to_owned(),
        |question| question.purpose = "court-order".to_owned(),
        |question| question.case = None,
    ];
    let mut met = Vec::new();
    for mended in 0..=mends.len() {
        let mut question = Question {
            predicate: "?".to_owned(),
            parameters: vec![integer("?", 0)],
            subject_kind: "?".to_owned(),
            subject: "?".to_owned(),
            purpose: "?".to_owned(),
            case: Some(String::new()),
            operator: None,
        };
        mends[..mended].iter().for_each(|mend| mend(&mut question));
        met.extend(resolve(question).err().map(|refusal| refusal.code));
    }
    let first = RefusalCode::UnknownPredicate as usize;
    assert_eq!(met, RefusalCode::ALL[first..first + mends.len()]);
}

proptest! {
    #[test]
    fn a_refusal_repeats_nothing_that_was_sent(
        secret in "[Q-Z]{4}[0-9]{12}", place in 0usize..8,
    ) {
        let mut question = question_of("civil-registry/name-matches@1", vec![text("name", "王芳")]);
        let long = secret.repeat(5);
        match place {
            0 => question.predicate = secret.clone(),
            1 => question.parameters = vec![text(&secret, "王芳")],
            2 => question.parameters = vec![text("name", &long)],
            3 => question.subject_kind = secret.clone(),
            4 => question.subject = secret.clone(),
            5 => question.purpose = secret.clone(),
            6 => question.case = Some(long),
            _ => question.operator = Some(long),
        }
        let printed = format!("{:?}", resolve(question).unwrap_err());
        prop_assert!(!printed.contains(&secret), "{}", printed);
    }
}
