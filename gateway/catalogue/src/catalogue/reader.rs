//! Reads one TOML table key by key and notes every mistake in it.
//!
//! A key that no reading asked for is a mistake too, so an entry cannot say what nobody hears.

use std::str::FromStr;

use toml::{Table, Value};

use super::CatalogueMistake;
use crate::ids::InvalidId;
use crate::query::one_of;

/// Long enough for a description of two sentences.
const TEXT_BYTES_MAX: usize = 512;
/// A closed set longer than this is a register, not a question.
pub(super) const LIST_LEN_MAX: usize = 64;

pub(super) struct Reader<'a> {
    file: &'a str,
    entry: String,
    table: Table,
    mistakes: &'a mut Vec<CatalogueMistake>,
}

impl<'a> Reader<'a> {
    pub(super) fn new(
        file: &'a str,
        entry: String,
        table: Table,
        mistakes: &'a mut Vec<CatalogueMistake>,
    ) -> Self {
        Self { file, entry, table, mistakes }
    }

    /// A reader for an entry of an array of tables, named by `key` if the entry has it.
    pub(super) fn of_entry(
        file: &'a str,
        place: String,
        key: &str,
        table: Table,
        mistakes: &'a mut Vec<CatalogueMistake>,
    ) -> Self {
        let name = table.get(key).and_then(Value::as_str).map(str::to_owned);
        Self::new(file, name.unwrap_or(place), table, mistakes)
    }

