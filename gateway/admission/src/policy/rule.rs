//! One rule: its name, where it stands, and which questions it can be about.

use std::sync::Arc;

use cedar_policy::{
    ActionConstraint, Effect, EntityUid, Policy as Cedar, PolicyId, PrincipalConstraint,
    ResourceConstraint,
};
use serde_json::{Map, Value};

use super::schema;
use crate::disclosure::ExactGrant;

/// The name of a rule, as it stands in the query log.
pub type RuleId = Arc<str>;

/// A rule of the policy.
#[derive(Debug, Clone)]
pub(super) struct Rule {
    pub id: RuleId,
    /// File and line, or `grants` and the grant's line in their Cedar text.
    pub place: String,
    /// Named by its position among all rules.
    pub cedar: Cedar,
    pub time_use: TimeUse,
    /// True if its conditions look at the operator's token.
    pub looks_at_operator: bool,
    /// True if its conditions see nothing but the circumstances.
    pub sees_only_context: bool,
    /// What it grants of exact answers. A rule without it permits no exact question.
    pub exact: Option<ExactGrant>,
    scope: Scope,
}

/// Which questions a rule can be about, by the head that every Cedar rule has. None is any.
#[derive(Debug, Clone)]
struct Scope {
    principals: Option<Vec<EntityUid>>,
    actions: Option<Vec<EntityUid>>,
    resources: Option<Vec<EntityUid>>,
}

/// How a rule looks at the time.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum TimeUse {
    /// Not at all: its decision can be kept.
    Never,
    /// At hour and weekday, which repeat every week.
    Week,
    /// At the moment itself, or in a way not told apart from that.
    Moment,
}

impl Rule {
    /// The rule `cedar`, the `position`th of all.
    pub fn new(id: RuleId, place: String, cedar: &Cedar, position: usize) -> Self {
        let cedar = cedar.new_id(PolicyId::new(position.to_string()));
        // A rule that cannot be written as JSON is looked at anew each time.
        let json = cedar.to_json().ok();
        let time_use = json.as_ref().map_or(TimeUse::Moment, time_use);
        let looks_at_operator = json.as_ref().is_none_or(looks_at_operator);
        let sees_only_context = json.is_some_and(|json| !names_head(&json));
        let scope = Scope::of(&cedar);
        Self {
            id,
            place,
            cedar,
            time_use,
            looks_at_operator,
            sees_only_context,
            exact: None,
            scope,
        }
    }

    /// True if the rule's head lets it be about this question. The decision of the rules of which
    /// this is true is that of all rules.
    pub fn is_about(
        &self,
        principal: &EntityUid,
        action: &EntityUid,
        resource: &EntityUid,
    ) -> bool {
        let Scope { principals, actions, resources } = &self.scope;
        let holds =
            |some: &Option<Vec<EntityUid>>, it| some.as_ref().is_none_or(|some| some.contains(it));
        holds(principals, principal) && holds(actions, action) && holds(resources, resource)
    }

    pub fn permits(&self) -> bool {
        self.cedar.effect() == Effect::Permit
    }

    /// True if the rule's head names this resource and no other.
    pub fn is_only_about(&self, resource: &EntityUid) -> bool {
        self.scope.resources.as_deref() == Some(std::slice::from_ref(resource))
    }
}

impl Scope {
    /// No entity of ours has a parent, so that `in` is `==`.
    fn of(cedar: &Cedar) -> Self {
        let typed = |name: &str, ours: &str| if name == ours { None } else { Some(Vec::new()) };
        Self {
            principals: match cedar.principal_constraint() {
                PrincipalConstraint::Any => None,
                PrincipalConstraint::Eq(uid)
                | PrincipalConstraint::In(uid)
                | PrincipalConstraint::IsIn(_, uid) => Some(vec![uid]),
                PrincipalConstraint::Is(name) => typed(&name.to_string(), schema::CALLER),
            },
            actions: match cedar.action_constraint() {
                ActionConstraint::Any => None,
                ActionConstraint::Eq(uid) => Some(vec![uid]),
                ActionConstraint::In(uids) => Some(uids),
            },
            resources: match cedar.resource_constraint() {
                ResourceConstraint::Any => None,
                ResourceConstraint::Eq(uid)
                | ResourceConstraint::In(uid)
                | ResourceConstraint::IsIn(_, uid) => Some(vec![uid]),
                ResourceConstraint::Is(name) => typed(&name.to_string(), schema::DEPARTMENT),
            },
        }
    }
}

