use super::*;

/// Chunks with the subject written as its escaping.
fn shown(chunks: &[wit::Chunk]) -> String {
    let piece = |chunk: &wit::Chunk| match chunk {
        wit::Chunk::Literal(bytes) => String::from_utf8(bytes.clone()).unwrap(),
        wit::Chunk::Subject(escaping) => format!("<{escaping:?}>").replace("Escaping::", ""),
    };
    chunks.iter().map(piece).collect()
}

#[test]
fn a_path_escapes_values_and_leaves_a_hole_for_the_subject() {
    let path = Path::new("/v2/").value("a/b?c").then("/").subject().then("?x=").value("1 2");
    let item = Request::get("office", path).accept("application/json").into_item();
    assert!(item.safe_to_retry);
    assert_eq!(item.endpoint, "office");
    let wit::Request::Http(http) = item.request else { panic!("not HTTP") };
    assert_eq!(http.method, wit::Method::Get);
    assert_eq!(http.path.len(), 3, "neighbouring literals are one chunk");
    assert_eq!(shown(&http.path), "/v2/a%2Fb%3Fc/<UrlComponent>?x=1%202");
    assert_eq!(http.headers.len(), 1);
    assert_eq!(http.headers[0].name, "accept");
    assert!(http.body.is_empty());
}

#[test]
fn a_json_body_is_json_around_the_subject() {
    let inner = JsonObject::new().subject("id").text("kind", "pass\"port");
    let body = JsonObject::new().object("person", inner).integer("page", -1);
    let body = body.object("empty", JsonObject::new());
    let item = Request::post_json("office", "/find", body).into_item();
    assert!(!item.safe_to_retry);
    let wit::Request::Http(http) = item.request else { panic!("not HTTP") };
    assert_eq!(http.method, wit::Method::Post);
    assert_eq!(shown(&http.headers[0].value), "application/json");
    let expected = r#"{"person":{"id":"<JsonString>","kind":"pass\"port"},"page":-1,"empty":{}}"#;
    assert_eq!(shown(&http.body), expected);
    assert!(serde_json::from_str::<serde::de::IgnoredAny>(expected).is_ok());
}

#[test]
fn a_form_body_is_a_form_around_the_subject() {
    let body = Form::new().field("a b", "c&d").subject("id").field("e", "");
    let item = Request::post_form("office", "/find", body).safe_to_retry().into_item();
    assert!(item.safe_to_retry);
    let wit::Request::Http(http) = item.request else { panic!("not HTTP") };
    assert_eq!(shown(&http.headers[0].value), "application/x-www-form-urlencoded");
    assert_eq!(shown(&http.body), "a+b=c%26d&id=<Form>&e=");
}