    /// The same file, another table, the same list of mistakes.
    pub(super) fn child(&mut self, place: &str, key: &str, table: Table) -> Reader<'_> {
        let name = table.get(key).and_then(Value::as_str).unwrap_or(place);
        let entry = format!("{}: {name}", self.entry);
        Reader { file: self.file, entry, table, mistakes: self.mistakes }
    }

    pub(super) fn mistake(
        &mut self,
        field: &str,
        rule: impl Into<String>,
        mend: impl Into<String>,
    ) {
        self.mistakes.push(CatalogueMistake {
            file: self.file.to_owned(),
            entry: self.entry.clone(),
            field: field.to_owned(),
            rule: rule.into(),
            mend: mend.into(),
        });
    }

    pub(super) fn has(&self, key: &str) -> bool {
        self.table.contains_key(key)
    }

    /// A required text.
    pub(super) fn text(&mut self, key: &str) -> Option<String> {
        match self.required(key)? {
            Value::String(text) if !text.trim().is_empty() && text.len() <= TEXT_BYTES_MAX => {
                Some(text)
            }
            _ => self.wrong(key, format!("a text of 1 to {TEXT_BYTES_MAX} bytes")),
        }
    }

    /// A required text that parses as an identifier.
    pub(super) fn parsed<T: FromStr<Err = InvalidId>>(&mut self, key: &str) -> Option<T> {
        let text = self.text(key)?;
        self.parse(key, &text)
    }

    /// A required word of a closed list.
    pub(super) fn word<T: Copy>(
        &mut self,
        key: &str,
        words: &[T],
        as_str: fn(T) -> &'static str,
    ) -> Option<T> {
        let value = self.required(key)?;
        let text = value.as_str();
        match words.iter().find(|word| Some(as_str(**word)) == text) {
            Some(word) => Some(*word),
            None => self.wrong(key, one_of(words.iter().map(|word| as_str(*word)))),
        }
    }

    /// `true` or `false`; `false` if the key is not there.
    pub(super) fn flag(&mut self, key: &str) -> bool {
        match self.table.remove(key) {
            None => false,
            Some(Value::Boolean(flag)) => flag,
            Some(_) => self.wrong(key, "true or false").unwrap_or(false),
        }
    }

    /// A required integer within a range.
    pub(super) fn integer(&mut self, key: &str, min: i64, max: i64) -> Option<i64> {
        match self.required(key)? {
            Value::Integer(value) if (min..=max).contains(&value) => Some(value),
            _ => self.wrong(key, format!("an integer from {min} to {max}")),
        }
    }

    /// A required list of identifiers, none twice, at least `len_min`.
    pub(super) fn parsed_list<T: FromStr<Err = InvalidId>>(
        &mut self,
        key: &str,
        len_min: usize,
    ) -> Option<Vec<T>> {
        let texts = self.texts(key, len_min)?;
        texts.iter().map(|text| self.parse(key, text)).collect()
    }

    /// A required list of texts, none twice, at least `len_min`.
    pub(super) fn texts(&mut self, key: &str, len_min: usize) -> Option<Vec<String>> {
        let read = |value: Value| match value {
            Value::String(text) if !text.is_empty() && text.len() <= TEXT_BYTES_MAX => Some(text),
            _ => None,
        };
        self.list(key, len_min, "texts", read)
    }

    /// A required list of integers, none twice, at least one.
    pub(super) fn integers(&mut self, key: &str) -> Option<Vec<i64>> {
        self.list(key, 1, "integers", |value| value.as_integer())
    }

    /// A table; none if the key is not there.
    pub(super) fn table(&mut self, key: &str) -> Option<Table> {
        match self.table.remove(key)? {
            Value::Table(table) => Some(table),
            _ => self.wrong(key, "a table"),
        }
    }

    /// An integer or several, or a text that names where they stand.
    pub(super) fn integers_or_text(&mut self, key: &str) -> Option<Result<Vec<i64>, String>> {
        match self.required(key)? {
            Value::Integer(value) => Some(Ok(vec![value])),
            Value::String(text) => Some(Err(text)),
            list @ Value::Array(_) => {
                self.table.insert(key.to_owned(), list);
                self.integers(key).map(Ok)
            }
            _ => self.wrong(key, "an integer, a list of integers or a parameter's name"),
        }
    }

    /// The tables of an array of tables; none if the key is not there.
    pub(super) fn tables(&mut self, key: &str, len_max: usize) -> Vec<Table> {
        let rule = || format!("an array of at most {len_max} tables");
        let Some(value) = self.table.remove(key) else {
            return Vec::new();
        };
        let tables = match value {
            Value::Array(values) if values.len() <= len_max => values
                .into_iter()
                .map(|value| match value {
                    Value::Table(table) => Some(table),
                    _ => None,
                })
                .collect(),
            _ => None,
        };
        tables.or_else(|| self.wrong(key, rule())).unwrap_or_default()
    }

    /// Ends the reading: every key still there is one that nobody knows.
    pub(super) fn finish(mut self) {
        let keys: Vec<String> = self.table.keys().cloned().collect();
        for key in keys {
            self.mistake(&key, "no such key here", "remove it or mend its spelling");
        }
    }

    fn list<T: PartialEq>(
        &mut self,
        key: &str,
        len_min: usize,
        what: &str,
        read: fn(Value) -> Option<T>,
    ) -> Option<Vec<T>> {
        let rule = format!("a list of {len_min} to {LIST_LEN_MAX} {what}, none twice");
        let Value::Array(values) = self.required(key)? else {
            return self.wrong(key, rule);
        };
        let read: Option<Vec<T>> = values.into_iter().map(read).collect();
        match read {
            Some(list) if (len_min..=LIST_LEN_MAX).contains(&list.len()) && is_distinct(&list) => {
                Some(list)
            }
            Some(_) | None => self.wrong(key, rule),
        }
    }

    fn parse<T: FromStr<Err = InvalidId>>(&mut self, key: &str, text: &str) -> Option<T> {
        let parsed: Result<T, InvalidId> = text.parse();
        parsed.map_err(|invalid| self.mistake(key, invalid.to_string(), "rename it")).ok()
    }

    fn required(&mut self, key: &str) -> Option<Value> {
        let value = self.table.remove(key);
        if value.is_none() {
            self.mistake(key, "every such entry has it", "add it");
        }
        value
    }

    fn wrong<T>(&mut self, key: &str, rule: impl Into<String>) -> Option<T> {
        self.mistake(key, format!("must be {}", rule.into()), "change it");
        None
    }
}

fn is_distinct<T: PartialEq>(list: &[T]) -> bool {
    list.iter().enumerate().all(|(index, value)| !list[..index].contains(value))
}
