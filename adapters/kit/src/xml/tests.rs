use super::builder::{ATTRIBUTES_MAX, DEPTH_MAX, ELEMENTS_MAX, NAMESPACES_MAX};
use super::*;
use crate::bindings::exports::jumpgate::adapter::adapter as wit;
use crate::{Position, Replies};

fn replies(text: &str) -> Replies {
    let http = wit::HttpReply { status: 200, content_type: String::new(), body: text.into() };
    Replies::new(vec![wit::Reply::Http(http)]).unwrap()
}

/// What `read` makes of the document's root.
fn with_root<T>(text: &str, read: impl FnOnce(Element<'_>) -> T) -> T {
    let replies = replies(text);
    let document = replies.only().unwrap().xml().unwrap();
    read(document.root())
}

fn refused(text: &str) -> (FailureCode, u64) {
    let replies = replies(text);
    let failure = replies.only().unwrap().xml().map(|_| ()).unwrap_err();
    match failure.position {
        Position::Offset(offset) => (failure.code, offset),
        Position::None | Position::Path(_) => panic!("{failure:?}"),
    }
}

#[test]
fn text_is_whole_and_without_space_around_it() {
    let cases = [
        ("<a>x</a>", "x"),
        ("<a> \n x y \t</a>", "x y"),
        ("<a/>", ""),
        ("<a>  </a>", ""),
        ("<a>1 &lt; 2 &amp;&#38; &#x5f20;</a>", "1 < 2 && \u{5f20}"),
        ("<a><![CDATA[<x> & ]]>y</a>", "<x> & y"),
        ("<a>x<!-- no -->y<?no no?>z</a>", "xyz"),
        ("<a>\n <b>in</b>\n</a>", ""),
        ("<a>x\r\ny\rz</a>", "x\ny\nz"),
        ("<a><![CDATA[x\r\ny\rz]]></a>", "x\ny\nz"),
        ("<a>1234567]]8\t9\n\u{5f20}</a>", "1234567]]8\t9\n\u{5f20}"),
        ("<a>&lt; &gt;</a>", "< >"),
        ("<a> x <!-- no --> y </a>", "x  y"),
        ("<a>&amp; <b> in </b>z</a>", "& z"),
        ("<a>x<b/>\r\n <![CDATA[ y]]>\r<?no no?></a>", "x\n  y"),
        ("<a>x</a\n>", "x"),
        ("<?xml version=\"1.0\"?>\n<!-- no -->\n<a>x</a>\n<!-- no -->\n", "x"),
        ("\u{feff}<a>x</a>", "x"),
    ];
    for (text, expected) in cases {
        assert_eq!(with_root(text, |root| root.text().to_owned()), expected, "{text}");
    }
}

#[test]
fn names_are_compared_by_namespace() {
    let text = "<p:a xmlns:p='urn:p' xmlns='urn:q'><b>q</b><p:b>p</p:b>\
                <c xmlns=''>none</c><d xmlns='urn:p'>again</d><e>q</e>\
                <p:f xmlns:p='urn:r'><p:g>r</p:g></p:f></p:a>";
    with_root(text, |root| {
        assert_eq!((root.name(), root.namespace()), ("a", "urn:p"));
        let spaces: Vec<_> = root.children().map(Element::namespace).collect();
        assert_eq!(spaces, ["urn:q", "urn:p", "", "urn:p", "urn:q", "urn:r"]);
        assert_eq!(root.find("b").map(Element::text), Some("p"));
        assert_eq!(root.find("c").map(Element::text), Some("none"));
        assert_eq!(root.find("d").map(Element::text), Some("again"));
        assert!(root.find("e").is_none());
        let other = root.children().last().unwrap();
        assert_eq!(other.find("g").map(Element::text), Some("r"));
    });
    with_root("<a xml:lang='zh'/>", |root| assert_eq!(root.namespace(), ""));
}

#[test]
fn fields_are_found_by_path() {
    let text = "<a><b><c>1</c></b><b><c>2</c></b><d/><e> </e></a>";
    with_root(text, |root| {
        assert_eq!(root.find("b/c").map(Element::text), Some("1"));
        assert_eq!(root.children_named("b").count(), 2);
        assert_eq!(root.children().map(Element::name).collect::<Vec<_>>(), ["b", "b", "d", "e"]);
        let second = root.children_named("b").nth(1).and_then(|b| b.find("c")).unwrap();
        assert_eq!(second.path(), "/a/b[2]/c");
        let failure = root.find("d").unwrap().required("x/y").unwrap_err();
        assert_eq!(failure.code, FailureCode::UnexpectedReply);
        assert_eq!(failure.position, Position::Path("/a/d/x/y".into()));
    });
}

#[test]
fn a_field_is_there_once_or_missing() {
    let text = "<a xmlns:i='http://www.w3.org/2001/XMLSchema-instance' xmlns:j='urn:j'>\
                <date>2008-02-29</date><empty/><nil i:nil='true'>x</nil><one i:nil='1'/>\
                <not i:nil='false'>x</not><other j:nil='true'>x</other>\
                <late xmlns:k='http://www.w3.org/2001/XMLSchema-instance' k:nil='true'>x</late>\
                <twice>x</twice><twice/><b><c>x</c></b></a>";
    let missing = Err(Stop::Undetermined(Reason::MissingField));
    let conflicting = Stop::Undetermined(Reason::ConflictingFields);
    let cases = [
        ("date", Ok("2008-02-29")),
        ("empty", missing.clone()),
        ("nil", missing.clone()),
        ("one", missing.clone()),
        ("late", missing.clone()),
        ("not", Ok("x")),
        ("other", Ok("x")),
        ("gone", missing.clone()),
        ("gone/further", missing.clone()),
        ("b/c", Ok("x")),
        ("twice", Err(conflicting.clone())),
    ];
    with_root(text, |root| {
        for (path, expected) in cases {
            assert_eq!(root.field(path), expected, "{path}");
        }
        assert_eq!(root.optional_field("gone"), Ok(None));
        assert_eq!(root.date("date").map(Date::day), Ok(29));
        assert_eq!(root.date("not"), Err(Stop::Undetermined(Reason::UnusableField)));
        assert_eq!(root.optional_date("nil"), Ok(None));
        assert_eq!(root.optional_date("twice"), Err(conflicting));
    });
}

#[test]
fn attributes_are_read_by_their_plain_name() {
    let text =
        "<p:a xmlns:p='urn:p' type='x &amp; &#121;'\n\tp:kind='z' empty = \"\" w='1\r\n\t2>' />";
    with_root(text, |root| {
        assert_eq!(root.attribute("w").as_deref(), Some("1  2>"));
        assert_eq!(root.attribute("type").as_deref(), Some("x & y"));
        assert_eq!(root.attribute("empty").as_deref(), Some(""));
        assert_eq!(root.attribute("kind"), None);
    });
    // Not well formed, but quick-xml lets it pass.
    with_root("<a b='1'c='2'/>", |root| assert_eq!(root.attribute("c").as_deref(), Some("2")));
}

#[test]
fn what_is_not_well_formed_is_refused_with_its_place() {
    let malformed = |offset| (FailureCode::MalformedReply, offset);
    let cases = [
        ("", malformed(0)),
        ("  ", malformed(2)),
        ("x", malformed(0)),
        ("<a>", malformed(3)),
        ("<a><b></a>", malformed(6)),
        ("<a></a></b>", malformed(7)),
        ("<a/>x", malformed(4)),
        ("<a/><b/>", malformed(4)),
        ("<a>&b;</a>", malformed(3)),
        ("<a>&#0;</a>", malformed(3)),
        ("<a>&#xD800;</a>", malformed(3)),
        ("<p:a/>", malformed(0)),
        ("<a b='1' b='2'/>", malformed(0)),
        ("<a b=1/>", malformed(0)),
        ("<a b='&c;'/>", malformed(0)),
        ("<p:a xmlns:p=''/>", malformed(0)),
        ("<p: xmlns:p='urn:p'/>", malformed(0)),
        ("<!DOCTYPE a><a/>", malformed(0)),
        ("<a/>\n<!DOCTYPE a>", malformed(5)),
        ("<a><!DOCTYPE a></a>", malformed(3)),
        (" <?xml version='1.0'?><a/>", malformed(1)),
        ("<a/><?XML no?>", malformed(4)),
        ("<a/><? no?>", malformed(4)),
        ("<a/><?b=c?>", malformed(4)),
        ("<a/><?b:c?>", malformed(4)),
        ("<a/><?no>", malformed(4)),
        ("<a", malformed(0)),
        ("<", malformed(0)),
        ("<a><1/></a>", malformed(3)),
        ("<a></a b>", malformed(3)),
        ("<a></ab>", malformed(3)),
        ("</a>", malformed(0)),
        ("<a:b:c xmlns:a='urn:a'/>", malformed(0)),
        ("<a b:c=''/>", malformed(0)),
        ("<a xmlns:xml='urn:x'/>", malformed(0)),
        ("<a b='<'/>", malformed(0)),
        ("<a b/>", malformed(0)),
        ("<a b='1", malformed(0)),
        ("<a / >", malformed(0)),
        ("<a>x]]>y</a>", malformed(4)),
        ("<a>1234567\u{1}</a>", malformed(10)),
        ("<a>12345678\u{b}</a>", malformed(11)),
        ("<a>\u{b}]]></a>", malformed(3)),
        ("<a><![CDATA[x</a>", malformed(3)),
        ("<a><![CDATA[\u{2}]]></a>", malformed(3)),
        ("<![CDATA[]]><a/>", malformed(0)),
        ("<![CDATA[ ]]><a/>", malformed(0)),
        ("&#32;<a/>", malformed(0)),
        // The reply takes off the first mark only.
        ("\u{feff}\u{feff}<a/>", malformed(3)),
        ("<>", malformed(0)),
        ("< a/>", malformed(0)),
        ("<a<b/>", malformed(0)),
        ("<:a/>", malformed(0)),
        ("<a :b=''/>", malformed(0)),
        ("<a b='&#1;'/>", malformed(0)),
        ("<a b='\u{1}'/>", malformed(0)),
        ("<a></ a>", malformed(3)),
        ("<a><!-- x</a>", malformed(3)),
        ("<a><!-- x -- y --></a>", malformed(3)),
        ("<a>&b</a>", malformed(3)),
        ("<a>&#x;</a>", malformed(3)),
        ("<a>&#+65;</a>", malformed(3)),
        ("<a>&#xFFFF;</a>", malformed(3)),
        ("<a>&#x110000;</a>", malformed(3)),
    ];
    for (text, expected) in cases {
        assert_eq!(refused(text), expected, "{text}");
    }
}

#[test]
fn limits_hold_and_what_is_at_them_passes() {
    let nested = |depth: usize| format!("{}{}", "<a>".repeat(depth), "</a>".repeat(depth));
    let wide = |count: usize| format!("<r>{}</r>", "<a/>".repeat(count - 1));
    let attributes = |count: usize| {
        let each: String = (0..count).map(|number| format!(" a{number}=''")).collect();
        format!("<r{each}/>")
    };
    let namespaces = |count: usize| {
        let each: String = (0..count).map(|number| format!("<a xmlns='urn:{number}'/>")).collect();
        format!("<r>{each}</r>")
    };
    with_root(&nested(DEPTH_MAX), |root| assert_eq!(root.children().count(), 1));
    with_root(&wide(ELEMENTS_MAX), |root| assert_eq!(root.children().count(), ELEMENTS_MAX - 1));
    with_root(&attributes(ATTRIBUTES_MAX), |root| assert!(root.attribute("a63").is_some()));
    // None and that of the prefix xml are always known.
    with_root(&namespaces(NAMESPACES_MAX - 2), |root| assert_eq!(root.children().count(), 62));
    let too_large = [
        nested(DEPTH_MAX + 1),
        wide(ELEMENTS_MAX + 1),
        attributes(ATTRIBUTES_MAX + 1),
        namespaces(NAMESPACES_MAX - 1),
    ];
    for text in too_large {
        assert_eq!(refused(&text).0, FailureCode::ReplyTooLarge);
    }
}
