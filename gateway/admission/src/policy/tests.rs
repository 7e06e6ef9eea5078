use std::cell::Cell as Counter;

use jiff::ToSpan;
use proptest::prelude::*;

use super::*;
use crate::sample::{caller, catalogue, now, settings};
use crate::settings::{AdmissionMistake, CallerFacts, PolicyFile, SignedPolicyFile};

const CALLERS: [(&str, Channel); 3] = [
    ("one-window", Channel::Counter),
    ("pension-office", Channel::System),
    ("school", Channel::Online),
];

fn callers() -> [(CallerId, CallerFacts); 3] {
    let roles = |id| (id == "pension-office").then(|| ["clerk".into(), "chief".into()].into());
    CALLERS.map(|(id, channel)| (caller(id), CallerFacts { channel, operator_roles: roles(id) }))
}

fn file(name: &str, text: &str) -> PolicyFile {
    PolicyFile { name: name.to_owned(), text: text.to_owned() }
}

/// Rules of the gateway's own file, and of the civil registry's signed one.
pub(crate) fn compile(rules: &str, registry: &str) -> Result<Policy, Vec<AdmissionMistake>> {
    let mut settings = settings("");
    settings.policy.files = vec![file("district.cedar", rules)];
    if !registry.is_empty() {
        settings.policy.departments.insert("civil-registry".to_owned(), signed(registry));
    }
    settings.check(&catalogue(), &callers()).map(|plan| plan.policy)
}

fn signed(rules: &str) -> SignedPolicyFile {
    let department = "civil-registry".parse().unwrap();
    let (secret, key) = department_key(&department, &[3; 32]).unwrap();
    let digest = Digest::of(rules.as_bytes());
    let signature = SignedRules { department, serial: 4, digest }.sign(&secret).unwrap();
    SignedPolicyFile { file: file("civil-registry.cedar", rules), signature, key }
}

fn policy(rules: &str) -> Policy {
    compile(rules, "").unwrap_or_else(|mistakes| panic!("{mistakes:#?}"))
}

/// Caller, predicate, purpose, subject kind, case.
type Words<'a> = (&'a str, &'a str, &'a str, &'a str, bool);

const ALIVE: Words<'_> =
    ("one-window", "civil-registry/alive@1", "benefit-claim", "passport", false);

fn decide_at(policy: &Policy, words: Words<'_>, at: &Zoned) -> Decision {
    let question = (
        caller(words.0),
        words.1.parse().unwrap(),
        words.2.parse().unwrap(),
        words.3.parse().unwrap(),
    );
    let question = PolicyQuestion {
        caller: &question.0,
        predicate: &question.1,
        purpose: &question.2,
        subject_kind: &question.3,
        has_case: words.4,
        desk: Desk::Claimed,
    };
    policy.decide(&question, || at.clone())
}

fn decide(policy: &Policy, words: Words<'_>) -> Decision {
    decide_at(policy, words, &now())
}

fn permitted(rule: &str) -> Decision {
    Decision::Permitted(rule.into())
}

fn forbidden(rule: &str) -> Decision {
    Decision::Forbidden(rule.into())
}

#[test]
fn what_no_rule_permits_is_denied_and_what_one_forbids_too() {
    let policy = policy(
        r#"@id("window") permit(principal == Caller::"one-window", action, resource);
        @id("no-sex") forbid(principal, action == Action::"civil-registry/sex-is@1", resource);"#,
    );
    assert_eq!(decide(&policy, ALIVE), permitted("window"));
    assert_eq!(decide(&policy, ("school", ALIVE.1, ALIVE.2, ALIVE.3, false)), Decision::NotGranted);
    let sex = ("one-window", "civil-registry/sex-is@1", "benefit-claim", "passport", false);
    assert_eq!(decide(&policy, sex), forbidden("no-sex"));
    // What the catalogue does not allow is not permitted by a rule for everything.
    assert_eq!(decide(&policy, (ALIVE.0, ALIVE.1, "hiring", ALIVE.3, false)), Decision::NotGranted);
    let unknown = ("one-window", "land/owner@1", "hiring", "passport", false);
    assert_eq!(decide(&policy, unknown), Decision::NotGranted);
}

