use super::*;
use crate::bindings::exports::jumpgate::adapter::adapter as wit;
use crate::{Position, Replies};

fn body(request: Request) -> String {
    let wit::Request::Http(http) = request.into_item().request else { panic!("not HTTP") };
    let piece = |chunk: &wit::Chunk| match chunk {
        wit::Chunk::Literal(bytes) => String::from_utf8(bytes.clone()).unwrap(),
        wit::Chunk::Subject(Escaping::XmlText) => "SUBJECT".into(),
        wit::Chunk::Subject(other) => panic!("{other:?}"),
    };
    http.body.iter().map(piece).collect()
}

fn write(xml: Xml) -> Xml {
    xml.element_with("Id", &[("type", "a\"<b")], |id| id.subject())
        .element("View", |view| view.text("x < y").element("Empty", |empty| empty))
}

#[test]
fn a_request_is_an_envelope_around_escaped_text() {
    let soap = Soap11::new("urn:a&b", "urn:a/Find");
    let request = soap.post("office", "/soap", "Find", write);
    assert_eq!(
        body(request),
        "<?xml version=\"1.0\" encoding=\"utf-8\"?>\
         <s:Envelope xmlns:s=\"http://schemas.xmlsoap.org/soap/envelope/\"><s:Body>\
         <m:Find xmlns:m=\"urn:a&amp;b\"><m:Id type=\"a&quot;&lt;b\">SUBJECT</m:Id>\
         <m:View>x &lt; y<m:Empty></m:Empty></m:View></m:Find></s:Body></s:Envelope>"
    );
    let request = soap.unqualified().post("office", "/soap", "Find", write);
    assert!(body(request).contains("<Id type=\"a&quot;&lt;b\">SUBJECT</Id><View>"));
}

#[test]
fn a_request_names_its_action_and_type() {
    let item = Soap11::new("urn:a", "urn:a/Find").post("o", "/s", "Find", write).into_item();
    assert!(!item.safe_to_retry);
    let wit::Request::Http(http) = item.request else { panic!("not HTTP") };
    let headers: Vec<_> = http.headers.iter().map(|it| (&*it.name, it.value.clone())).collect();
    let literal = |text: &str| vec![wit::Chunk::Literal(text.into())];
    let expected = [
        ("content-type", literal("text/xml; charset=utf-8")),
        ("soapaction", literal("\"urn:a/Find\"")),
    ];
    assert_eq!(headers, expected);
}

#[test]
fn the_payload_is_found_or_the_reply_refused() {
    let unexpected = FailureCode::UnexpectedReply;
    let cases = [
        (
            "<s:Envelope xmlns:s=\"E\"><s:Header/><s:Body><r xmlns=\"urn:a\"/></s:Body>\
             </s:Envelope>",
            None,
        ),
        ("<s:Envelope xmlns:s=\"F\"><s:Body><a:r xmlns:a=\"urn:a\"/></s:Body></s:Envelope>", None),
        (
            "<s:Envelope xmlns:s=\"E\"><s:Body><s:Fault/></s:Body></s:Envelope>",
            Some((FailureCode::DepartmentError, "/Envelope/Body/Fault")),
        ),
        (
            "<s:Envelope xmlns:s=\"E\"><s:Body><r xmlns=\"urn:b\"/></s:Body></s:Envelope>",
            Some((unexpected, "/Envelope/Body/r")),
        ),
        (
            "<s:Envelope xmlns:s=\"E\"><s:Body><q xmlns=\"urn:a\"/></s:Body></s:Envelope>",
            Some((unexpected, "/Envelope/Body/q")),
        ),
        (
            "<s:Envelope xmlns:s=\"E\"><s:Body><r xmlns=\"urn:a\"/><r/></s:Body></s:Envelope>",
            Some((unexpected, "/Envelope/Body/r[1]")),
        ),
        ("<s:Envelope xmlns:s=\"E\"><s:Body/></s:Envelope>", Some((unexpected, "/Envelope/Body"))),
        ("<s:Envelope xmlns:s=\"E\"/>", Some((unexpected, "/Envelope/Body"))),
        ("<s:Envelope xmlns:s=\"urn:s\"/>", Some((unexpected, "/Envelope"))),
        ("<html/>", Some((unexpected, "/html"))),
    ];
    for (text, expected) in cases {
        let text = text.replace("\"E\"", &format!("\"{ENVELOPE_1_1}\""));
        let body = text.replace("\"F\"", &format!("\"{ENVELOPE_1_2}\"")).into_bytes();
        let http = wit::HttpReply { status: 200, content_type: "text/xml".into(), body };
        let replies = Replies::new(vec![wit::Reply::Http(http)]).unwrap();
        let document = replies.only().unwrap().xml().unwrap();
        let failure = document.soap_body("urn:a", "r").map(Element::name).err();
        let expected = expected.map(|(code, path)| Failure {
            code,
            reply: 0,
            position: Position::Path(path.into()),
        });
        assert_eq!(failure, expected, "{text}");
    }
}
