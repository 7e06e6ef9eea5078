use jumpgate_runtime::contract::{Header, Method};
use proptest::prelude::*;
use quick_xml::Reader;
use quick_xml::events::Event;

use super::*;

fn literal(text: &str) -> Chunk {
    Chunk::Literal(text.as_bytes().to_vec())
}

fn header(name: &str, value: Vec<Chunk>) -> Header {
    Header { name: name.to_owned(), value }
}

fn get(path: Vec<Chunk>) -> HttpRequest {
    HttpRequest { method: Method::Get, path, headers: vec![], body: vec![] }
}

fn post(content_type: &str, body: Vec<Chunk>) -> HttpRequest {
    let headers = vec![header("content-type", vec![literal(content_type)])];
    HttpRequest { method: Method::Post, path: vec![literal("/p")], headers, body }
}

/// The body of `before`, the subject, `after`.
fn body_of(content_type: &str, parts: [&str; 2], escaping: Escaping, subject: &str) -> Vec<u8> {
    let body = vec![literal(parts[0]), Chunk::Subject(escaping), literal(parts[1])];
    let assembled = assemble(&post(content_type, body), subject, "", 1 << 16);
    assembled.map(|assembled| assembled.body.to_vec()).expect("the escaping fits")
}

/// Written apart from the code under test: what a server does with a query value.
fn percent_decoded(text: &str, plus: char) -> String {
    let mut bytes = Vec::new();
    let mut rest = text.chars();
    while let Some(character) = rest.next() {
        if character == '%' {
            let digits: String = rest.by_ref().take(2).collect();
            bytes.push(u8::from_str_radix(&digits, 16).expect("two digits"));
        } else {
            let decoded = if character == '+' { plus } else { character };
            bytes.extend_from_slice(decoded.to_string().as_bytes());
        }
    }
    String::from_utf8(bytes).expect("UTF-8 stays UTF-8")
}

fn printable() -> impl Strategy<Value = String> {
    "\\PC{0,40}|[<>&'\"\\]\\[!;/ a-z-]{0,40}".prop_filter("XML has no such characters", |text| {
        !text.chars().any(|c| c.is_control() || matches!(c, '\u{FFFE}' | '\u{FFFF}'))
    })
}

fn any_text() -> impl Strategy<Value = String> {
    prop_oneof![any::<String>(), "[&=+%;/?#.\\\\\"\u{0}-\u{1f} a-z]{0,40}"]
}

proptest! {
    #[test]
    fn xml_reads_back_as_the_subject(subject in printable()) {
        let text = body_of("text/xml", ["<a>", "</a>"], Escaping::XmlText, &subject);
        let mut reader = Reader::from_str(str::from_utf8(&text).unwrap());
        let mut read = String::new();
        let mut elements = 0;
        loop {
            match reader.read_event().unwrap() {
                Event::Start(_) => elements += 1,
                Event::Text(text) => read.push_str(&text.into_inner()),
                Event::GeneralRef(name) => {
                    let text = quick_xml::escape::resolve_predefined_entity(&name);
                    read.push_str(text.expect("a predefined entity"));
                }
                Event::End(_) => {}
                Event::Eof => break,
                other => prop_assert!(false, "the subject became {other:?}"),
            }
        }
        prop_assert_eq!((elements, read), (1, subject));
    }

    #[test]
    fn an_xml_attribute_reads_back_as_the_subject(subject in printable()) {
        for parts in [["<a b=\"", "\" c=''/>"], ["<a b='", "' c=\"\"/>"]] {
            let text = body_of("a/b+xml", parts, Escaping::XmlText, &subject);
            let mut reader = Reader::from_str(str::from_utf8(&text).unwrap());
            let Event::Empty(tag) = reader.read_event().unwrap() else { panic!("one element") };
            let attributes: Vec<_> = tag.attributes().map(Result::unwrap).collect();
            prop_assert_eq!(attributes.len(), 2);
            let read = quick_xml::escape::unescape(&attributes[0].value).unwrap();
            prop_assert_eq!(read, subject.as_str());
        }
    }

    #[test]
    fn json_reads_back_as_the_subject(subject in any_text()) {
        let parts = ["{\"id\":\"", "\",\"n\":1}"];
        let text = body_of("application/json", parts, Escaping::JsonString, &subject);
        let read: serde_json::Value = serde_json::from_slice(&text).unwrap();
        prop_assert_eq!(read, serde_json::json!({ "id": subject, "n": 1 }));
    }

    #[test]
    fn a_form_reads_back_as_the_subject(subject in any_text()) {
        let kind = "application/x-www-form-urlencoded";
        let text = String::from_utf8(body_of(kind, ["id=", "&n=1"], Escaping::Form, &subject));
        let text = text.unwrap();
        let fields: Vec<&str> = text.split('&').collect();
        prop_assert_eq!((fields.len(), fields[1]), (2, "n=1"));
        let value = fields[0].strip_prefix("id=").expect("the first field");
        prop_assert_eq!(percent_decoded(value, ' '), subject);
    }

    #[test]
    fn a_query_reads_back_as_the_subject(subject in any_text()) {
        let chunk = Chunk::Subject(Escaping::UrlComponent);
        let request = get(vec![literal("/p?id="), chunk, literal("&n=1")]);
        let target = assemble(&request, &subject, "/base", 1 << 16).map(|it| it.target).unwrap();
        let target = str::from_utf8(&target).unwrap();
        let value = target.strip_prefix("/base/p?id=").and_then(|rest| rest.strip_suffix("&n=1"));
        prop_assert_eq!(percent_decoded(value.expect("nothing else moved"), '+'), subject);
    }

    #[test]
    fn a_subject_in_a_path_stays_one_segment_or_is_denied(subject in any_text()) {
        let chunk = Chunk::Subject(Escaping::UrlComponent);
        let request = get(vec![literal("/p/"), chunk, literal("/r")]);
        match assemble(&request, &subject, "", 1 << 16) {
            Err(denied) => prop_assert_eq!(denied, Denied::PathNotPlain),
            Ok(assembled) => {
                let target = String::from_utf8(assembled.target.to_vec()).unwrap();
                let segments: Vec<&str> = target.split('/').collect();
                prop_assert_eq!((segments.len(), segments[1], segments[3]), (4, "p", "r"));
                prop_assert!(!segments[2].contains(['?', '#']));
                prop_assert_eq!(percent_decoded(segments[2], '+'), subject);
            }
        }
    }
}

