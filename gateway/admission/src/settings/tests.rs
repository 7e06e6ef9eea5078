use super::*;
use crate::sample::{caller, check, settings};

#[test]
fn nothing_written_means_the_defaults_and_no_grant() {
    let plan = check("").unwrap();
    assert_eq!((plan.policy.grants(), plan.policy.rules()), ("", 0));
    assert_eq!(plan.in_flight_max, 256);
    let departments: Vec<&str> = plan.departments.keys().map(DepartmentId::as_str).collect();
    assert_eq!(departments, ["civil-registry", "social-insurance"]);
    for department in plan.departments.values() {
        let DepartmentSettings { concurrency_max, waiting_max, wait_ms_max, breaker, maintenance } =
            department;
        assert!(maintenance.is_empty());
        assert_eq!((*concurrency_max, *waiting_max, *wait_ms_max), (16, 32, 500));
        assert_eq!((breaker.failures_max, breaker.probes_to_close), (5, 2));
        assert_eq!((breaker.rest_ms, breaker.rest_ms_max), (1_000, 3_000));
    }
    for rates in plan.quotas.values() {
        assert_eq!(rates.own, quota(100, 200).under(ALLOTMENT));
        let there = quota(50, 100).under(ALLOTMENT);
        assert!(rates.departments.values().all(|&at| at == there));
    }
}

#[test]
fn the_narrowest_quota_written_is_the_one_that_counts() {
    let plan = check(
        r#"
        [quotas]
        caller = { per_second = 1, burst = 2, per_day = 7 }
        department = { per_second = 3, burst = 4 }
        [quotas.callers.one-window]
        caller = { per_second = 5, burst = 6 }
        [quotas.callers.school.departments]
        civil-registry = { per_second = 7, burst = 8, per_day = 9, per_90_days = 10 }
        [quotas.callers.pension-office]
        subject = { per_day = 11, per_90_days = 12 }"#,
    )
    .unwrap();
    let office = &plan.quotas[&caller("pension-office")];
    assert_eq!(office.subject, Allotment { per_day: 11, per_90_days: 12 });
    assert_eq!(office.attempts, plan.quotas[&caller("school")].attempts);
    let other = QuotaLimits { per_day: Some(9), per_90_days: Some(10), ..quota(7, 8) };
    for (id, own, civil_registry, social_insurance) in [
        ("court-registry", quota(1, 2), quota(3, 4), quota(3, 4)),
        ("one-window", quota(5, 6), quota(3, 4), quota(3, 4)),
        ("school", quota(1, 2), other, quota(3, 4)),
    ] {
        let rates = &plan.quotas[&caller(id)];
        let at: Vec<_> = rates.departments.values().copied().collect();
        // A caller's own quota says nothing of a day, so the day is that of every caller.
        let of_all = Allotment { per_day: 7, ..ALLOTMENT };
        let there = [civil_registry, social_insurance].map(|quota| quota.under(ALLOTMENT));
        assert_eq!((rates.own, at), (own.under(of_all), there.to_vec()), "{id}");
    }
}

#[test]
fn all_mistakes_come_at_once_in_the_order_of_the_keys() {
    let mistakes = check(
        r#"
        in_flight_max = 0
        [[grants]]
        caller = "nobody"
        predicates = ["civil-registry/alive@1"]
        purposes = ["benefit-claim"]
        [quotas]
        caller = { per_second = 1000001, burst = 1 }
        subject = { per_day = 30, per_90_days = 29 }
        attempts = { per_day = 100001, per_90_days = 100001 }
        subject_alarm_per_day = 0
        [quotas.callers.stranger]
        attempts = { per_day = 0, per_90_days = 1 }
        [quotas.callers.school]
        caller = { per_second = 1, burst = 1, per_day = 0 }
        [quotas.callers.school.departments]
        land = { per_second = 1, burst = 1000001 }
        [departments.harbour]
        [departments.civil-registry]
        concurrency_max = 0
        waiting_max = 4097
        wait_ms_max = 10001
        [departments.civil-registry.breaker]
        failures_max = 0
        rest_ms = 2000
        rest_ms_max = 1000
        probes_to_close = 21
        [departments.social-insurance]
        concurrency_max = 1025
        breaker = { failures_max = 1001, rest_ms = 0, rest_ms_max = 600001, probes_to_close = 0 }"#,
    )
    .unwrap_err();
    let found: Vec<String> = mistakes.iter().map(AdmissionMistake::to_string).collect();
    let expected = [
        "grants[0].caller: no caller is named \"nobody\"; write one of court-registry, one-window, \
         pension-office, school",
        "quotas.caller.per_second: 1000001 is out of range; write 1 to 1000000",
        "quotas.subject.per_90_days: 29 is out of range; write 30 to 4000000000",
        "quotas.attempts.per_day: 100001 is out of range; write 1 to 100000",
        "quotas.subject_alarm_per_day: 0 is out of range; write 1 to 100000",
        "quotas.callers.school.caller.per_day: 0 is out of range; write 1 to 1000000000",
        "quotas.callers.school.departments.land: no department is named \"land\"; write one of \
         civil-registry, social-insurance",
        "quotas.callers.school.departments.land.burst: 1000001 is out of range; write 1 to 1000000",
        "quotas.callers.stranger: no caller is named \"stranger\"; write one of court-registry, \
         one-window, pension-office, school",
        "quotas.callers.stranger.attempts.per_day: 0 is out of range; write 1 to 100000",
        "departments.civil-registry.protection.concurrency_max: 0 is out of range; write 1 to 1024",
        "departments.civil-registry.protection.waiting_max: 4097 is out of range; write 0 to 4096",
        "departments.civil-registry.protection.wait_ms_max: \
         10001 is out of range; write 0 to 10000",
        "departments.civil-registry.protection.breaker.failures_max: \
         0 is out of range; write 1 to 1000",
        "departments.civil-registry.protection.breaker.rest_ms: \
         2000 is out of range; write 1 to 1000",
        "departments.civil-registry.protection.breaker.probes_to_close: \
         21 is out of range; write 1 to 20",
        "departments.harbour: no department is named \"harbour\"; write one of civil-registry, \
         social-insurance",
        "departments.social-insurance.protection.concurrency_max: \
         1025 is out of range; write 1 to 1024",
        "departments.social-insurance.protection.breaker.failures_max: \
         1001 is out of range; write 1 to 1000",
        "departments.social-insurance.protection.breaker.rest_ms: \
         0 is out of range; write 1 to 600001",
        "departments.social-insurance.protection.breaker.rest_ms_max: \
         600001 is out of range; write 1 to 600000",
        "departments.social-insurance.protection.breaker.probes_to_close: \
         0 is out of range; write 1 to 20",
        "in_flight_max: 0 is out of range; write 1 to 100000",
    ];
    assert_eq!(found, expected);
}

