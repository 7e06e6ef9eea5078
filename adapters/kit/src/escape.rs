//! Escaping of text for the place it is written to. Bytes that are safe stay as they are.

/// XML character data and attribute values (XML 1.0, section 2.4). Tab, line feed and carriage
/// return become references, for an attribute would lose them.
pub(crate) fn xml_text(text: &str, out: &mut Vec<u8>) {
    for byte in text.bytes() {
        match byte {
            b'&' => out.extend(b"&amp;"),
            b'<' => out.extend(b"&lt;"),
            b'>' => out.extend(b"&gt;"),
            b'"' => out.extend(b"&quot;"),
            b'\'' => out.extend(b"&apos;"),
            b'\t' => out.extend(b"&#9;"),
            b'\n' => out.extend(b"&#10;"),
            b'\r' => out.extend(b"&#13;"),
            _ => out.push(byte),
        }
    }
}

/// The inside of a JSON string (RFC 8259, section 7).
pub(crate) fn json_string(text: &str, out: &mut Vec<u8>) {
    for byte in text.bytes() {
        match byte {
            b'"' | b'\\' => out.extend([b'\\', byte]),
            0..0x20 => out.extend(format!("\\u{byte:04x}").bytes()),
            _ => out.push(byte),
        }
    }
}

/// One path segment or query value (RFC 3986, section 2.3).
pub(crate) fn url_component(text: &str, out: &mut Vec<u8>) {
    for byte in text.bytes() {
        match byte {
            b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'-' | b'.' | b'_' | b'~' => out.push(byte),
            _ => percent(byte, out),
        }
    }
}

/// One value of `application/x-www-form-urlencoded` (WHATWG URL standard, section 5.2).
pub(crate) fn form(text: &str, out: &mut Vec<u8>) {
    for byte in text.bytes() {
        match byte {
            b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'*' | b'-' | b'.' | b'_' => out.push(byte),
            b' ' => out.push(b'+'),
            _ => percent(byte, out),
        }
    }
}

fn percent(byte: u8, out: &mut Vec<u8>) {
    const DIGITS: [u8; 16] = *b"0123456789ABCDEF";
    out.extend([b'%', DIGITS[usize::from(byte >> 4)], DIGITS[usize::from(byte & 15)]]);
}

#[cfg(test)]
mod tests {
    use super::*;

    fn escaped(escape: fn(&str, &mut Vec<u8>), text: &str) -> String {
        let mut out = Vec::new();
        escape(text, &mut out);
        String::from_utf8(out).unwrap()
    }

    #[test]
    fn each_place_has_its_own_escaping() {
        let text = "a<&>\"'\\/ +*~\t\u{5f20}";
        assert_eq!(escaped(xml_text, text), "a&lt;&amp;&gt;&quot;&apos;\\/ +*~&#9;\u{5f20}");
        assert_eq!(escaped(json_string, text), "a<&>\\\"'\\\\/ +*~\\u0009\u{5f20}");
        assert_eq!(escaped(url_component, text), "a%3C%26%3E%22%27%5C%2F%20%2B%2A~%09%E5%BC%A0");
        assert_eq!(escaped(form, text), "a%3C%26%3E%22%27%5C%2F+%2B*%7E%09%E5%BC%A0");
    }
}
