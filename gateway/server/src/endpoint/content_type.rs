//! What a Content-Type says that an escaping or an allow-list depends on (RFC 9110 §8.3). Pure.

/// A Content-Type, read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct ContentType<'a> {
    pub(super) format: Format,
    /// True if a charset is named that is not UTF-8.
    pub(super) is_other_charset: bool,
    /// The `action` parameter, where SOAP 1.2 names its action (RFC 3902).
    pub(super) action: Option<&'a str>,
}

/// The syntax of a body.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Format {
    /// `application/x-www-form-urlencoded`.
    Form,
    /// `application/json` and relatives.
    Json,
    /// Any other.
    Other,
    /// `text/xml`, `application/xml` and relatives.
    Xml,
}

impl<'a> ContentType<'a> {
    /// None if the text is malformed, names a parameter twice or needs a quoted pair: whoever reads
    /// it next could read it differently.
    pub(super) fn parse(text: &'a str) -> Option<Self> {
        let (essence, mut rest) = text.split_once(';').unwrap_or((text, ""));
        let mut read =
            Self { format: Format::of(essence.trim())?, is_other_charset: false, action: None };
        let mut charset = None;
        while !rest.trim().is_empty() {
            let (name, value, after) = parameter(rest)?;
            rest = after;
            let seen = if name.eq_ignore_ascii_case("charset") {
                &mut charset
            } else if name.eq_ignore_ascii_case("action") {
                &mut read.action
            } else {
                continue;
            };
            if seen.replace(value).is_some() {
                return None;
            }
        }
        read.is_other_charset = charset.is_some_and(|name| !name.eq_ignore_ascii_case("utf-8"));
        Some(read)
    }
}

impl Format {
    fn of(essence: &str) -> Option<Self> {
        let essence = essence.to_ascii_lowercase();
        let (kind, subtype) = essence.split_once('/')?;
        if !is_token(kind) || !is_token(subtype) {
            return None;
        }
        Some(match subtype {
            "x-www-form-urlencoded" => Self::Form,
            "json" => Self::Json,
            "xml" => Self::Xml,
            _ if subtype.ends_with("+json") => Self::Json,
            _ if subtype.ends_with("+xml") => Self::Xml,
            _ => Self::Other,
        })
    }
}

/// `name=token` or `name="text"`, and what stands after its semicolon.
fn parameter(text: &str) -> Option<(&str, &str, &str)> {
    let (name, value) = text.split_once('=')?;
    let (value, after) = match value.strip_prefix('"') {
        Some(quoted) => quoted.split_once('"')?,
        None => {
            let end = value.find(';').unwrap_or(value.len());
            let (token, after) = value.split_at(end);
            (Some(token.trim_end()).filter(|token| is_token(token))?, after)
        }
    };
    let after = after.trim_start();
    let after = if after.is_empty() { after } else { after.strip_prefix(';')? };
    (is_token(name.trim()) && !value.contains('\\')).then_some((name.trim(), value, after))
}

fn is_token(text: &str) -> bool {
    !text.is_empty()
        && text
            .bytes()
            .all(|byte| byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&byte))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn formats_and_parameters_are_read() {
        let check = |text, format, is_other_charset, action| {
            let expected = ContentType { format, is_other_charset, action };
            assert_eq!(ContentType::parse(text), Some(expected), "{text}");
        };
        check("text/xml", Format::Xml, false, None);
        check("Text/XML; Charset=\"UTF-8\"", Format::Xml, false, None);
        check("text/xml;charset=gbk", Format::Xml, true, None);
        check(
            "application/soap+xml; charset=utf-8; action=\"a;b\" ; x=1",
            Format::Xml,
            false,
            Some("a;b"),
        );
        check("application/problem+json", Format::Json, false, None);
        check("application/x-www-form-urlencoded", Format::Form, false, None);
        check("text/plain;", Format::Other, false, None);
    }

    #[test]
    fn what_could_be_read_in_two_ways_is_not_read() {
        for text in [
            "",
            "xml",
            "/xml",
            "text/",
            "text/xml text/plain",
            "text/xml, application/json",
            "text/xml; action=a; action=b",
            "text/xml; charset=utf-8; CHARSET=gbk",
            "text/xml; action=\"a\\\"b\"",
            "text/xml; action=\"a",
            "text/xml; action=\"a\"b",
            "text/xml; action=a b",
            "text/xml; action",
            "text/xml; =a",
        ] {
            assert_eq!(ContentType::parse(text), None, "{text}");
        }
    }
}
