use std::path::Path;

use jumpgate_catalogue::Digest;

use crate::policy::Policy;
use crate::sample::{check, now};

const SAMPLE: &str = include_str!("sample.toml");

fn policy(toml: &str) -> Policy {
    check(toml).unwrap_or_else(|mistakes| panic!("{mistakes:#?}")).policy
}

/// Holds a text against the file of that name. `JUMPGATE_BLESS=1` writes the file anew.
fn is_golden(name: &str, text: &str) {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("src/grants").join(name);
    if std::env::var_os("JUMPGATE_BLESS").is_some() {
        std::fs::write(&path, text).unwrap();
    }
    let golden = std::fs::read_to_string(&path).unwrap();
    assert_eq!(text, golden, "if the change is meant, run with JUMPGATE_BLESS=1 and review it");
}

/// Every caller against every predicate and purpose.
#[test]
fn the_whole_permission_matrix_is_the_golden_one() {
    is_golden("matrix.txt", &policy(SAMPLE).matrix(&now()));
}

#[test]
fn the_rules_that_grants_become_are_the_golden_ones() {
    is_golden("sample.cedar", policy(SAMPLE).grants());
}

#[test]
fn the_digest_changes_with_what_is_granted() {
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
    // Within a grant, order and repetition say nothing.
    let rewritten = one.replace(
        r#"["civil-registry/alive@1", "civil-registry/sex-is@1"]"#,
        r#"["civil-registry/sex-is@1", "civil-registry/alive@1", "civil-registry/alive@1"]"#,
    );
    assert_eq!(policy(one).digest(), policy(&rewritten).digest());
    let mut digests: Vec<Digest> = [
        one.to_owned(),
        one.replace("\"pension-claim\"", "\"benefit-claim\""),
        one.replace("\"school\"", "\"pension-office\""),
        one.replace("id = \"b\"", "id = \"c\""),
        String::new(),
    ]
    .iter()
    .map(|toml| policy(toml).digest())
    .collect();
    digests.sort_unstable_by_key(|digest| digest.0);
    digests.dedup();
    assert_eq!(digests.len(), 5);
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