#[test]
fn a_key_nobody_knows_and_a_rate_of_zero_do_not_parse() {
    for (toml, part) in [
        ("grant = []", "unknown field `grant`"),
        ("quotas = { callers = { a = { rate = 1 } } }", "unknown field `rate`"),
        ("departments = { a = { wait_ms = 1 } }", "unknown field `wait_ms`"),
        ("departments = { a = { breaker = { rest_s = 1 } } }", "unknown field `rest_s`"),
        ("quotas = { caller = { per_second = 0, burst = 1 } }", "nonzero"),
        ("quotas = { caller = { per_second = 1 } }", "missing field `burst`"),
        ("quotas = { subject = { per_day = 1 } }", "missing field `per_90_days`"),
        ("grants = [{ caller = \"a\", predicates = [] }]", "missing field `purposes`"),
    ] {
        let error = toml::from_str::<AdmissionSettings>(toml).expect_err(toml).to_string();
        assert!(error.contains(part), "{toml}: {error}");
    }
    assert_eq!(settings(""), AdmissionSettings::default());
}

/// The page an operator copies from: its examples are right and the defaults it names are true.
#[test]
fn the_page_of_the_contract_is_true() {
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/../../spec/policy.md");
    let page = std::fs::read_to_string(path).unwrap();
    let blocks: Vec<&str> = page
        .split("```toml\n")
        .skip(1)
        .map(|rest| rest.split("```").next().expect("split gives one part or more"))
        .collect();
    let [grants, defaults, own, windows] = blocks.as_slice() else {
        panic!("{} blocks", blocks.len())
    };
    let plan = check(grants).unwrap_or_else(|mistakes| panic!("{mistakes:#?}"));
    let rules = plan.policy.grants();
    assert!(page.contains(&format!("```cedar\n{rules}```")), "write:\n{rules}");
    let rules = jumpgate_catalogue::Digest::of(rules.as_bytes());
    assert!(page.contains(&format!("rules grants {rules}\n")), "write {rules}");
    let schema = plan.policy.schema();
    let context = &schema[schema.find("type Asked").unwrap()..schema.find("\naction").unwrap()];
    assert!(page.contains(context), "write:\n{context}");
    let AdmissionSettings { grants, policy, quotas, mut departments, in_flight_max } =
        settings(defaults);
    assert_eq!(departments.remove("civil-registry"), Some(DepartmentSettings::default()));
    let rest = AdmissionSettings { grants, policy, quotas, departments, in_flight_max };
    assert_eq!(rest, AdmissionSettings::default());
    assert!(check(own).is_ok(), "{:#?}", check(own));
    assert!(check(windows).is_ok(), "{:#?}", check(windows));
    let rules: Vec<&str> =
        page.split("```cedar\n").skip(1).filter_map(|rest| rest.split("```").next()).collect();
    let [own, registry, exact, glass, _] = rules.as_slice() else {
        panic!("{} blocks", rules.len())
    };
    let registry = format!("{registry}{exact}");
    crate::policy::tests::compile(own, &registry).unwrap_or_else(|found| panic!("{found:#?}"));
    // It is right, and about no question of a catalogue that asks nothing exactly.
    let found = crate::policy::tests::compile(own, &format!("{registry}{glass}")).unwrap_err();
    assert!(found.len() == 1 && found[0].fault.contains("court can never apply"), "{found:#?}");
}