#[test]
fn an_ordinary_identifier_stands_in_a_path() {
    let chunk = Chunk::Subject(Escaping::UrlComponent);
    let request = get(vec![literal("/persons/"), chunk, literal("?full=0")]);
    let assembled = assemble(&request, "G 123-张", "/api", 100).map(|it| it.target);
    assert_eq!(assembled.as_deref(), Ok(&b"/api/persons/G%20123-%E5%BC%A0?full=0"[..]));
}

#[test]
fn an_escaping_fits_its_place_or_is_denied() {
    use Escaping::{Form, JsonString, Plain, UrlComponent, XmlText};
    const ALL: [Escaping; 5] = [Plain, XmlText, JsonString, UrlComponent, Form];
    let check = |name: &str, fitting: &[Escaping], request: &dyn Fn(Chunk) -> HttpRequest| {
        for escaping in ALL {
            let result = assemble(&request(Chunk::Subject(escaping)), "A1", "", 1000);
            let expected =
                if fitting.contains(&escaping) { None } else { Some(Denied::EscapingUnfit) };
            assert_eq!(result.err(), expected, "{escaping:?} in {name}");
        }
    };
    check("a path", &[UrlComponent], &|chunk| get(vec![literal("/"), chunk]));
    check("a query", &[UrlComponent, Form], &|chunk| get(vec![literal("/?a="), chunk]));
    check("a header", &[UrlComponent], &|chunk| {
        let headers = vec![header("accept", vec![literal("a/b;c="), chunk])];
        HttpRequest { headers, ..get(vec![literal("/")]) }
    });
    check("XML", &[XmlText, UrlComponent], &|chunk| post("application/soap+xml", vec![chunk]));
    check("JSON", &[JsonString, UrlComponent], &|chunk| post("application/json", vec![chunk]));
    let form = "application/x-www-form-urlencoded";
    check("a form", &[Form, UrlComponent], &|chunk| post(form, vec![chunk]));
    check("another body", &ALL, &|chunk| post("text/plain", vec![chunk]));
}

#[test]
fn xml_refuses_what_it_cannot_carry() {
    for subject in ["a\0", "a\n", "\ta", "a\u{7f}", "a\u{85}", "\u{FFFE}", "\u{FFFF}"] {
        let request = post("text/xml", vec![Chunk::Subject(Escaping::XmlText)]);
        let result = assemble(&request, subject, "", 1000);
        assert_eq!(result.err(), Some(Denied::SubjectUnprintable), "{subject:?}");
    }
}

