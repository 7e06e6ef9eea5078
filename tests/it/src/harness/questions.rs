//! Questions as callers write them.

use serde_json::{Value, json};

/// Somebody of the simulated population whom both departments know: widowed, 41.
pub const WIDOW: &str = "E00000011";

/// Is the holder of this passport at least so old?
pub fn age(years: i64, passport: &str) -> Value {
    question("civil-registry/age-at-least@1", json!({ "years": years }), passport, "hiring")
}

/// Does this name belong to this passport?
pub fn name_matches(name: &str, passport: &str) -> Value {
    question("civil-registry/name-matches@1", json!({ "name": name }), passport, "hiring")
}

/// A question to the civil registry about a claim for a benefit.
pub fn civil(name: &str, parameters: Value, passport: &str) -> Value {
    question(&format!("civil-registry/{name}@1"), parameters, passport, "benefit-claim")
}

/// A question to social insurance about a claim for a benefit.
pub fn social(name: &str, parameters: Value, passport: &str) -> Value {
    question(&format!("social-insurance/{name}@1"), parameters, passport, "benefit-claim")
}

/// Is the holder of this passport in the medical scheme?
pub fn insured(passport: &str) -> Value {
    social("insured", json!({ "scheme": "medical" }), passport)
}

/// Any question about a passport's holder.
pub fn question(predicate: &str, parameters: Value, passport: &str, purpose: &str) -> Value {
    json!({
        "predicate": predicate,
        "parameters": parameters,
        "subject": { "kind": "passport", "value": passport },
        "purpose": purpose,
    })
}

/// The question with an id of the caller's choice: `number` in 32 hexadecimal digits.
pub fn under_id(mut question: Value, number: u64) -> Value {
    question["query_id"] = json!(format!("{number:032x}"));
    question
}

/// The question with one field replaced, or added.
pub fn but(mut question: Value, field: &str, value: impl Into<Value>) -> Value {
    question[field] = value.into();
    question
}

/// Several questions in one call.
pub fn batch(questions: impl IntoIterator<Item = Value>) -> Value {
    json!({ "questions": questions.into_iter().collect::<Vec<_>>() })
}
