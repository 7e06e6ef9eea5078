//! Rules of the gateway and of a department, from their files to the entry and the commands.

use std::fs;
use std::path::Path;

use jumpgate_querylog::Kind;

use crate::crash::{build_binary, jumpgate, said};
use crate::harness::questions::{WIDOW, age, but};
use crate::harness::{Ground, Setup, load};
use crate::http::assert_problem;

const DISTRICT: &str = r#"@id("no-school-ages")
forbid (principal, action == Action::"civil-registry/age-at-least@1", resource)
when { context.purpose == Purpose::"school-enrolment" };
"#;
const REGISTRY: &str = r#"@id("court-with-a-case")
forbid (principal, action, resource == Department::"civil-registry")
when { context.purpose == Purpose::"court-order" && !context.has_case };
"#;

/// A ground with rules of both kinds, the registry's signed by the command.
async fn ground() -> Ground {
    build_binary().await;
    let folder = tempfile::tempdir().unwrap();
    let make = ["policy", "keygen", "civil-registry", "--key", "registry.key"];
    let made = jumpgate(folder.path(), &make);
    assert!(made.status.success(), "{}", said(&made));
    let key = String::from_utf8(made.stdout).unwrap();
    let overlay = format!(
        "[policy]\nfiles = [\"district.cedar\"]\n[departments.civil-registry.policy]\n\
         file = \"registry.cedar\"\nkey = \"{}\"\n",
        key.trim()
    );
    let ground = Setup::new().with(&overlay).ground().await;
    let into = ground.folder.path();
    fs::copy(folder.path().join("registry.key"), into.join("registry.key")).unwrap();
    fs::write(into.join("district.cedar"), DISTRICT).unwrap();
    fs::write(into.join("registry.cedar"), REGISTRY).unwrap();
    sign(into, "1");
    ground
}