#[test]
fn a_path_is_plain_or_denied() {
    for path in [
        "/",
        "/a",
        "/a/",
        "/a/b.c",
        "/a;v=1/b",
        "/a..b",
        "/.well-known",
        "/a%20b",
        "/%E5%BC%A0",
        "/a?b=../%2e%2F//",
        "/a:b@c!$&'()*+,=~",
    ] {
        assert!(plain_path(path.as_bytes()).is_some(), "{path}");
    }
    for path in [
        "",
        "a",
        "?a",
        "//a",
        "/a//b",
        "/..",
        "/../a",
        "/a/..",
        "/a/../b",
        "/./a",
        "/a/.",
        "/..;/a",
        "/.;x/a",
        "/%2e%2e/a",
        "/%2E/a",
        "/a%2fb",
        "/a%2Fb",
        "/a%5cb",
        "/a%5Cb",
        "/a\\b",
        "/a%252e",
        "/a%00",
        "/a%0d%0a",
        "/a%7f",
        "/a#b",
        "/a b",
        "/a\nb",
        "/a\0",
        "/a%",
        "/a%2",
        "/a%zz",
        "/a%+1",
        "/张",
        "http://other/a",
        "/a?b#c",
        "/a?b c",
        "/a?\\",
        "/a?%zz",
        "/a\"b",
        "/a<b",
        "/a|b",
        "/a^b",
        "/a`b",
        "/a{b",
    ] {
        assert_eq!(plain_path(path.as_bytes()), None, "{path:?}");
        let denied = assemble(&get(vec![literal(path)]), "A1", "/base", 1000).err();
        assert_eq!(denied, Some(Denied::PathNotPlain), "{path:?}");
    }
}

#[test]
fn headers_are_of_the_four_once_and_printable() {
    let check = |headers: &[(&str, &str)], expected| {
        let owned = |(name, value): &(&str, &str)| header(name, vec![literal(value)]);
        let headers = headers.iter().map(owned).collect();
        let request = HttpRequest { headers, ..get(vec![literal("/")]) };
        assert_eq!(assemble(&request, "A1", "", 1000).err(), expected);
    };
    check(&[("accept", "a/b"), ("accept-language", "en"), ("soapaction", "\"\"")], None);
    check(&[("content-type", "text/xml")], None);
    check(&[("Accept", "a/b")], Some(Denied::HeaderNotAllowed));
    check(&[("host", "other")], Some(Denied::HeaderNotAllowed));
    check(&[("authorization", "Basic x")], Some(Denied::HeaderNotAllowed));
    check(&[("transfer-encoding", "chunked")], Some(Denied::HeaderNotAllowed));
    check(&[("accept", "a/b"), ("accept", "a/c")], Some(Denied::HeaderTwice));
    check(&[("accept", "a\r\nx: y")], Some(Denied::HeaderValueMalformed));
    check(&[("accept", "a\tb")], Some(Denied::HeaderValueMalformed));
    check(&[("accept", "é")], Some(Denied::HeaderValueMalformed));
    check(
        &[("content-type", "text/xml; charset=a; charset=b")],
        Some(Denied::ContentTypeMalformed),
    );
}

#[test]
fn a_body_has_a_type_and_a_post() {
    let body = || vec![literal("x")];
    let untyped = HttpRequest { headers: vec![], ..post("text/plain", body()) };
    assert_eq!(assemble(&untyped, "A1", "", 1000).err(), Some(Denied::BodyUntyped));
    let with_get = HttpRequest { method: Method::Get, ..post("text/plain", body()) };
    assert_eq!(assemble(&with_get, "A1", "", 1000).err(), Some(Denied::BodyWithGet));
    let empty = HttpRequest { body: vec![], ..post("text/plain", vec![]) };
    assert_eq!(assemble(&empty, "A1", "", 1000).err(), None);
}

#[test]
fn the_limit_counts_path_header_values_and_body_together() {
    // 2 bytes of path, 10 of the content type, 4 + 3 of the body.
    let request =
        || post("text/plain", vec![literal("abcd"), Chunk::Subject(Escaping::UrlComponent)]);
    assert_eq!(assemble(&request(), "&", "/base", 19).err(), None);
    assert_eq!(assemble(&request(), "&", "/base", 18).err(), Some(Denied::TooLarge));
    assert_eq!(assemble(&request(), "&", "/base", 15).err(), Some(Denied::TooLarge));
    assert_eq!(assemble(&request(), "&", "/base", 1).err(), Some(Denied::TooLarge));
    assert_eq!(Denied::TooLarge.code(), FaultCode::AdapterOutputTooLarge);
    assert_eq!(Denied::NotAllowed.code(), FaultCode::AdapterRequestDenied);
}

#[test]
fn a_plain_request_is_what_would_be_sent() {
    let body = vec![literal("id="), Chunk::Subject(Escaping::Form)];
    let request = post("application/x-www-form-urlencoded", body);
    let plain = assemble_plain(&request, "A 1").ok().unwrap();
    assert_eq!(
        (plain.method, plain.path.as_str(), plain.body.as_slice()),
        ("POST", "/p", &b"id=A+1"[..])
    );
    let expected = ("content-type".to_owned(), "application/x-www-form-urlencoded".to_owned());
    assert_eq!(plain.headers, [expected]);
    let denied = assemble_plain(&get(vec![literal("/..")]), "A 1").err();
    assert_eq!(denied, Some(Denied::PathNotPlain.to_string()));
}