#[test]
fn a_rule_sees_every_circumstance() {
    let policy = policy(
        r#"@id("case") permit(principal == Caller::"one-window", action, resource)
            when { context.has_case && context.purpose == Purpose::"benefit-claim" };
        @id("system") permit(principal, action, resource)
            when { context.channel == Channel::"system" };
        @id("no-numbers") forbid(principal, action, resource)
            when { context.subject_kind == SubjectKind::"resident-identity" };"#,
    );
    let (who, what, why, kind, _) = ALIVE;
    assert_eq!(decide(&policy, ALIVE), Decision::NotGranted);
    assert_eq!(decide(&policy, (who, what, why, kind, true)), permitted("case"));
    assert_eq!(decide(&policy, (who, what, "court-order", kind, true)), Decision::NotGranted);
    let number = "resident-identity";
    assert_eq!(decide(&policy, (who, what, why, number, true)), forbidden("no-numbers"));
    assert_eq!(decide(&policy, ("pension-office", what, why, kind, false)), permitted("system"));
    assert_eq!(decide(&policy, ("school", what, why, kind, true)), Decision::NotGranted);
}

#[test]
fn a_rule_over_time_is_asked_each_time_and_no_other_is() {
    let rules = r#"@id("hours") permit(principal == Caller::"one-window", action, resource)
            when { context.time.weekday <= 5 && context.time.hour >= 8 && context.time.hour < 18 };
        @id("until") permit(principal == Caller::"school", action, resource)
            when { context.time.at < datetime("2026-12-01T00:00:00.000+0800") };
        @id("always") permit(principal == Caller::"pension-office", action, resource);"#;
    let policy = policy(rules);
    let at = |hours: i32| now().checked_add(hours.hours()).unwrap();
    let table = [(-3, false), (-2, true), (7, true), (8, false), (24 * 4, true), (24 * 5, false)];
    for (hours, may) in table {
        let expected = if may { permitted("hours") } else { Decision::NotGranted };
        assert_eq!(decide_at(&policy, ALIVE, &at(hours)), expected, "{hours}");
    }
    let school = ("school", ALIVE.1, ALIVE.2, ALIVE.3, false);
    let midnight = jiff::civil::date(2026, 12, 1).at(0, 0, 0, 0).in_tz("Asia/Shanghai").unwrap();
    let before = midnight.checked_sub(1.millisecond()).unwrap();
    assert_eq!(decide_at(&policy, school, &before), permitted("until"));
    assert_eq!(decide_at(&policy, school, &midnight), Decision::NotGranted);
    let office = caller("pension-office");
    let (predicate, purpose, kind) =
        (ALIVE.1.parse().unwrap(), ALIVE.2.parse().unwrap(), ALIVE.3.parse().unwrap());
    let question = PolicyQuestion {
        caller: &office,
        predicate: &predicate,
        purpose: &purpose,
        subject_kind: &kind,
        has_case: false,
        desk: Desk::Claimed,
    };
    let asked = Counter::new(0);
    let clock = || {
        asked.set(asked.get() + 1);
        now()
    };
    assert_eq!(policy.decide(&question, clock), permitted("always"));
    assert_eq!(asked.get(), 0);
}

#[test]
fn the_first_of_several_permits_is_named_and_any_that_forbids() {
    let text = r#"
        @id("b") permit(principal, action, resource);
        @id("a") permit(principal, action, resource);"#;
    assert_eq!(decide(&policy(text), ALIVE), permitted("b"));
    let toml = r#"[[grants]]
        id = "z"
        caller = "one-window"
        predicates = ["civil-registry/alive@1"]
        purposes = ["*"]"#;
    let mut with_grant = settings(toml);
    with_grant.policy.files = vec![file("x.cedar", text)];
    let plan = with_grant.check(&catalogue(), &callers()).unwrap();
    assert_eq!(decide(&plan.policy, ALIVE), permitted("z"), "grants come first");
}

