//! Comparison of personal names as two systems write them.
//!
//! Owns which differences of writing do not count. It never compares parts: a match predicate must
//! not say which part of a name fits. It does no Unicode normalisation and no transliteration.

/// Whether two texts are the same name.
///
/// Not counted: full-width or half-width forms of ASCII, Latin case, which character stands for the
/// middle dot of a transcribed name, white space around the name or beside a Chinese character, and
/// how much of it stands between Latin words. An empty name matches nothing.
pub fn names_match(one: &str, other: &str) -> bool {
    let one = normalized(one);
    !one.is_empty() && one == normalized(other)
}

fn normalized(name: &str) -> String {
    let mut out = String::with_capacity(name.len());
    let mut space_before = false;
    for character in name.chars().map(plain) {
        if character.is_whitespace() {
            space_before = true;
            continue;
        }
        if space_before && out.chars().last().is_some_and(parts_words) && parts_words(character) {
            out.push(' ');
        }
        space_before = false;
        out.extend(character.to_lowercase());
    }
    out
}

/// One form of a character that is written in several.
fn plain(character: char) -> char {
    const FULL_WIDTH_SHIFT: u32 = 0xFEE0;
    match character {
        '\u{FF01}'..='\u{FF5E}' => {
            char::from_u32(u32::from(character) - FULL_WIDTH_SHIFT).unwrap_or(character)
        }
        // Bullet, hyphenation point, bullet operator, dot operator, raised dot, katakana middle
        // dots and the Greek ano teleia stand for the middle dot of GB 18030's A1A4.
        '\u{2022}' | '\u{2027}' | '\u{2219}' | '\u{22C5}' | '\u{2E31}' | '\u{30FB}'
        | '\u{FF65}' | '\u{0387}' => '\u{00B7}',
        _ => character,
    }
}

/// White space beside this character separates words: it is no Chinese character and no middle dot.
fn parts_words(character: char) -> bool {
    !matches!(character, '\u{00B7}' | '\u{2E80}'..='\u{9FFF}' | '\u{F900}'..='\u{FAFF}'
        | '\u{20000}'..='\u{3FFFF}')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn writing_does_not_count() {
        let same = [
            ("张伟", "张伟"),
            ("张伟", " 张　伟 "),
            ("ZHANG WEI", "Zhang  Wei"),
            ("ＺＨＡＮＧ　ＷＥＩ", "zhang wei"),
            ("买买提·吐尔逊", "买买提•吐尔逊"),
            ("买买提·吐尔逊", "买买提 ・ 吐尔逊"),
            ("ÕUNAPUU", "õunapuu"),
            ("𠮷田", "𠮷 田"),
        ];
        for (one, other) in same {
            assert!(names_match(one, other), "{one} and {other}");
            assert!(names_match(other, one), "{other} and {one}");
        }
    }

    #[test]
    fn parts_and_other_names_do_not_match() {
        let different = [
            ("张伟", "张"),
            ("张伟", "张伟伟"),
            ("张伟", "章伟"),
            ("Zhang Wei", "Zhangwei"),
            ("Zhang Wei", "Wei Zhang"),
            ("买买提·吐尔逊", "买买提吐尔逊"),
            ("", ""),
            (" ", ""),
        ];
        for (one, other) in different {
            assert!(!names_match(one, other), "{one} and {other}");
        }
    }
}
