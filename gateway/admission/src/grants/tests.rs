use std::collections::BTreeSet;
use std::path::Path;

use super::*;
use crate::sample::{CALLERS, caller, catalogue, check};

const SAMPLE: &str = include_str!("sample.toml");

fn grants(toml: &str) -> Grants {
    check(toml).unwrap_or_else(|mistakes| panic!("{mistakes:#?}")).grants
}

/// Every caller against every predicate and purpose. `JUMPGATE_BLESS=1` writes the file anew.
#[test]
fn the_whole_permission_matrix_is_the_golden_one() {
    let (catalogue, grants) = (catalogue(), grants(SAMPLE));
    let purposes: Vec<&Purpose> = catalogue.purposes().map(|(purpose, _)| purpose).collect();
    let mut matrix = row("", CALLERS);
    for predicate in catalogue.predicates() {
        matrix += &format!("\n{}\n", predicate.id);
        for &purpose in &purposes {
            let rules = CALLERS.map(|id| grants.rule(&caller(id), &predicate.id, purpose));
            if predicate.purposes.contains(purpose) {
                let cells = rules.map(|rule| rule.map_or("-", |rule| rule));
                matrix += &row(purpose.as_str(), cells);
            } else {
                assert_eq!(rules, [None; 4], "{} {purpose}", predicate.id);
            }
        }
    }
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("src/grants/matrix.txt");
    if std::env::var_os("JUMPGATE_BLESS").is_some() {
        std::fs::write(&path, &matrix).unwrap();
    }
    let golden = std::fs::read_to_string(&path).unwrap();
    assert_eq!(matrix, golden, "if the change is meant, run with JUMPGATE_BLESS=1 and review it");
}

fn row(purpose: &str, cells: [&str; 4]) -> String {
    let [a, b, c, d] = cells;
    let row = format!("  {purpose:<23} {a:<15} {b:<11} {c:<15} {d}");
    format!("{}\n", row.trim_end())
}

#[test]
fn the_text_names_exactly_the_combinations_that_are_granted() {
    let (catalogue, grants) = (catalogue(), grants(SAMPLE));
    let mut expected = BTreeSet::new();
    for id in CALLERS {
        for predicate in catalogue.predicates() {
            for (purpose, _) in catalogue.purposes() {
                if let Some(rule) = grants.rule(&caller(id), &predicate.id, purpose) {
                    expected.insert(format!("{id} {} {purpose} {rule}", predicate.id));
                }
            }
        }
    }
    let mut lines = grants.text().lines();
    assert_eq!(lines.next(), Some("jumpgate/grants/v1"));
    assert!(grants.text().ends_with('\n'));
    assert_eq!(lines.map(str::to_owned).collect::<Vec<_>>(), Vec::from_iter(expected));
    assert_eq!(grants.digest(), Digest::of(grants.text().as_bytes()));
}

#[test]
fn the_digest_is_of_what_is_granted_and_not_of_how_it_is_written() {
    let one = r#"
        [[grants]]
        id = "a"
        caller = "one-window"
        predicates = ["civil-registry/alive@1", "civil-registry/sex-is@1"]
        purposes = ["benefit-claim", "pension-claim"]
        [[grants]]
        id = "b"
        caller = "school"
        predicates = ["civil-registry/household-head@1"]
        purposes = ["school-enrolment"]"#;
    let rewritten = r#"
        [[grants]]
        id = "b"
        caller = "school"
        purposes = ["school-enrolment"]
        predicates = ["civil-registry/household-head@1", "civil-registry/household-head@1"]
        [[grants]]
        id = "a"
        caller = "one-window"
        predicates = ["civil-registry/sex-is@1", "civil-registry/alive@1"]
        purposes = ["pension-claim", "benefit-claim"]"#;
    assert_eq!(grants(one).digest(), grants(rewritten).digest());
    for (what, other) in [
        ("one purpose fewer", one.replace("\"pension-claim\"", "\"benefit-claim\"")),
        ("another caller", one.replace("\"school\"", "\"pension-office\"")),
        ("another deciding grant", one.replace("id = \"b\"", "id = \"c\"")),
        ("nothing", String::new()),
    ] {
        assert_ne!(grants(one).digest(), grants(&other).digest(), "{what}");
    }
}

