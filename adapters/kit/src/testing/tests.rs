use super::*;
use crate::{Manifest, Query, Replies, Request, Step, Stop};

/// Finds yes where the reply is `<a>yes</a>`.
struct Sample;

impl Adapter for Sample {
    type State = String;

    const MANIFEST: Manifest = Manifest {
        name: "sample",
        version: "1.0.0",
        predicates: &["sample/yes@1"],
        endpoints: &["office"],
        steps_max: 2,
    };

    fn begin(query: &Query) -> Result<Step<String>, Stop> {
        let path = crate::Path::new("/").value(query.subject_kind()).then("/").subject();
        Ok(Step::fetch(Request::get("office", path), "s".repeat(query.integer("state")? as usize)))
    }

    fn resume(_: &Query, _: String, replies: &Replies) -> Result<Step<String>, Stop> {
        let document = replies.only()?.ok()?.xml()?;
        match document.root().text() {
            "again" => Ok(Step::fetch(Request::get("office", "/"), String::new())),
            "" => Err(Reason::MissingField.into()),
            text => Ok((text == "yes").into()),
        }
    }
}

const CASE: &str = r#"
predicate = "sample/yes@1"
subject = { kind = "handle", value = "a/b" }
as_of = "2026-11-01"
parameters = { state = 3 }
expect = { finding = "yes" }
[[exchange]]
step = 1
request = { endpoint = "office", method = "GET", path = "/handle/a%2Fb" }
reply = { status = 200, content_type = "text/xml", body_file = "reply.xml" }
"#;

/// Mistakes of a set of cases: name, case and reply.
fn mistakes_of(cases: &[(&str, &str, &str)]) -> Vec<String> {
    let unique = format!("{}-{:?}", std::process::id(), std::thread::current().id());
    let root = std::env::temp_dir().join(format!("jumpgate-adapter-cases-{unique}"));
    for (name, case, reply) in cases {
        fs::create_dir_all(root.join(name)).unwrap();
        fs::write(root.join(name).join("case.toml"), case).unwrap();
        fs::write(root.join(name).join("reply.xml"), reply).unwrap();
    }
    let mistakes = mistakes::<Sample>(&root);
    fs::remove_dir_all(&root).unwrap();
    let prefix = format!("{}/", root.display());
    mistakes.into_iter().map(|mistake| mistake.replace(&prefix, "")).collect()
}

/// The mistake of one case beside a set without any.
fn mistake_of(case: &str, reply: &str) -> String {
    let no = CASE.replace("\"yes\"", "\"no\"");
    let undetermined = CASE.replace("\"yes\"", "\"undetermined:missing-field\"");
    let mistakes = mistakes_of(&[
        ("yes", CASE, "<a>yes</a>"),
        ("no", &no, "<a>no</a>"),
        ("open", &undetermined, "<a/>"),
        ("_shared", "not a case", ""),
        ("x", case, reply),
    ]);
    assert!(mistakes.len() <= 1, "{mistakes:?}");
    mistakes.into_iter().next().unwrap_or_default()
}

#[test]
fn a_set_of_cases_without_mistakes_has_none() {
    assert_eq!(mistake_of(CASE, "<a>yes</a>"), "");
}

#[test]
fn each_predicate_needs_three_kinds_of_finding() {
    let mistakes = mistakes_of(&[("yes", CASE, "<a>yes</a>")]);
    let expected = [
        "sample/yes@1 has no case that finds no",
        "sample/yes@1 has no case that finds undetermined",
    ];
    assert_eq!(mistakes, expected);
}

#[test]
fn a_mistake_is_named() {
    let yes = "<a>yes</a>";
    let cases = [
        (CASE.to_owned(), "<a>no</a>", "finds no, should find yes"),
        (
            CASE.to_owned(),
            "<a>\n<b>\n</a>",
            "finds failure:malformed-reply at reply.xml line 3 (byte 8), should find yes",
        ),
        (
            CASE.replace("status = 200", "status = 500"),
            yes,
            "finds failure:department-error at reply.xml, should find yes",
        ),
        (CASE.to_owned(), "<a>again</a>", "step 2, the last of the manifest, still fetches"),
        (CASE.replace("GET", "POST"), yes, "step 1: method is\n  GET\nand should be\n  POST"),
        (
            CASE.replace("%2F", "/"),
            yes,
            "step 1: path is\n  /handle/a%2Fb\nand should be\n  /handle/a/b",
        ),
        (CASE.replace("step = 1", "step = 2"), yes, "step 1 makes 1 requests, the case has 0"),
        (CASE.replace("= 3", "= 4095"), yes, "step 1: the state has 4097 bytes"),
        (
            CASE.replace("reply.xml", "lost.xml"),
            yes,
            "lost.xml: No such file or directory (os error 2)",
        ),
        (CASE.replace("as_of = \"2026-11", "as_of = \"2026-13"), yes, "as_of is no date"),
        (CASE.replace("yes@1", "yes"), yes, "predicate has no version"),
    ];
    for (case, reply, expected) in cases {
        assert_eq!(mistake_of(&case, reply), format!("x: {expected}"));
    }
    assert!(mistake_of(&CASE.replace("as_of", "asof"), yes).contains("unknown field"));
}

#[test]
fn a_recorded_body_and_header_are_compared() {
    let body = CASE.replace("a%2Fb\"", "a%2Fb\", body_file = \"reply.xml\"");
    assert!(mistake_of(&body, "<a>yes</a>").contains("body is"));
    let header = CASE.replace("a%2Fb\"", "a%2Fb\", headers = { accept = \"text/xml\" }");
    assert!(mistake_of(&header, "<a>yes</a>").contains("accept is"));
}
