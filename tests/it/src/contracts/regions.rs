//! What stands between the marks of a page, made from the catalogue and the closed codes.

use std::fmt::Write;
use std::fs;
use std::path::Path;

use jumpgate::record::LogUnavailable;
use jumpgate::respond::{fault_row, log_row, refusal_row};
use jumpgate_catalogue::{Catalogue, FaultCode, ParameterKind, Predicate, RefusalCode};

/// Compares each region of a page with what it should hold, or writes them if asked to bless.
pub fn compare(page: &Path, open: &str, close: &str, regions: &[(&str, String)]) {
    let text = fs::read_to_string(page).unwrap();
    let mut blessed = text.clone();
    for (name, expected) in regions {
        let begin = format!("{open}generated: {name}{close}\n");
        let end = format!("{open}/generated{close}");
        let (before, rest) = blessed.split_once(&begin).unwrap_or_else(|| panic!("no {begin}"));
        let (found, _) = rest.split_once(&end).unwrap_or_else(|| panic!("no end of {begin}"));
        // In front of the end mark stands its own indentation.
        let margin = found.rsplit_once('\n').map_or("", |(_, margin)| margin);
        let after = &rest[found.len()..];
        blessed = format!("{before}{begin}{expected}{margin}{after}");
    }
    if std::env::var_os("JUMPGATE_BLESS").is_some() {
        fs::write(page, blessed).unwrap();
        return;
    }
    let differing = text.lines().zip(blessed.lines()).find(|(found, expected)| found != expected);
    assert!(
        text == blessed,
        "{} is not what the code yields (JUMPGATE_BLESS=1 writes it)\nfound and expected: {:#?}",
        page.display(),
        differing
    );
}

pub fn predicates(catalogue: &Catalogue) -> String {
    let mut text = list("Predicate", catalogue.predicates().map(|entry| entry.id.as_str()));
    text.push_str("    PredicateRules:\n      allOf:\n");
    catalogue.predicates().for_each(|entry| rules(&mut text, entry));
    text
}

fn rules(text: &mut String, entry: &Predicate) {
    let mut line = |indent: usize, content: &str| {
        writeln!(text, "{:indent$}{content}", "").unwrap();
    };
    line(8, &format!("- if: {{properties: {{predicate: {{const: {}}}}}}}", entry.id));
    line(10, "then:");
    line(12, &format!("title: {}", json(&format!("{} {}", entry.title_en, entry.title_zh))));
    line(12, &format!("description: {}", json(&entry.description_en)));
    line(12, "properties:");
    if entry.parameters.is_empty() {
        line(14, "parameters: {maxProperties: 0}");
    } else {
        line(14, "parameters:");
        line(16, "properties:");
        for parameter in &entry.parameters {
            line(18, &format!("{}: {}", parameter.name, parameter_rule(&parameter.kind)));
        }
        let names: Vec<&str> = entry.parameters.iter().map(|p| p.name.as_ref()).collect();
        line(16, &format!("required: {}", json(&names)));
        line(16, "additionalProperties: false");
    }
    let kinds: Vec<&str> = entry.subject_kinds.iter().map(|kind| kind.as_str()).collect();
    line(14, &format!("subject: {{properties: {{kind: {{enum: {}}}}}}}", json(&kinds)));
    let purposes: Vec<&str> = entry.purposes.iter().map(|purpose| purpose.as_str()).collect();
    line(14, &format!("purpose: {{enum: {}}}", json(&purposes)));
    if !entry.parameters.is_empty() {
        line(12, "required: [parameters]");
    }
}

fn parameter_rule(kind: &ParameterKind) -> String {
    match kind {
        ParameterKind::Integers(set) => format!("{{enum: {}}}", json(set)),
        ParameterKind::Codes(set) => format!("{{enum: {}}}", json(set)),
        ParameterKind::Text { chars_max } => {
            format!("{{type: string, minLength: 1, maxLength: {chars_max}}}")
        }
        ParameterKind::Identifier(rule) => format!("{{type: string, format: {rule}}}"),
    }
}

pub fn kinds(catalogue: &Catalogue) -> String {
    list("SubjectKind", catalogue.subject_kinds().map(|kind| kind.id.as_str()))
}

pub fn purposes(catalogue: &Catalogue) -> String {
    [
        list("Purpose", catalogue.purposes().map(|(purpose, _)| purpose.as_str())),
        list("LegalBasis", catalogue.legal_bases().map(|(basis, _)| basis.as_str())),
    ]
    .concat()
}

pub fn codes(log: &[LogUnavailable]) -> String {
    [
        list("RefusalCode", RefusalCode::ALL.into_iter().map(RefusalCode::code)),
        list("FaultCode", FaultCode::ALL.into_iter().map(FaultCode::code)),
        list("LogCode", log.iter().map(|unavailable| log_row(*unavailable).1)),
    ]
    .concat()
}

fn list<'a>(name: &str, items: impl Iterator<Item = &'a str>) -> String {
    let head = format!("    {name}:\n      type: string\n      enum:\n");
    items.fold(head, |text, item| text + &format!("        - {item}\n"))
}

pub fn refusal_table() -> String {
    let head = "| code | status | title | logged |\n|---|---|---|---|\n".to_owned();
    RefusalCode::ALL.into_iter().fold(head, |text, code| {
        let (status, title) = refusal_row(code);
        let logged = if code.is_coalesced() { "counted" } else { "entry" };
        text + &format!("| `{code}` | {} | {title} | {logged} |\n", status.as_u16())
    })
}

pub fn fault_table() -> String {
    let head = "| code | status | title | blame | transient |\n|---|---|---|---|---|\n".to_owned();
    FaultCode::ALL.into_iter().fold(head, |text, code| {
        let (status, title, _) = fault_row(code);
        let (status, blame) = (status.as_u16(), code.blame().as_str());
        let transient = if code.is_transient() { "yes" } else { "no" };
        text + &format!("| `{code}` | {status} | {title} | {blame} | {transient} |\n")
    })
}

fn json(value: &(impl serde::Serialize + ?Sized)) -> String {
    serde_json::to_string(value).unwrap()
}