#[test]
fn each_mistake_is_named_with_its_key_and_a_mend() {
    let base = |key: &str, value: &str| {
        let fields = [
            ("id", r#""counter""#),
            ("caller", r#""one-window""#),
            ("predicates", r#"["civil-registry/alive@1"]"#),
            ("purposes", r#"["benefit-claim"]"#),
        ];
        let fields = fields
            .map(|(name, usual)| format!("{name} = {}\n", if name == key { value } else { usual }));
        format!("[[grants]]\n{}", fields.concat())
    };
    let long = format!("\"{}\"", "x".repeat(65));
    let table = [
        ("id", r#""Counter 1""#, "grants[0].id", "is not a grant id", "a-z"),
        ("id", r#""""#, "grants[0].id", "is not a grant id", "1 to 64"),
        ("id", &long, "grants[0].id", "is not a grant id", "1 to 64"),
        ("caller", r#""one-windows""#, "grants[0].caller", "no caller is named", "one-window,"),
        ("predicates", "[]", "grants[0].predicates", "covers nothing", "one or more"),
        ("purposes", "[]", "grants[0].purposes", "covers nothing", "one or more"),
        (
            "predicates",
            r#"["civil-registry/alive@2"]"#,
            "grants[0].predicates[0]",
            "no predicate is named \"civil-registry/alive@2\"",
            "civil-registry/alive@1,",
        ),
        (
            "predicates",
            r#"["civil-registry/alive@1", "land/*"]"#,
            "grants[0].predicates[1]",
            "no predicate is named \"land/*\"",
            "write one of civil-registry/*, social-insurance/*",
        ),
        (
            "predicates",
            r#"["*"]"#,
            "grants[0].predicates[0]",
            "no predicate is named \"*\"",
            "write one of civil-registry/*, social-insurance/*",
        ),
        (
            "purposes",
            r#"["benefit-claim", "curiosity"]"#,
            "grants[0].purposes[1]",
            "no purpose is named \"curiosity\"",
            "benefit-claim, business-licence",
        ),
        (
            "purposes",
            r#"["benefit-claim", "*"]"#,
            "grants[0].purposes[1]",
            "no purpose is named \"*\"",
            "benefit-claim",
        ),
        (
            "purposes",
            r#"["hiring"]"#,
            "grants[0].predicates[0]",
            "civil-registry/alive@1 does not allow the purpose hiring",
            "benefit-claim, court-order",
        ),
    ];
    for (field, value, key, fault, mend) in table {
        let mistakes = check(&base(field, value)).expect_err(value);
        let [mistake] = mistakes.as_slice() else { panic!("{value}: {mistakes:#?}") };
        assert_eq!(mistake.key, key, "{value}");
        assert!(mistake.fault.contains(fault), "{value}: {mistake}");
        assert!(mistake.mend.contains(mend), "{value}: {mistake}");
    }
}

#[test]
fn a_purpose_that_no_predicate_of_a_whole_department_allows_is_a_mistake() {
    let mistakes = check(
        r#"[[grants]]
        caller = "school"
        predicates = ["civil-registry/*", "social-insurance/*"]
        purposes = ["school-enrolment", "marriage-registration"]"#,
    )
    .unwrap_err();
    let [mistake] = mistakes.as_slice() else { panic!("{mistakes:#?}") };
    assert_eq!(mistake.key, "grants[0].predicates[1]");
    assert_eq!(
        mistake.fault,
        "social-insurance/* does not allow the purpose marriage-registration"
    );
}

#[test]
fn an_id_is_taken_once_and_a_grant_never_in_vain() {
    let mistakes = check(
        r#"[[grants]]
        id = "grant-2"
        caller = "school"
        predicates = ["civil-registry/*"]
        purposes = ["*"]
        [[grants]]
        caller = "school"
        predicates = ["social-insurance/insured@1"]
        purposes = ["*"]
        [[grants]]
        id = "late"
        caller = "school"
        predicates = ["civil-registry/alive@1"]
        purposes = ["benefit-claim"]"#,
    )
    .unwrap_err();
    let found: Vec<_> =
        mistakes.iter().map(|mistake| (mistake.key.as_str(), mistake.fault.as_str())).collect();
    assert_eq!(
        found,
        [
            ("grants[1].id", "\"grant-2\" is the id of an earlier grant"),
            ("grants[2]", "covers nothing that earlier grants do not cover"),
        ]
    );
}
