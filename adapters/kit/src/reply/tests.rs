use super::*;

fn reply(status: u16, content_type: &str, body: impl Into<Vec<u8>>) -> Reply {
    let http = wit::HttpReply { status, content_type: content_type.into(), body: body.into() };
    Reply::new(3, wit::Reply::Http(http)).unwrap()
}

fn offset(failure: Failure) -> (FailureCode, u64) {
    assert_eq!(failure.reply, 3);
    match failure.position {
        Position::Offset(offset) => (failure.code, offset),
        Position::None | Position::Path(_) => panic!("{failure:?}"),
    }
}

#[test]
fn a_status_has_one_meaning() {
    let cases = [
        (200, None),
        (201, Some(FailureCode::UnexpectedStatus)),
        (302, Some(FailureCode::UnexpectedStatus)),
        (401, Some(FailureCode::DepartmentDenied)),
        (403, Some(FailureCode::DepartmentDenied)),
        (404, Some(FailureCode::UnexpectedStatus)),
        (500, Some(FailureCode::DepartmentError)),
        (599, Some(FailureCode::DepartmentError)),
    ];
    for (status, code) in cases {
        assert_eq!(reply(status, "", "").ok().err().map(|it| it.code), code, "{status}");
    }
}

#[test]
fn the_encoding_is_declared_or_utf_8() {
    let (gb, text) = (b"\xD5\xC5\xCE\xB0".as_slice(), "\u{5f20}\u{4f1f}");
    let inside = |label: &str, body: &[u8]| {
        [format!("<?xml version='1.0' encoding = '{label}' ?>").as_bytes(), body].concat()
    };
    let read = |content_type: &str, body: &[u8]| {
        let reply = reply(200, content_type, body);
        let text = reply.text().map(|text| text.rsplit('>').next().unwrap().to_owned());
        text.map_err(|failure| failure.code)
    };
    let malformed = Err(FailureCode::MalformedReply);
    for label in ["gb18030", "GBK", "\"gb2312\""] {
        assert_eq!(read(&format!("text/xml; charset={label}"), gb), Ok(text.into()), "{label}");
    }
    assert_eq!(read("text/xml", &inside("GB18030", gb)), Ok(text.into()));
    assert_eq!(read("text/xml", text.as_bytes()), Ok(text.into()));
    assert_eq!(read("text/xml; q=1; CHARSET=UTF-8", text.as_bytes()), Ok(text.into()));
    assert_eq!(read("text/xml; charset=gbk", b"\xEF\xBB\xBF\xE5\xBC\xA0"), Ok("\u{5f20}".into()));
    // The media type outranks the declaration.
    assert_eq!(read("text/xml; charset=utf-8", &inside("gbk", text.as_bytes())), Ok(text.into()));
    assert_eq!(read("text/xml; charset=utf-8", gb), malformed);
    assert_eq!(read("text/xml; charset=big5", b"a"), malformed);
    assert_eq!(read("text/xml", &inside("utf-16", b"a")), malformed);
    assert_eq!(read("text/xml; charset=gbk", b"ab\xFF"), malformed);
}

#[test]
fn a_bad_byte_is_found_where_the_department_sent_it() {
    let utf8 = reply(200, "", b"\xEF\xBB\xBFabc\xFFd".as_slice());
    assert_eq!(offset(utf8.text().unwrap_err()), (FailureCode::MalformedReply, 6));
    let gb = reply(200, "text/xml; charset=gbk", b"\xD5\xC5a\xFFb".as_slice());
    assert_eq!(offset(gb.text().unwrap_err()), (FailureCode::MalformedReply, 3));
    // Four-byte characters, then a tag that does not fit.
    let (body, _, _) = GB18030.encode("<a>\u{5f20}\u{20BB7}x\u{f6}<b></a>");
    let gb = reply(200, "text/xml; charset=gb18030", body.as_ref());
    let (code, at) = offset(gb.xml().unwrap_err());
    let tag = body.windows(4).position(|it| it == b"</a>").unwrap() as u64;
    assert_eq!(code, FailureCode::MalformedReply);
    assert_eq!(at, tag);
}

#[test]
fn a_long_text_is_converted_whole() {
    let text = "\u{5f20}a\u{20BB7}\u{20ac}".repeat(5_000);
    let (body, _, _) = GB18030.encode(&text);
    let reply = reply(200, "text/plain; charset=gb18030", body.into_owned());
    assert_eq!(reply.text(), Ok(&*text));
    // The euro of code page 936 grows threefold.
    let euros = self::reply(200, "text/plain; charset=gbk", vec![0x80; 3_000]);
    assert_eq!(euros.text(), Ok(&*"\u{20ac}".repeat(3_000)));
}

#[test]
fn json_that_does_not_fit_says_where() {
    #[derive(Debug, serde::Deserialize)]
    struct Page {
        page: u32,
    }
    let read = |body: &str| {
        let reply = reply(200, "application/json", body);
        reply.json::<Page>().map(|page| page.page).map_err(offset)
    };
    assert_eq!(read(r#"{"page": 7, "more": [1, {"x": null}]}"#), Ok(7));
    assert_eq!(read("{\n  \"page\": \"7\"\n}"), Err((FailureCode::UnexpectedReply, 14)));
    assert_eq!(read("{\n  \"page\": 7,,\n}"), Err((FailureCode::MalformedReply, 14)));
    assert_eq!(read("{}").map_err(|it| it.0), Err(FailureCode::UnexpectedReply));
    assert_eq!(read("").map_err(|it| it.0), Err(FailureCode::MalformedReply));
    assert_eq!(read("{\"page\": 7").map_err(|it| it.0), Err(FailureCode::MalformedReply));
    let deep = format!("{{\"more\": {}", "[".repeat(1_000_000));
    assert_eq!(read(&deep).map_err(|it| it.0), Err(FailureCode::MalformedReply));
}

#[test]
fn a_media_type_belongs_to_a_family() {
    let xml = |content_type| reply(200, content_type, "<a/>").xml().map(|_| ());
    for content_type in ["text/xml", "Application/XML; charset=utf-8", "application/soap+xml", ""] {
        assert_eq!(xml(content_type), Ok(()), "{content_type}");
    }
    for content_type in ["text/html", "application/json", "text/xml-ish", "text"] {
        assert_eq!(xml(content_type).unwrap_err().code, FailureCode::UnexpectedReply);
    }
    let json = |content_type| reply(200, content_type, "1").json::<u8>().map_err(|it| it.code);
    assert_eq!(json("application/json"), Ok(1));
    assert_eq!(json("application/problem+json"), Ok(1));
    assert_eq!(json("text/plain"), Err(FailureCode::UnexpectedReply));
}

#[test]
fn the_only_reply_is_alone() {
    let http = || {
        let body = Vec::new();
        wit::Reply::Http(wit::HttpReply { status: 200, content_type: String::new(), body })
    };
    let replies = |count: usize| Replies::new((0..count).map(|_| http()).collect()).unwrap();
    assert!(replies(1).only().is_ok());
    assert_eq!(replies(0).only().unwrap_err(), Failure::unsupported_query());
    assert_eq!(replies(2).only().unwrap_err(), Failure::unsupported_query());
    assert_eq!(replies(2).all()[1].failure(FailureCode::DepartmentError).reply, 1);
}