#[test]
fn a_department_forbids_for_itself_and_for_nobody_else() {
    let everything = r#"@id("all") permit(principal, action, resource);"#;
    let rules = r#"@id("no-online") forbid(
        principal, action, resource == Department::"civil-registry"
    ) when { context.channel == Channel::"online" };"#;
    let policy = compile(everything, rules).unwrap();
    let online = ("school", ALIVE.1, ALIVE.2, ALIVE.3, false);
    assert_eq!(decide(&policy, online), forbidden("civil-registry/no-online"));
    assert_eq!(decide(&policy, ALIVE), permitted("all"));
    assert_eq!(policy.serials().get("civil-registry"), Some(&4));
    for head in ["resource", r#"resource == Department::"social-insurance""#] {
        let rules = format!(r#"@id("x") forbid(principal, action, {head});"#);
        let mistakes = compile(everything, &rules).unwrap_err();
        let [mistake] = mistakes.as_slice() else { panic!("{mistakes:#?}") };
        assert_eq!(mistake.key, "civil-registry.cedar:1");
        assert!(mistake.fault.contains("civil-registry/x of a department does not name it alone"));
        assert!(mistake.mend.contains(r#"resource == Department::"civil-registry""#));
    }
}

#[test]
fn unsigned_rules_of_a_department_are_a_mistake() {
    let rules = r#"@id("x") forbid(principal, action, resource == Department::"civil-registry");"#;
    let mut settings = settings("");
    let mut changed = signed(rules);
    changed.file.text += "\n";
    settings.policy.departments.insert("civil-registry".to_owned(), changed);
    let mistakes = settings.check(&catalogue(), &callers()).unwrap_err();
    assert_eq!(
        mistakes[0].to_string(),
        "departments.civil-registry.policy: civil-registry.cedar: the file is not the one that was \
         signed; have the department sign it with `jumpgate policy sign`, and write its key as it \
         was made"
    );
}

/// What is wrong, and what of key, fault and mend must be said.
const BAD: [(&str, &str, &str, &str); 18] = [
    (
        "@id(\"x\")\npermit(principal, action, resource) when { context.has_case ;",
        "district.cedar:2",
        "unexpected token `;`",
        "Cedar's grammar",
    ),
    (
        "permit(principal, action, resource);",
        "district.cedar",
        "rule 1 of the file has no name",
        "write @id(",
    ),
    (
        "@id(\"X y\") permit(principal, action, resource);",
        "district.cedar:1",
        "\"X y\" is not the name of a rule",
        "a-z",
    ),
    (
        "@id(\"x\") permit(principal, action, resource);\n\
         @id(\"x\") permit(principal, action, resource);",
        "district.cedar:2",
        "\"x\" is the name of an earlier rule",
        "another",
    ),
    (
        "@id(\"x\") permit(principal == ?principal, action, resource);",
        "district.cedar",
        "templates",
        "?principal",
    ),
    (
        "\n\n@id(\"x\") permit(principal == Caller::\"one-windows\", action, resource);",
        "district.cedar:3",
        "`\"one-windows\"` is not declared",
        "\"one-window\"",
    ),
    (
        "@id(\"x\") permit(principal, action == Action::\"civil-registry/alive@2\", resource);",
        "district.cedar:1",
        "unrecognized action `Action::\"civil-registry/alive@2\"`",
        "did you mean `Action::\"civil-registry/alive@1\"`",
    ),
    (
        "@id(\"x\") permit(principal, action, resource) when {\n\
         context.purpose == Purpose::\"fun\" };",
        "district.cedar:2",
        "`\"fun\"` is not declared",
        "\"hiring\"",
    ),
    (
        "@id(\"x\") permit(principal, action, resource) when {\n\
         context.legal_basis == LegalBasis::\"curiosity\" };",
        "district.cedar:2",
        "`\"curiosity\"` is not declared",
        "\"statutory-duty\"",
    ),
    (
        // No purpose of this predicate rests on consent.
        "@id(\"x\") permit(principal, action == Action::\"civil-registry/alive@1\", resource) when \
         { context.legal_basis == LegalBasis::\"consent\" };",
        "district.cedar:1",
        "rule x can never apply",
        "catalogue",
    ),
    (
        "@id(\"x\") permit(principal, action, resource) when { context.purposes == 1 };",
        "district.cedar:1",
        "attribute `purposes` in context",
        "did you mean `purpose`",
    ),
    (
        "@id(\"x\") permit(principal, action, resource == Department::\"land\");",
        "district.cedar:1",
        "`\"land\"` is not declared",
        "\"civil-registry\", \"social-insurance\"",
    ),
    (
        "@id(\"x\") permit(principal, action, resource) when { context.has_case == \"yes\" };",
        "district.cedar:1",
        "rule x: ",
        "",
    ),
    (
        "@id(\"x\") permit(principal, action, resource) when { false };",
        "district.cedar:1",
        "policy is impossible",
        "remove it",
    ),
    (
        "@id(\"x\") permit(principal, action, resource) when {\n\
         context.has_case && !context.has_case };",
        "district.cedar:1",
        "rule x can never apply",
        "catalogue",
    ),
    (
        "@id(\"x\") permit(principal, action == Action::\"civil-registry/alive@1\", resource) when \
         { context.purpose == Purpose::\"hiring\" };",
        "district.cedar:1",
        "rule x can never apply",
        "catalogue",
    ),
    (
        "@id(\"x\") permit(principal, action == Action::\"civil-registry/alive@1\", \
         resource == Department::\"social-insurance\");",
        "district.cedar:1",
        "rule x can never apply",
        "catalogue",
    ),
    (
        "@id(\"x\") forbid(principal, action, resource) when { context.time.hour > 23 };",
        "district.cedar:1",
        "rule x can never apply",
        "catalogue",
    ),
];

#[test]
fn each_bad_rule_is_named_with_its_line_and_a_mend() {
    for (rules, key, fault, mend) in BAD {
        let mistakes = compile(rules, "").expect_err(rules);
        let [mistake] = mistakes.as_slice() else { panic!("{rules}: {mistakes:#?}") };
        assert_eq!(mistake.key, key, "{rules}: {mistake}");
        assert!(mistake.fault.contains(fault), "{rules}: {mistake}");
        assert!(mistake.mend.contains(mend), "{rules}: {mistake}");
        assert!(!mistake.fault.contains("policy `"), "Cedar's own name of it: {mistake}");
    }
}

#[test]
fn a_rule_that_cannot_be_evaluated_is_found_at_the_start_or_forbids() {
    let overflow = r#"@id("x") forbid(principal, action, resource)
        when { context.time.weekday + 9223372036854775807 > 0 };"#;
    let mistakes = compile(overflow, "").unwrap_err();
    assert!(mistakes[0].fault.contains("rule x cannot be evaluated"), "{mistakes:#?}");
    // What only fails at a moment no start sees fails closed then.
    let later = r#"@id("all") permit(principal, action, resource);
        @id("late") forbid(principal, action, resource) when {
            context.time.at > datetime("2026-11-24")
                && context.time.weekday + 9223372036854775807 > 0
        };
        @id("more") permit(principal == Caller::"school", action, resource) when {
            context.time.at > datetime("2020-01-01")
                && context.time.weekday + 9223372036854775807 > 0
        };"#;
    let policy = policy(later);
    assert_eq!(decide(&policy, ALIVE), permitted("all"));
    let school = ("school", ALIVE.1, ALIVE.2, ALIVE.3, false);
    assert_eq!(decide(&policy, school), permitted("all"), "a broken permit only does not permit");
    let after = now().checked_add(24.hours()).unwrap();
    assert_eq!(decide_at(&policy, ALIVE, &after), forbidden("late"));
}

#[test]
fn the_digest_is_of_every_text_and_of_the_schema() {
    let all = r#"@id("all") permit(principal, action, resource);"#;
    let own = r#"@id("x") forbid(principal, action, resource == Department::"civil-registry");"#;
    let one = compile(all, own).unwrap();
    assert_eq!(one.digest(), compile(all, own).unwrap().digest());
    assert_eq!(one.digest(), Digest::of(one.text().as_bytes()));
    let other_rule = compile(&all.replace("all", "any"), own).unwrap();
    let other_own = compile(all, &own.replace("\"x\"", "\"y\"")).unwrap();
    let mut settings = settings("");
    settings.policy.files = vec![file("district.cedar", all)];
    settings.policy.departments.insert("civil-registry".to_owned(), signed(own));
    let mut other_channel = callers();
    other_channel[0].0 = caller("another");
    let other_schema = settings.check(&catalogue(), &other_channel).unwrap().policy;
    for other in [other_rule, other_own, other_schema] {
        assert_ne!(other.digest(), one.digest(), "{}", other.text());
    }
    let lines: Vec<&str> = one.text().lines().collect();
    assert_eq!(lines[0], "jumpgate/policy/v2");
    assert_eq!(lines[1], format!("schema {}", Digest::of(one.schema().as_bytes())));
    assert_eq!(lines[3], format!("rules district.cedar {}", Digest::of(all.as_bytes())));
    let own = Digest::of(own.as_bytes());
    assert_eq!(lines[4], format!("department civil-registry 4 {own}"));
}

#[test]
fn an_explanation_shows_each_rule_that_was_weighed() {
    let policy = policy(
        r#"@id("case") permit(principal == Caller::"one-window", action, resource)
  when { context.has_case };
@id("window") permit(principal == Caller::"one-window", action, resource);
@id("school") permit(principal == Caller::"school", action, resource);"#,
    );
    let (caller, predicate, purpose, kind) = (
        caller(ALIVE.0),
        ALIVE.1.parse().unwrap(),
        ALIVE.2.parse().unwrap(),
        ALIVE.3.parse().unwrap(),
    );
    let question = PolicyQuestion {
        caller: &caller,
        predicate: &predicate,
        purpose: &purpose,
        subject_kind: &kind,
        has_case: false,
        desk: Desk::Claimed,
    };
    let explained = policy.explain(&question, &now()).unwrap();
    assert_eq!(explained.decision, permitted("window"));
    let seen: Vec<_> = (explained.weighed.iter())
        .map(|it| (&*it.rule, it.place.as_str(), it.effect, it.applies.clone()))
        .collect();
    assert_eq!(
        seen,
        [
            ("case", "district.cedar:1", "permits", Ok(false)),
            ("window", "district.cedar:3", "permits", Ok(true)),
        ]
    );
    assert!(explained.weighed[0].text.contains("context.has_case"));
}

#[test]
fn the_matrix_shows_what_a_decision_depends_on() {
    let policy = policy(
        r#"@id("case") permit(principal == Caller::"one-window",
            action == Action::"civil-registry/alive@1", resource) when { context.has_case };
        @id("kind") permit(principal == Caller::"school",
            action == Action::"social-insurance/insured@1", resource)
            when { context.subject_kind == SubjectKind::"handle" };
        @id("hours") permit(principal == Caller::"school",
            action == Action::"civil-registry/alive@1", resource)
            when { context.time.hour < 12 && context.purpose == Purpose::"benefit-claim" };
        @id("law") permit(principal == Caller::"one-window",
            action == Action::"civil-registry/sex-is@1", resource)
            when { context.legal_basis == LegalBasis::"court-order" };"#,
    );
    let matrix = policy.matrix(&now());
    for line in [
        "    benefit-claim           without a case: -; with a case: permit by case",
        "    benefit-claim           - (84 of 168 h), permit by hours (84 of 168 h)",
        "    court-order             permit by law",
        "    pension-claim           -",
        "pension-office (system)",
        "  civil-registry/sex-is@1: -",
    ] {
        assert!(matrix.lines().any(|it| it == line), "{line}\n{matrix}");
    }
    assert!(matrix.contains("passport: -; handle: permit by kind"), "{matrix}");
}

/// Parts of rules, from which the property makes some.
fn any_rule() -> impl Strategy<Value = String> {
    let principal = prop_oneof![
        Just("principal"),
        Just("principal == Caller::\"one-window\""),
        Just("principal in Caller::\"school\""),
        Just("principal is Caller"),
        Just("principal is Caller in Caller::\"pension-office\""),
    ];
    let action = prop_oneof![
        Just("action"),
        Just("action == Action::\"civil-registry/alive@1\""),
        Just(
            "action in [Action::\"social-insurance/insured@1\", Action::\"civil-registry/alive@1\"]"
        ),
        Just("action in Action::\"civil-registry/sex-is@1\""),
    ];
    let resource = prop_oneof![
        Just("resource"),
        Just("resource == Department::\"civil-registry\""),
        Just("resource in Department::\"social-insurance\""),
        Just("resource is Department"),
    ];
    let condition = prop_oneof![
        Just(""),
        Just(" when { context.has_case }"),
        Just(" unless { context.purpose == Purpose::\"court-order\" }"),
        Just(" when { principal == Caller::\"school\" || context.time.hour < 9 }"),
        Just(" when { context.subject_kind == SubjectKind::\"handle\" }"),
        Just(" when { context.legal_basis == LegalBasis::\"statutory-duty\" }"),
    ];
    let effect = prop_oneof![3 => Just("permit"), 1 => Just("forbid")];
    (effect, principal, action, resource, condition)
        .prop_map(|(effect, p, a, r, condition)| format!("{effect}({p}, {a}, {r}){condition};"))
}

/// What Cedar says to the question when it is given every rule.
fn by_all(policy: &Policy, words: Words<'_>, at: &Zoned) -> Decision {
    let set = PolicySet::from_policies(policy.rules.iter().map(|rule| rule.cedar.clone())).unwrap();
    let (id, predicate, purpose, kind): (_, PredicateId, _, _) = (
        caller(words.0),
        words.1.parse().unwrap(),
        words.2.parse().unwrap(),
        words.3.parse().unwrap(),
    );
    let asker = &policy.askers[&id];
    let legal_basis = asker.cells[&predicate].target.legal_basis(&purpose).unwrap();
    let asked = Asked {
        purpose: &purpose,
        legal_basis,
        subject_kind: &kind,
        has_case: words.4,
        channel: asker.facts.channel,
        operator: None,
    };
    let request = asker.request(&asker.cells[&predicate], &asked, &Moment::of(at)).unwrap();
    policy.weigh(&set, &request)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(96))]

    /// The rules that a question is decided by are, for it, as good as all rules; asked again, with
    /// what was kept, too.
    #[test]
    fn a_slice_decides_as_the_whole(
        rules in proptest::collection::vec(any_rule(), 1..12),
        hour in 0..24_i32,
    ) {
        let named = rules.iter().enumerate().map(|(at, rule)| format!("@id(\"r{at}\") {rule}\n"));
        // A rule without any question is a mistake of its own, not meant here.
        let text: String = named.filter(|rule| compile(rule, "").is_ok()).collect();
        let policy = compile(&text, "").unwrap();
        let at = now().checked_add(hour.hours()).unwrap();
        for (who, _) in CALLERS {
            for (what, why) in [
                ("civil-registry/alive@1", "benefit-claim"),
                ("civil-registry/alive@1", "court-order"),
                ("civil-registry/sex-is@1", "court-order"),
                ("social-insurance/insured@1", "court-order"),
            ] {
                for (kind, case) in [("passport", false), ("handle", true), ("handle", false)] {
                    let words = (who, what, why, kind, case);
                    let whole = by_all(&policy, words, &at);
                    prop_assert_eq!(&decide_at(&policy, words, &at), &whole, "{:?}", words);
                    prop_assert_eq!(&decide_at(&policy, words, &at), &whole, "again {:?}", words);
                }
            }
        }
    }
}

