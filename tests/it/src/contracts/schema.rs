//! JSON Schema (2020-12) as far as `spec/openapi.yaml` uses it. A keyword that is not known here is
//! a failure, so that no rule of the page goes unchecked.

use serde_json::Value;

/// The schemas of a document.
pub struct Schemas<'a>(&'a Value);

/// Words about a schema, which say nothing about a value.
const WORDS: [&str; 6] = ["title", "description", "default", "example", "examples", "format"];

impl<'a> Schemas<'a> {
    pub fn of(document: &'a Value) -> Self {
        Self(document)
    }

    /// The node itself, or what it refers to.
    pub fn resolve(&self, node: &'a Value) -> &'a Value {
        match node.get("$ref").and_then(Value::as_str) {
            None => node,
            Some(reference) => {
                let pointer = reference.strip_prefix('#').unwrap();
                self.resolve(self.0.pointer(pointer).unwrap_or_else(|| panic!("no {reference}")))
            }
        }
    }

    /// Whether a value fits a schema, or the first rule it breaks.
    pub fn check(&self, schema: &Value, value: &Value) -> Result<(), String> {
        self.check_at(schema, value, "")
    }

    fn check_at(&self, schema: &Value, value: &Value, at: &str) -> Result<(), String> {
        let rules = match schema {
            Value::Bool(true) => return Ok(()),
            Value::Bool(false) => return Err(format!("{at}: must not be there")),
            Value::Object(rules) => rules,
            _ => panic!("{at}: no schema: {schema}"),
        };
        for (keyword, rule) in rules {
            if !self.holds(keyword, rule, schema, value, at)? {
                return Err(format!("{at}: {value} breaks {keyword}: {rule}"));
            }
        }
        Ok(())
    }

    fn holds(
        &self,
        keyword: &str,
        rule: &Value,
        schema: &Value,
        value: &Value,
        at: &str,
    ) -> Result<bool, String> {
        let fits = |schema: &Value| self.check_at(schema, value, at).is_ok();
        let list = || rule.as_array().unwrap().iter();
        Ok(match keyword {
            word if WORDS.contains(&word) => true,
            "$ref" => {
                let target = self.0.pointer(rule.as_str().unwrap().strip_prefix('#').unwrap());
                self.check_at(target.unwrap_or_else(|| panic!("no {rule}")), value, at)?;
                true
            }
            "type" => is_of_type(rule.as_str().unwrap(), value),
            "enum" => list().any(|allowed| allowed == value),
            "const" => rule == value,
            "pattern" => value.as_str().is_none_or(|text| matches(rule.as_str().unwrap(), text)),
            "required" => value
                .as_object()
                .is_none_or(|members| list().all(|n| members.contains_key(n.as_str().unwrap()))),
            "properties" => {
                for (name, property) in rule.as_object().unwrap() {
                    if let Some(member) = value.get(name) {
                        self.check_at(property, member, &format!("{at}/{name}"))?;
                    }
                }
                true
            }
            "additionalProperties" => {
                assert_eq!(rule, &Value::Bool(false), "{at}");
                let known = schema["properties"].as_object().unwrap();
                value
                    .as_object()
                    .is_none_or(|members| members.keys().all(|n| known.contains_key(n)))
            }
            "items" => {
                for (position, item) in value.as_array().into_iter().flatten().enumerate() {
                    self.check_at(rule, item, &format!("{at}/{position}"))?;
                }
                true
            }
            "allOf" => {
                list().try_for_each(|part| self.check_at(part, value, at))?;
                true
            }
            "oneOf" => list().filter(|part| fits(part)).count() == 1,
            "anyOf" => list().any(&fits),
            "not" => !fits(rule),
            "if" => {
                if fits(rule) {
                    self.check_at(&schema["then"], value, at)?;
                }
                true
            }
            // Said by `if`.
            "then" => schema.get("if").is_some(),
            bound => is_within(bound, rule.as_u64().unwrap(), value),
        })
    }
}

fn is_of_type(name: &str, value: &Value) -> bool {
    match name {
        "object" => value.is_object(),
        "array" => value.is_array(),
        "string" => value.is_string(),
        "integer" => value.is_i64() || value.is_u64(),
        "boolean" => value.is_boolean(),
        _ => panic!("the type {name} is not known here"),
    }
}

fn is_within(keyword: &str, bound: u64, value: &Value) -> bool {
    let chars = value.as_str().map(|text| text.chars().count() as u64);
    let items = value.as_array().map(|items| items.len() as u64);
    let members = value.as_object().map(|members| members.len() as u64);
    match keyword {
        "minimum" => !value.is_number() || value.as_u64().is_some_and(|number| number >= bound),
        "maximum" => value.as_u64().is_none_or(|number| number <= bound),
        "minLength" => chars.is_none_or(|chars| chars >= bound),
        "maxLength" => chars.is_none_or(|chars| chars <= bound),
        "minItems" => items.is_none_or(|items| items >= bound),
        "maxItems" => items.is_none_or(|items| items <= bound),
        "maxProperties" => members.is_none_or(|members| members <= bound),
        _ => panic!("the keyword {keyword} is not known here"),
    }
}

/// The patterns of the page, by hand: there are six.
fn matches(pattern: &str, text: &str) -> bool {
    let hex = |length: usize| {
        text.len() == length && text.bytes().all(|b| matches!(b, b'0'..=b'9' | b'a'..=b'f'))
    };
    match pattern {
        "^[0-9a-f]{32}$" => hex(32),
        "^[0-9a-f]{64}$" => hex(64),
        "^[0-9]{4}-[0-9]{2}-[0-9]{2}$" => {
            let form: String =
                text.chars().map(|c| if c.is_ascii_digit() { '0' } else { c }).collect();
            form == "0000-00-00"
        }
        "^urn:jumpgate:problem:[a-z-]+$" => {
            let code = text.strip_prefix("urn:jumpgate:problem:").unwrap_or_default();
            !code.is_empty() && code.bytes().all(|b| b == b'-' || b.is_ascii_lowercase())
        }
        r"^jumpgate-promise/v1\n" => text.starts_with("jumpgate-promise/v1\n"),
        "^/" => text.starts_with('/'),
        _ => panic!("the pattern {pattern} is not known here"),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn each_keyword_can_refuse() {
        let document = json!({ "a": { "type": "integer" } });
        let schemas = Schemas::of(&document);
        let sized = "0".repeat(31);
        for (schema, value) in [
            (json!({ "$ref": "#/a" }), json!("1")),
            (json!({ "type": "object" }), json!([])),
            (json!({ "enum": [1, "2"] }), json!(2)),
            (json!({ "const": 1 }), json!(2)),
            (json!({ "pattern": "^[0-9a-f]{32}$" }), json!(sized)),
            (json!({ "pattern": "^[0-9]{4}-[0-9]{2}-[0-9]{2}$" }), json!("2026-1-01")),
            (json!({ "required": ["a"] }), json!({ "b": 1 })),
            (json!({ "properties": { "a": { "const": 1 } } }), json!({ "a": 2 })),
            (json!({ "properties": { "a": false } }), json!({ "a": 2 })),
            (json!({ "properties": {}, "additionalProperties": false }), json!({ "a": 2 })),
            (json!({ "items": { "const": 1 } }), json!([1, 2])),
            (json!({ "allOf": [true, { "const": 1 }] }), json!(2)),
            (json!({ "oneOf": [{ "minimum": 1 }, { "minimum": 2 }] }), json!(2)),
            (json!({ "oneOf": [{ "minimum": 1 }, { "minimum": 2 }] }), json!(0)),
            (json!({ "anyOf": [{ "const": 1 }, { "const": 2 }] }), json!(3)),
            (json!({ "not": { "const": 1 } }), json!(1)),
            (json!({ "if": { "minimum": 1 }, "then": { "minimum": 5 } }), json!(3)),
            (json!({ "maximum": 3 }), json!(4)),
            (json!({ "minLength": 1 }), json!("")),
            (json!({ "maxLength": 1 }), json!("12")),
            (json!({ "minItems": 1 }), json!([])),
            (json!({ "maxItems": 1 }), json!([1, 2])),
            (json!({ "maxProperties": 0 }), json!({ "a": 1 })),
        ] {
            assert!(schemas.check(&schema, &value).is_err(), "{schema} lets {value} pass");
        }
        assert_eq!(schemas.check(&json!({ "if": false, "then": false }), &json!(1)), Ok(()));
    }
}