/// How the expression looks at the time, by Cedar's JSON form of it. Whatever is not known to be
/// something else counts as a look at the moment.
fn time_use(json: &Value) -> TimeUse {
    match json {
        Value::Array(parts) => parts.iter().map(time_use).max().unwrap_or(TimeUse::Never),
        Value::Object(parts) => {
            if is_context(json) || is_time(json) {
                return TimeUse::Moment;
            }
            match access(parts) {
                Some((left, "hour" | "weekday")) if is_time(left) => TimeUse::Week,
                Some((left, _)) if is_time(left) => TimeUse::Moment,
                Some((left, _)) if is_context(left) => TimeUse::Never,
                Some(_) | None => parts.values().map(time_use).max().unwrap_or(TimeUse::Never),
            }
        }
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => TimeUse::Never,
    }
}

/// True if the expression looks at the operator, or may.
fn looks_at_operator(json: &Value) -> bool {
    match json {
        Value::Array(parts) => parts.iter().any(looks_at_operator),
        Value::Object(parts) => match access(parts) {
            Some((left, attribute)) if is_context(left) => attribute == "operator",
            Some(_) | None => is_context(json) || parts.values().any(looks_at_operator),
        },
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => false,
    }
}

/// True if the expression names `principal`, `action` or `resource`.
fn names_head(json: &Value) -> bool {
    match json {
        Value::Array(parts) => parts.iter().any(names_head),
        Value::Object(parts) => {
            parts.get("Var").is_some_and(|name| name != "context") || parts.values().any(names_head)
        }
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => false,
    }
}

fn is_context(json: &Value) -> bool {
    json.get("Var").is_some_and(|name| name == "context")
}

fn is_time(json: &Value) -> bool {
    let Value::Object(parts) = json else { return false };
    matches!(access(parts), Some((left, "time")) if is_context(left))
}

/// What an expression `left.attribute` is made of.
fn access(parts: &Map<String, Value>) -> Option<(&Value, &str)> {
    let access = parts.get(".")?;
    Some((access.get("left")?, access.get("attr")?.as_str()?))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(condition: &str) -> TimeUse {
        let text = format!("permit(principal, action, resource) when {{ {condition} }};");
        let cedar = Cedar::parse(None, &text).unwrap_or_else(|error| panic!("{text}: {error}"));
        Rule::new("x".into(), String::new(), &cedar, 0).time_use
    }

    #[test]
    fn conditions_that_see_only_circumstances_are_known() {
        for (condition, expected) in [
            ("context.has_case", true),
            ("[\"principal\"].contains(\"action\")", true),
            ("context.has_case || principal == Caller::\"a\"", false),
            ("{it: resource}.it == action", false),
        ] {
            let head = "principal == Caller::\"a\", action, resource";
            let text = format!("permit({head}) when {{ {condition} }};");
            let rule = Rule::new("x".into(), String::new(), &Cedar::parse(None, text).unwrap(), 0);
            assert_eq!(rule.sees_only_context, expected, "{condition}");
        }
    }

    #[test]
    fn a_rule_is_known_to_look_at_the_operator_however_it_is_written() {
        for (condition, expected) in [
            ("true", false),
            ("context.has_case || context.time.hour < 8", false),
            ("[\"operator\"].contains(\"signed\")", false),
            ("context.operator.signed", true),
            ("context.has_case && context[\"operator\"].roles.isEmpty()", true),
            ("[context].contains({})", true),
            ("{c: context}.c.operator.signed", true),
        ] {
            let text = format!("permit(principal, action, resource) when {{ {condition} }};");
            let rule = Rule::new("x".into(), String::new(), &Cedar::parse(None, text).unwrap(), 0);
            assert_eq!(rule.looks_at_operator, expected, "{condition}");
        }
    }

    #[test]
    fn a_rule_is_known_to_look_at_the_time_however_it_is_written() {
        let table = [
            ("true", TimeUse::Never),
            ("context.has_case", TimeUse::Never),
            ("context[\"has_case\"] || context.channel == Channel::\"counter\"", TimeUse::Never),
            ("[\"time\", \"context\"].contains(\"hour\")", TimeUse::Never),
            ("{Var: \"context\"} == {Var: \"time\"}", TimeUse::Never),
            ("context.time.hour < 8", TimeUse::Week),
            ("context.has_case && context[\"time\"][\"weekday\"] > 5", TimeUse::Week),
            ("if context.has_case then true else !(context.time.hour == 3)", TimeUse::Week),
            ("context.time.at < datetime(\"2027-01-01\")", TimeUse::Moment),
            (
                "context.time.hour < 8 && context.time.at.toTime() > duration(\"1h\")",
                TimeUse::Moment,
            ),
            ("context.time == {hour: 1}", TimeUse::Moment),
            ("[context].contains({})", TimeUse::Moment),
            ("context == {}", TimeUse::Moment),
            ("{c: context}.c.time.hour == 3", TimeUse::Moment),
        ];
        for (condition, expected) in table {
            assert_eq!(of(condition), expected, "{condition}");
        }
    }
}