fn sign(folder: &Path, serial: &str) {
    let department = ["--department", "civil-registry", "--serial", serial];
    let sign = [&["policy", "sign", "registry.cedar", "--key", "registry.key"], &department[..]];
    let signed = jumpgate(folder, &sign.concat());
    assert!(signed.status.success(), "{}", said(&signed));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_rule_decides_and_is_named_in_the_entry() {
    let harness = ground().await.start().await.unwrap();
    let mut client = harness.client("one-window").await;
    assert_eq!(client.ask(&age(18, WIDOW)).await.says(), "yes");
    let school = but(age(18, WIDOW), "purpose", "school-enrolment");
    let court = but(age(18, WIDOW), "purpose", "court-order");
    assert_problem(&client.ask(&school).await, 403, "not-granted");
    assert_problem(&client.ask(&court).await, 403, "not-granted");
    let with_case = but(court, "case", "2026/17");
    assert_eq!(client.ask(&with_case).await.says(), "yes");
    let mut other = harness.client("other-window").await;
    assert_problem(&other.ask(&with_case).await, 403, "not-granted");
    let rules = |kind| {
        let records = harness.records_of(kind);
        let rules = records.into_iter().map(|it| it.entry.rule.map(std::borrow::Cow::into_owned));
        rules.collect::<Vec<Option<String>>>()
    };
    let named = |rule: &str| Some(rule.to_owned());
    assert_eq!(rules(Kind::Ask), [named("everything"), named("everything")]);
    let refused = [named("no-school-ages"), named("civil-registry/court-with-a-case"), None];
    assert_eq!(rules(Kind::Refused), refused);
    assert_eq!(harness.civil().requests().count, 2, "what is forbidden touches no department");
    harness.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_refusal_by_something_else_names_the_rule_that_permits_and_the_quota() {
    let quota = "[quotas.department]\nper_second = 1\nburst = 1";
    let harness = Setup::new().with(quota).ground().await.start().await.unwrap();
    let mut client = harness.client("one-window").await;
    assert_eq!(client.ask(&age(18, WIDOW)).await.says(), "yes");
    let refused = client.ask(&age(18, WIDOW)).await;
    assert_problem(&refused, 429, "department-quota-exhausted");
    assert!(refused.header("ratelimit").contains("\"caller/civil-registry\";r=0;"));
    let entry = harness.records_of(Kind::Refused).remove(0).entry;
    assert_eq!(entry.rule.as_deref(), Some("everything"));
    harness.finish().await;
}

#[tokio::test]
async fn rules_changed_after_they_were_signed_keep_the_gateway_from_starting() {
    let ground = ground().await;
    let folder = ground.folder.path();
    assert!(load(&ground.config()).is_ok());
    fs::write(folder.join("registry.cedar"), format!("{REGISTRY}\n")).unwrap();
    let Err(mistakes) = load(&ground.config()) else { panic!("loaded") };
    assert!(mistakes[0].to_string().contains("the file is not the one that was signed"));
    sign(folder, "2");
    assert!(load(&ground.config()).is_ok());
    fs::remove_file(folder.join("registry.cedar.sig")).unwrap();
    let Err(mistakes) = load(&ground.config()) else { panic!("loaded") };
    assert_eq!(mistakes[0].at, "departments.civil-registry.policy");
    assert!(mistakes[0].mend.contains("registry.cedar.sig"), "{}", mistakes[0]);
}

#[tokio::test]
async fn the_commands_show_what_the_gateway_would_do() {
    let ground = ground().await;
    let (folder, config) = (ground.folder.path(), ground.config());
    let config = config.to_str().unwrap();
    let question = ["--caller", "one-window", "--predicate", "civil-registry/age-at-least@1"];
    let explain = |more: &[&str]| {
        jumpgate(folder, &[&["policy", "explain", config], &question[..], more].concat())
    };
    let forbidden = explain(&["--purpose", "court-order", "--at", "2026-11-23T10:00"]);
    assert_eq!(forbidden.status.code(), Some(1), "{}", said(&forbidden));
    for part in [
        "by passport, with no case, at Monday 2026-11-23 10:00",
        "forbidden by civil-registry/court-with-a-case",
        "everything (grants:1) permits: applies",
        "no-school-ages (district.cedar:1) forbids: does not apply",
        "(registry.cedar:1) forbids: applies",
    ] {
        assert!(said(&forbidden).contains(part), "{part}\n{}", said(&forbidden));
    }
    let permitted = explain(&["--purpose", "court-order", "--case"]);
    assert_eq!(permitted.status.code(), Some(0), "{}", said(&permitted));
    let unknown = explain(&["--purpose", "pensions"]);
    assert!(said(&unknown).contains("the catalogue does not allow"), "{}", said(&unknown));
    let matrix = said(&jumpgate(folder, &["policy", "matrix", config]));
    let court = "without a case: forbid by civil-registry/court-with-a-case; with a case: permit \
                 by everything";
    assert!(matrix.contains(court), "{matrix}");
    let digest = load(&ground.config()).unwrap().plan.policy().digest().to_string();
    let shown = said(&jumpgate(folder, &["policy", "show", config]));
    assert!(shown.starts_with(&digest) && shown.contains("department civil-registry 1 "));
    let schema = said(&jumpgate(folder, &["policy", "schema", config]));
    assert!(schema.starts_with("entity Caller enum [\"one-window\", \"other-window\"];"));
}

#[tokio::test(flavor = "multi_thread")]
async fn an_older_version_of_a_departments_rules_never_comes_back() {
    let ground = ground().await;
    sign(ground.folder.path(), "2");
    let harness = ground.start().await.unwrap();
    let rules = harness.folder().join("registry.cedar");
    fs::write(&rules, REGISTRY.replace("court-order", "hiring")).unwrap();
    sign(harness.folder(), "3");
    assert_eq!(harness.act("/reload").await.0, 200);
    let mut client = harness.client("one-window").await;
    assert_problem(&client.ask(&age(18, WIDOW)).await, 403, "not-granted");
    fs::write(&rules, REGISTRY).unwrap();
    sign(harness.folder(), "2");
    let (status, said) = harness.act("/reload").await;
    assert_eq!(status, 409, "{said}");
    assert!(said.contains("have version 2, and version 3 was in force"), "{said}");
    assert_problem(&client.ask(&age(18, WIDOW)).await, 403, "not-granted");
    drop(client);
    let (ground, _) = harness.stop().await;
    let fault = ground.try_start().await.expect_err("an older version is in force again");
    assert!(format!("{fault:?}").contains("OlderRules"), "{fault:?}");
    sign(ground.folder.path(), "4");
    ground.start().await.unwrap().finish().await;
}
