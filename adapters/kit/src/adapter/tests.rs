use super::*;
use crate::bindings::exports::jumpgate::adapter::adapter::Guest;

/// Asks as often as `times` says, remembers how often it has, and tells by the last status.
struct Counter;

impl Adapter for Counter {
    type State = u32;

    const MANIFEST: Manifest = Manifest {
        name: "counter",
        version: "1.2.3",
        predicates: &["office/counted@2"],
        endpoints: &["office"],
        steps_max: 4,
    };

    fn begin(query: &Query) -> Result<Step<u32>, Stop> {
        if query.predicate() != "office/counted@2" {
            return Err(Failure::unsupported_query().into());
        }
        query.text("letter")?;
        Ok(Step::fetch(Request::get("office", "/1"), 1))
    }

    fn resume(query: &Query, asked: u32, replies: &Replies) -> Result<Step<u32>, Stop> {
        if i64::from(asked) < query.integer("times")? {
            let requests = vec![Request::get("office", "/2"), Request::get("office", "/3")];
            return Ok(Step::Fetch(requests, asked + 1));
        }
        match replies.all().last().map(crate::Reply::status) {
            Some(404) => Err(Reason::MissingField.into()),
            Some(200) => Ok(true.into()),
            _ => Ok(false.into()),
        }
    }
}

fn query() -> wit::Query {
    let parameter = |name: &str, value| wit::Parameter { name: name.into(), value };
    wit::Query {
        predicate: "office/counted".into(),
        version: 2,
        parameters: vec![
            parameter("times", wit::ParameterValue::Integer(2)),
            parameter("letter", wit::ParameterValue::Text("a".into())),
        ],
        subject_kind: "handle".into(),
        as_of: wit::Date { year: 2026, month: 11, day: 1 },
        subject: None,
    }
}

fn reply(status: u16) -> wit::Reply {
    wit::Reply::Http(wit::HttpReply { status, content_type: String::new(), body: Vec::new() })
}

fn fetched(step: Result<wit::Step, Failure>) -> wit::Fetch {
    match step {
        Ok(wit::Step::Fetch(fetch)) => fetch,
        other => panic!("{other:?}"),
    }
}

#[test]
fn the_state_travels_from_step_to_step() {
    let first = fetched(Exported::<Counter>::begin(query()));
    assert_eq!(first.requests.len(), 1);
    let second = Exported::<Counter>::resume(query(), first.state, vec![reply(404)]);
    let second = fetched(second);
    assert_eq!(second.requests.len(), 2);
    let last = |status| {
        let replies = vec![reply(500), reply(status)];
        Exported::<Counter>::resume(query(), second.state.clone(), replies)
    };
    assert_eq!(last(200), Ok(wit::Step::Finding(Finding::Yes)));
    assert_eq!(last(500), Ok(wit::Step::Finding(Finding::No)));
    let undetermined = Finding::Undetermined(Reason::MissingField);
    assert_eq!(last(404), Ok(wit::Step::Finding(undetermined)));
}

#[test]
fn what_is_not_the_adapters_own_is_unsupported() {
    let begin = |change: fn(&mut wit::Query)| {
        let mut query = query();
        change(&mut query);
        Exported::<Counter>::begin(query).map(|_| ())
    };
    let unsupported = Err(Failure::unsupported_query());
    assert_eq!(begin(|_| {}), Ok(()));
    assert_eq!(begin(|query| query.version = 1), unsupported);
    assert_eq!(begin(|query| query.predicate = "office/other".into()), unsupported);
    assert_eq!(begin(|query| query.as_of.day = 31), unsupported);
    assert_eq!(begin(|query| query.parameters.truncate(1)), unsupported);
    assert_eq!(
        begin(|query| query.parameters[1].value = wit::ParameterValue::Integer(1)),
        unsupported
    );
    for state in ["", "x", "-1", "{}", "1 2"] {
        let resumed = Exported::<Counter>::resume(query(), state.into(), vec![reply(200)]);
        assert_eq!(resumed.map(|_| ()), unsupported, "{state}");
    }
    let sql = wit::SqlReply { columns: Vec::new(), rows: Vec::new() };
    let resumed = Exported::<Counter>::resume(query(), "2".into(), vec![wit::Reply::Sql(sql)]);
    assert_eq!(resumed.map(|_| ()), unsupported);
}

#[test]
fn the_manifest_is_described() {
    let manifest = Exported::<Counter>::describe();
    assert_eq!((&*manifest.name, &*manifest.version), ("counter", "1.2.3"));
    assert_eq!(manifest.predicates, ["office/counted@2"]);
    assert_eq!(manifest.endpoints, ["office"]);
    assert_eq!(manifest.steps_max, 4);
}