/// Asks as the pension office, with an operator's roles.
fn decide_with_roles(policy: &Policy, roles: Option<&[&str]>) -> Decision {
    let roles: Option<Vec<RoleName>> =
        roles.map(|roles| roles.iter().map(|&role| role.into()).collect());
    let question = PolicyQuestion {
        caller: &caller("pension-office"),
        predicate: &"civil-registry/alive@1".parse().unwrap(),
        purpose: &"pension-claim".parse().unwrap(),
        subject_kind: &"passport".parse().unwrap(),
        has_case: false,
        desk: roles.as_deref().map_or(Desk::Claimed, Desk::Proven),
    };
    policy.decide(&question, now)
}

#[test]
fn a_rule_sees_whether_an_operator_is_signed_for_and_his_roles() {
    let rules = r#"
        @id("signed") permit(principal, action, resource) when { context.operator.signed };
        @id("no-chief") forbid(principal, action, resource)
        when { context.operator.roles.contains(OperatorRole::"chief") };
    "#;
    let policy = compile(rules, "").unwrap();
    let by = |rule: &str| Decision::Permitted(rule.into());
    assert_eq!(decide_with_roles(&policy, None), Decision::NotGranted);
    assert_eq!(decide_with_roles(&policy, Some(&[])), by("signed"));
    assert_eq!(decide_with_roles(&policy, Some(&["clerk"])), by("signed"));
    let forbidden = Decision::Forbidden("no-chief".into());
    assert_eq!(decide_with_roles(&policy, Some(&["clerk", "chief"])), forbidden);
    assert_eq!(decide_with_roles(&policy, Some(&["clerk"])), by("signed"), "nothing was kept");
    let matrix = policy.matrix(&now());
    let row = "by an operator without a role: permit by signed; by a clerk: permit by signed; \
               by a chief: forbid by no-chief; by a clerk and chief: forbid by no-chief";
    assert!(matrix.contains(row), "{matrix}");
    // Other callers send no tokens.
    assert!(
        matrix.contains("one-window (counter)\n  civil-registry/age-at-least@1: -"),
        "{matrix}"
    );
}

