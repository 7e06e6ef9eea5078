//! Code lists of Chinese national standards that records carry.

use crate::Reason;

/// A person's sex as recorded.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Sex {
    /// Code 1.
    Male,
    /// Code 2.
    Female,
}

impl Sex {
    /// Reads a code of GB/T 2261.1-2003.
    ///
    /// # Errors
    /// `missing-field` for 0 (unknown) and 9 (not stated), `unusable-field` for what is no code.
    pub fn from_code(code: &str) -> Result<Self, Reason> {
        match code {
            "1" => Ok(Self::Male),
            "2" => Ok(Self::Female),
            "0" | "9" => Err(Reason::MissingField),
            _ => Err(Reason::UnusableField),
        }
    }

    /// `male` or `female`.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Male => "male",
            Self::Female => "female",
        }
    }
}

/// A person's marital status as recorded.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum MaritalStatus {
    /// Code 10.
    Single,
    /// Codes 20, 21 (first marriage), 22 (married again), 23 (married again to the same person).
    Married,
    /// Code 30.
    Widowed,
    /// Code 40.
    Divorced,
}

impl MaritalStatus {
    /// Reads a code of GB/T 2261.2-2003.
    ///
    /// # Errors
    /// `missing-field` for 90 (not stated), `unusable-field` for what is no code.
    pub fn from_code(code: &str) -> Result<Self, Reason> {
        match code {
            "10" => Ok(Self::Single),
            "20" | "21" | "22" | "23" => Ok(Self::Married),
            "30" => Ok(Self::Widowed),
            "40" => Ok(Self::Divorced),
            "90" => Err(Reason::MissingField),
            _ => Err(Reason::UnusableField),
        }
    }

    /// `single`, `married`, `widowed` or `divorced`.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Single => "single",
            Self::Married => "married",
            Self::Widowed => "widowed",
            Self::Divorced => "divorced",
        }
    }
}

/// Whether the division `code` lies in the one that `prefix` names (GB/T 2260-2007: two digits each
/// for province, prefecture and county; `00` stands for "not further divided").
///
/// # Errors
/// `unusable-field` if `code` is not six digits, or is coarser than `prefix` and so could lie in it
/// or not: 310000 says nothing about 3101.
pub fn in_division(code: &str, prefix: &str) -> Result<bool, Reason> {
    if code.len() != 6 || !code.bytes().all(|byte| byte.is_ascii_digit()) {
        return Err(Reason::UnusableField);
    }
    let known = match code {
        _ if code.ends_with("0000") => &code[..2],
        _ if code.ends_with("00") => &code[..4],
        _ => code,
    };
    if known.starts_with(prefix) {
        Ok(true)
    } else if prefix.starts_with(known) {
        Err(Reason::UnusableField)
    } else {
        Ok(false)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_every_code_and_no_other() {
        let sexes = ["0", "1", "2", "9", "", "01", "M"].map(Sex::from_code);
        let (missing, unusable) = (Reason::MissingField, Reason::UnusableField);
        let expected = [
            Err(missing),
            Ok(Sex::Male),
            Ok(Sex::Female),
            Err(missing),
            Err(unusable),
            Err(unusable),
            Err(unusable),
        ];
        assert_eq!(sexes, expected);
        let cases = [
            ("10", Ok("single")),
            ("20", Ok("married")),
            ("21", Ok("married")),
            ("22", Ok("married")),
            ("23", Ok("married")),
            ("30", Ok("widowed")),
            ("40", Ok("divorced")),
            ("90", Err(missing)),
            ("50", Err(unusable)),
            ("", Err(unusable)),
        ];
        for (code, expected) in cases {
            assert_eq!(MaritalStatus::from_code(code).map(MaritalStatus::as_str), expected);
        }
    }

    #[test]
    fn a_division_contains_its_parts() {
        let cases = [
            ("310115", "31", Ok(true)),
            ("310115", "3101", Ok(true)),
            ("310115", "310115", Ok(true)),
            ("310115", "310104", Ok(false)),
            ("310115", "32", Ok(false)),
            ("310000", "31", Ok(true)),
            ("310000", "3101", Err(Reason::UnusableField)),
            ("310100", "310115", Err(Reason::UnusableField)),
            ("310100", "3101", Ok(true)),
            ("320000", "3101", Ok(false)),
            ("31011", "31", Err(Reason::UnusableField)),
            ("31011X", "31", Err(Reason::UnusableField)),
            ("310115001", "31", Err(Reason::UnusableField)),
        ];
        for (code, prefix, expected) in cases {
            assert_eq!(in_division(code, prefix), expected, "{code} in {prefix}");
        }
    }
}
