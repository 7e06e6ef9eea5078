//! A gateway that is asked about birth dates to the day: the shipped catalogue with an exact age,
//! and the civil registry's signed grants of it.

use std::fs;

use jumpgate_admission::{SignedRules, department_key};
use jumpgate_catalogue::{DepartmentId, Digest};
use serde_json::{Value, json};

use super::{Setup, parts};

/// Fewest days that all answers together leave.
const INTERVAL_DAYS_MIN: i32 = 30;

/// The usual gateway with an exact age, of which the registry grants both callers this many cuts
/// about one person in a year.
pub fn exact(cuts_per_year: u32) -> Setup {
    let grants = format!(
        "@id(\"of-age\")\n@cuts_per_year(\"{cuts_per_year}\")\npermit (principal, action == \
         Action::\"civil-registry/age-at-least@1\", resource == Department::\"civil-registry\");\n"
    );
    exact_with(&grants)
}

/// The same with other rules of the registry.
pub fn exact_with(rules: &str) -> Setup {
    let mut setup = granted(rules);
    for file in ["kinds.toml", "civil-registry.toml", "social-insurance.toml"] {
        let text = fs::read_to_string(parts::root().join("spec/catalogue").join(file)).unwrap();
        setup = setup.file(format!("catalogue/{file}"), exactly(&text));
    }
    // A grant of the exact age alone would be in vain: only the registry gives one.
    setup.with(
        "catalogue_dir = \"catalogue\"\n[[grants]]\nid = \"everything\"\ncaller = \
         \"one-window\"\npredicates = [\"civil-registry/*\", \"social-insurance/*\"]\n\
         purposes = [\"*\"]",
    )
}

/// The usual gateway with these rules of the civil registry.
fn granted(rules: &str) -> Setup {
    let department: DepartmentId = "civil-registry".parse().unwrap();
    let (secret, key) = department_key(&department, &[7; 32]).unwrap();
    let signed = SignedRules { department, serial: 1, digest: Digest::of(rules.as_bytes()) };
    let policy = format!(
        "[departments.civil-registry.policy]\nfile = \"registry.cedar\"\nkey = \"{key}\"\n"
    );
    let signature = signed.sign(&secret).unwrap();
    Setup::new().with(&policy).file("registry.cedar", rules).file("registry.cedar.sig", signature)
}

/// The same catalogue with an exact age, asked by handles of which a person has one for life, and
/// without joins: exact answers leave too few people for them.
fn exactly(text: &str) -> String {
    let text = text.split("# Who asks all of both").next().unwrap();
    let handle = "rule = \"one-window-handle\"\nreveals = []\n";
    let text = text.replacen(handle, &format!("{handle}lasting = true\n"), 1);
    let Some((before, birth)) = text.split_once("id = \"birth-date\"\n") else { return text };
    let (birth, age) = birth.split_once("attribute = \"birth-date\"\n").unwrap();
    let (age, rest) = age.split_once("purposes").unwrap();
    let birth = birth.replacen(
        "cell_people_min",
        &format!("interval_days_min = {INTERVAL_DAYS_MIN}\ncell_people_min"),
        1,
    );
    let kinds = age.find("subject_kinds").unwrap();
    let age = age[..kinds].replace("\"grid\"", "\"exact\"").replace("cell = \"month\"\n", "");
    format!(
        "{before}id = \"birth-date\"\n{birth}attribute = \"birth-date\"\n{age}subject_kinds = \
         [\"handle\"]\npurposes{rest}"
    )
}

/// Is the holder of this handle at least so old, today?
pub fn exact_age(years: i64, handle: &str) -> Value {
    json!({
        "predicate": "civil-registry/age-at-least@1",
        "parameters": { "years": years },
        "subject": { "kind": "handle", "value": handle },
        "purpose": "hiring",
    })
}