#[test]
fn a_rule_about_two_roles_together_applies_and_is_shown() {
    let rule = r#"@id("both") permit(principal == Caller::"pension-office", action, resource)
        when { context.operator.roles.contains(OperatorRole::"clerk")
            && context.operator.roles.contains(OperatorRole::"chief") };"#;
    let policy = compile(rule, "").unwrap();
    let matrix = policy.matrix(&now());
    assert!(matrix.contains("by a clerk and chief: permit by both"), "{matrix}");
    assert!(matrix.contains("by a chief: -"), "{matrix}");
}

#[test]
fn a_rule_about_a_role_that_no_token_can_name_is_a_mistake() {
    let rule = r#"@id("x") permit(principal == Caller::"one-window", action, resource)
        when { context.operator.roles.contains(OperatorRole::"clerk") };"#;
    let mistakes = compile(rule, "").unwrap_err();
    assert!(mistakes[0].fault.contains("can never apply"), "{mistakes:?}");
    let mistakes = compile(&rule.replace("clerk", "king"), "").unwrap_err();
    assert!(mistakes[0].to_string().contains("king"), "{mistakes:?}");
}

#[test]
fn a_misspelt_annotation_is_a_mistake() {
    let rule = r#"@id("x") @breakglass("two-operators") permit(principal, action, resource);"#;
    let mistakes = compile(rule, "").unwrap_err();
    assert_eq!(mistakes.len(), 1, "{mistakes:?}");
    let said = "no rule has an annotation @breakglass; write @id, @cuts_per_year, @break_glass";
    assert!(mistakes[0].to_string().ends_with(said), "{}", mistakes[0]);
}
