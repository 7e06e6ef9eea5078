//! The shipped catalogue, and every mistake that a catalogue can hold.

use std::path::PathBuf;
use std::sync::OnceLock;

use jiff::civil::{Date, date};
use proptest::prelude::*;

use super::*;
use crate::verdict::{Finding, Reason, Verdict};

mod exact;
mod readme;

fn shipped_dir() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../../spec/catalogue")
}

/// The catalogue of `spec/catalogue`.
pub(crate) fn shipped() -> &'static Catalogue {
    static SHIPPED: OnceLock<Catalogue> = OnceLock::new();
    SHIPPED.get_or_init(|| Catalogue::load(&shipped_dir()).unwrap())
}

pub(crate) const KINDS: &str = r#"
[[subject_kind]]
id = "passport"
title_en = "Passport number"
title_zh = "护照号码"
rule = "icao-9303"
reveals = []

[[subject_kind]]
id = "resident-identity"
title_en = "Resident identity number"
title_zh = "公民身份号码"
rule = "gb-11643"
reveals = ["birth-date", "birth-division", "sex"]

[[legal_basis]]
id = "consent"
title_en = "Consent"
title_zh = "同意"

[[purpose]]
id = "hiring"
title_en = "Hiring"
title_zh = "招聘"
legal_basis = "consent"
"#;

const CIVIL: &str = r#"
department = "civil-registry"

[[attribute]]
id = "birth-date"
title_en = "Date of birth"
title_zh = "出生日期"
cell_people_min = 20
until_date = "2026-01-01"
people = [{ from_date = "1926-01-01", people = 600000 }]

[[predicate]]
id = "civil-registry/age-at-least@1"
title_en = "Age at least"
title_zh = "年满"
description_en = "The subject has reached the age."
attribute = "birth-date"
clock = "grid"
cut = { years_before = "years" }
subject_kinds = ["passport", "resident-identity"]
purposes = ["hiring"]
absent = "undetermined"
timing = "one-reply"

[[predicate.parameter]]
name = "years"
title_en = "Years"
title_zh = "周岁"
type = "integer"
one_of = [16, 18]

[[predicate]]
id = "civil-registry/name-matches@1"
title_en = "Name matches"
title_zh = "姓名核验"
description_en = "The name fits."
attribute = "name"
clock = "current"
match = true
subject_kinds = ["passport"]
purposes = ["hiring"]
absent = "no"
timing = "one-reply"

[[predicate.parameter]]
name = "name"
title_en = "Name"
title_zh = "姓名"
type = "text"
chars_max = 64
"#;

fn parse(files: &[(&str, &str)]) -> Result<Catalogue, Vec<CatalogueMistake>> {
    let owned = |(name, text): &(&str, &str)| ((*name).to_owned(), (*text).to_owned());
    Catalogue::parse(&files.iter().map(owned).collect::<Vec<_>>())
}

/// The two fixtures with `from` replaced once by `to`.
fn parse_changed(from: &str, to: &str) -> Result<Catalogue, Vec<CatalogueMistake>> {
    assert!(KINDS.contains(from) || CIVIL.contains(from), "{from}");
    let (kinds, civil) = (KINDS.replacen(from, to, 1), CIVIL.replacen(from, to, 1));
    parse(&[("civil.toml", &civil), ("kinds.toml", &kinds)])
}

#[test]
fn every_mistake_is_named_with_its_place() {
    let age = "civil.toml: civil-registry/age-at-least@1";
    let table: &[(&str, &str, String)] = &[
        (
            "absent = \"undetermined\"\n",
            "",
            format!("{age}: absent: every such entry has it; add it"),
        ),
        (
            "absent = \"undetermined\"",
            "absent = \"maybe\"",
            format!("{age}: absent: must be one of yes, no, undetermined; change it"),
        ),
        (
            "clock = \"grid\"",
            "clock = \"lunar\"",
            format!("{age}: clock: must be one of grid, exact, current; change it"),
        ),
        (
            "clock = \"grid\"",
            "clock = \"current\"\ncell = \"day\"",
            format!("{age}: cell: only a grid has cells; remove it or make the clock a grid"),
        ),
        (
            "clock = \"grid\"",
            "clock = \"grid\"\ncell = \"year\"",
            format!("{age}: cell: must be one of day, week, month; change it"),
        ),
        (
            "clock = \"grid\"",
            "clock = \"grid\"\nclok = 1",
            format!("{age}: clok: no such key here; remove it or mend its spelling"),
        ),
        (
            "legal_basis = \"consent\"",
            "legal_basis = \"curiosity\"",
            "kinds.toml: hiring: legal_basis: the catalogue has no curiosity; \
             make it one of consent"
                .to_owned(),
        ),
        (
            "legal_basis = \"consent\"",
            "",
            "kinds.toml: hiring: legal_basis: every such entry has it; add it".to_owned(),
        ),
        (
            "purposes = [\"hiring\"]",
            "purposes = [\"curiosity\"]",
            format!("{age}: purposes: the catalogue has no curiosity; make it one of hiring"),
        ),
        (
            "purposes = [\"hiring\"]",
            "purposes = []",
            format!("{age}: purposes: must be a list of 1 to 64 texts, none twice; change it"),
        ),
        (
            "[\"passport\", \"resident-identity\"]",
            "[\"passport\", \"passport\"]",
            format!("{age}: subject_kinds: must be a list of 1 to 64 texts, none twice; change it"),
        ),
        (
            "[\"passport\", \"resident-identity\"]",
            "[\"visa\"]",
            format!(
                "{age}: subject_kinds: the catalogue has no visa; \
                 make it one of passport, resident-identity"
            ),
        ),
        (
            "\"civil-registry/age-at-least@1\"",
            "\"civil-registry/age-at-least@0\"",
            "civil.toml: civil-registry/age-at-least@0: id: a predicate id must be \
             department/name@version, such as civil-registry/age-at-least@1; rename it"
                .to_owned(),
        ),
        (
            "\"civil-registry/age-at-least@1\"",
            "\"land-records/age-at-least@1\"",
            "civil.toml: land-records/age-at-least@1: id: a predicate of this file begins with \
             civil-registry/; rename it or move it to its department's file"
                .to_owned(),
        ),
        (
            "\"civil-registry/age-at-least@1\"",
            "\"civil-registry/name-matches@1\"",
            "civil.toml: civil-registry/name-matches@1: id: an id stands for one predicate; \
             give the new one the next version"
                .to_owned(),
        ),
        (
            "department = \"civil-registry\"",
            "department = \"Civil Registry\"",
            "civil.toml: file: department: a department id must be 1 to 64 of a-z, 0-9 and '-', \
             beginning with a letter; rename it"
                .to_owned(),
        ),
        (
            "department = \"civil-registry\"\n",
            "",
            "civil.toml: file: department: every such entry has it; add it".to_owned(),
        ),
        (
            "one_of = [16, 18]",
            "one_of = []",
            format!(
                "{age}: years: one_of: must be a list of 1 to 64 integers, none twice; change it"
            ),
        ),
        (
            "one_of = [16, 18]",
            "one_of = [16, \"18\"]",
            format!(
                "{age}: years: one_of: must be a list of 1 to 64 integers, none twice; change it"
            ),
        ),
        (
            "type = \"integer\"\none_of = [16, 18]",
            "type = \"text\"\nchars_max = 8",
            format!(
                "{age}: years: type: only a match predicate has a free parameter; \
                 close the set or set match = true"
            ),
        ),
        (
            "type = \"integer\"\none_of = [16, 18]",
            "type = \"identifier\"\nrule = \"gb-32100\"",
            format!(
                "{age}: years: type: only a match predicate has a free parameter; \
                 close the set or set match = true"
            ),
        ),
        (
            "name = \"years\"",
            "name = \"Years/x\"",
            format!(
                "{age}: Years/x: name: must be 1 to 32 of a-z, 0-9 and '_', beginning with a \
                 letter; rename it"
            ),
        ),
        (
            "chars_max = 64",
            "chars_max = 64\n[[predicate.parameter]]\nname = \"name\"\ntitle_en = \"N\"\n\
             title_zh = \"名\"\ntype = \"code\"\none_of = [\"x\"]",
            "civil.toml: civil-registry/name-matches@1: name: name: a name stands for one \
             parameter; rename one"
                .to_owned(),
        ),
        (
            "chars_max = 64",
            "chars_max = 0",
            "civil.toml: civil-registry/name-matches@1: name: chars_max: must be an integer from \
             1 to 256; change it"
                .to_owned(),
        ),
        (
            "clock = \"current\"\nmatch = true",
            "clock = \"exact\"\nmatch = true",
            "civil.toml: civil-registry/name-matches@1: clock: a match predicate is answered as \
             of now: a free claim fits no grid; make it current"
                .to_owned(),
        ),
        (
            "attribute = \"name\"",
            "attribute = \"birth-date\"",
            "civil.toml: civil-registry/name-matches@1: clock: an attribute with an [[attribute]] \
             entry is no state; make it a grid"
                .to_owned(),
        ),
        (
            "match = true",
            "match = \"yes\"",
            "civil.toml: civil-registry/name-matches@1: match: must be true or false; change it"
                .to_owned(),
        ),
        (
            "title_zh = \"年满\"",
            "title_zh = \" \"",
            format!("{age}: title_zh: must be a text of 1 to 512 bytes; change it"),
        ),
        (
            "id = \"hiring\"",
            "id = \"hiring\"\nlaw = \"x\"",
            "kinds.toml: hiring: law: no such key here; remove it or mend its spelling".to_owned(),
        ),
        (
            "rule = \"icao-9303\"",
            "rule = \"any\"",
            "kinds.toml: passport: rule: must be one of gb-11643, gb-32100, icao-9303, isikukood, \
             one-window-handle; change it"
                .to_owned(),
        ),
        (
            "id = \"resident-identity\"",
            "id = \"passport\"",
            "kinds.toml: passport: id: an id stands for one subject kind; rename or remove one"
                .to_owned(),
        ),
        (
            "[\"birth-date\", \"birth-division\", \"sex\"]",
            "[\"birth-division\", \"sex\"]",
            "kinds.toml: resident-identity: reveals: the rule's standard writes birth-date into \
             it; add it"
                .to_owned(),
        ),
        (
            "reveals = []",
            "reveals = [\"soul\"]",
            "kinds.toml: passport: reveals: must be one of birth-date, birth-division, \
             registration-division, sex; change it"
                .to_owned(),
        ),
        (
            "[[purpose]]",
            "[[purposes]]",
            "kinds.toml: file: purposes: no such key here; remove it or mend its spelling"
                .to_owned(),
        ),
        (
            "[[purpose]]",
            "[purpose]",
            "kinds.toml: file: purpose: must be an array of at most 256 tables; change it"
                .to_owned(),
        ),
    ];
    for (from, to, expected) in table {
        let mistakes = parse_changed(from, to).unwrap_err();
        let shown: Vec<String> = mistakes.iter().map(CatalogueMistake::to_string).collect();
        assert!(shown.contains(expected), "{to}\nwanted {expected}\nfound {shown:#?}");
    }
}

#[test]
fn all_mistakes_of_all_files_show_at_once() {
    let civil = CIVIL.replacen("absent = \"undetermined\"\n", "", 1).replacen(
        "clock = \"current\"",
        "clock = \"lunar\"\nextra = 1",
        1,
    );
    let mistakes = parse(&[("a.toml", &civil), ("b.toml", "x = "), ("kinds.toml", KINDS)]);
    let mistakes = mistakes.unwrap_err();
    let places: Vec<(&str, &str)> =
        mistakes.iter().map(|mistake| (mistake.file.as_str(), mistake.field.as_str())).collect();
    let expected =
        [("b.toml", "-"), ("a.toml", "absent"), ("a.toml", "clock"), ("a.toml", "extra")];
    assert_eq!(places, expected);
    assert!(mistakes[0].rule.starts_with("line 1 is not TOML"), "{}", mistakes[0]);
}

#[test]
fn an_attribute_is_cut_one_way_across_departments() {
    // The attribute is declared once.
    let (head, rest) = CIVIL.split_once("[[attribute]]").unwrap();
    let (_, predicates) = rest.split_once("[[predicate]]").unwrap();
    let other = format!("{head}[[predicate]]{predicates}")
        .replace("civil-registry", "social-insurance")
        .replace("attribute = \"name\"", "attribute = \"claimed-name\"");
    let check = |clock: &str, good: bool| {
        let other = other.replacen("clock = \"grid\"", clock, 1);
        let files = [("civil.toml", CIVIL), ("kinds.toml", KINDS), ("social.toml", &other)];
        assert_eq!(parse(&files).is_ok(), good, "{clock}");
    };
    check("clock = \"grid\"", true);
    check("clock = \"grid\"\ncell = \"month\"", true);
    check("clock = \"grid\"\ncell = \"day\"", false);
    check("clock = \"exact\"", false);
    check("clock = \"current\"", false);
}

#[test]
fn nothing_is_no_catalogue() {
    for files in [vec![], vec![("kinds.toml", KINDS)]] {
        let mistakes = parse(&files).unwrap_err();
        assert_eq!(mistakes.len(), 1);
        assert_eq!(mistakes[0].rule, "a catalogue has at least one predicate in a *.toml file");
    }
}

#[test]
fn a_directory_is_read_by_name_and_its_faults_are_named() {
    let dir = tempfile::tempdir().unwrap();
    let missing = Catalogue::load(&dir.path().join("none")).unwrap_err();
    assert!(missing[0].rule.starts_with("cannot be listed"), "{}", missing[0]);
    std::fs::write(dir.path().join("kinds.toml"), KINDS).unwrap();
    std::fs::write(dir.path().join("civil.toml"), CIVIL).unwrap();
    std::fs::write(dir.path().join("notes.md"), "not a catalogue file").unwrap();
    let loaded = Catalogue::load(dir.path()).unwrap();
    let parsed = parse(&[("kinds.toml", KINDS), ("civil.toml", CIVIL)]).unwrap();
    assert_eq!(loaded.digest(), parsed.digest());
    std::fs::write(dir.path().join("latin.toml"), b"x = \"\xe9\"").unwrap();
    std::fs::write(dir.path().join("long.toml"), vec![b'#'; 1 << 20 | 1]).unwrap();
    let mistakes = Catalogue::load(dir.path()).unwrap_err();
    let rules: Vec<&str> = mistakes.iter().map(|mistake| mistake.rule.as_str()).collect();
    assert!(rules[0].starts_with("cannot be read"), "{rules:?}");
    assert_eq!(rules[1..], ["a catalogue file has at most 1048576 bytes"]);
}

#[test]
fn the_digest_binds_names_and_texts() {
    let digest = |files: &[(&str, &str)]| parse(files).unwrap().digest();
    let base = digest(&[("civil.toml", CIVIL), ("kinds.toml", KINDS)]);
    assert_eq!(base, digest(&[("kinds.toml", KINDS), ("civil.toml", CIVIL)]), "order is no matter");
    let commented = format!("{KINDS}#");
    assert_ne!(base, digest(&[("civil.toml", CIVIL), ("kinds.toml", &commented)]));
    assert_ne!(base, digest(&[("civil.toml", CIVIL), ("kind.toml", KINDS)]));
    assert_ne!(base, digest(&[("all.toml", &format!("{CIVIL}{KINDS}"))]));
    let twice = parse(&[("kinds.toml", KINDS), ("kinds.toml", KINDS)]).unwrap_err();
    assert_eq!(twice[0].rule, "a file name stands for one file");
}

#[test]
fn dates_fall_on_the_calendar_cell() {
    let check = |cell: Option<Cell>, today: Date, as_of: Date, next: Option<Date>| {
        let any = shipped().predicates().next().unwrap();
        let predicate = Predicate { cell, ..Predicate::clone(any) };
        assert_eq!((predicate.as_of(today), predicate.next_as_of(today)), (as_of, next));
    };
    let thursday = date(2026, 11, 19);
    check(None, thursday, thursday, None);
    check(Some(Cell::Day), thursday, thursday, Some(date(2026, 11, 20)));
    check(Some(Cell::Week), thursday, date(2026, 11, 16), Some(date(2026, 11, 23)));
    check(Some(Cell::Week), date(2026, 11, 16), date(2026, 11, 16), Some(date(2026, 11, 23)));
    check(Some(Cell::Week), date(2026, 11, 22), date(2026, 11, 16), Some(date(2026, 11, 23)));
    check(Some(Cell::Week), date(2027, 1, 1), date(2026, 12, 28), Some(date(2027, 1, 4)));
    check(Some(Cell::Month), thursday, date(2026, 11, 1), Some(date(2026, 12, 1)));
    check(Some(Cell::Month), date(2026, 12, 31), date(2026, 12, 1), Some(date(2027, 1, 1)));
    check(Some(Cell::Month), date(2028, 2, 29), date(2028, 2, 1), Some(date(2028, 3, 1)));
    check(Some(Cell::Month), date(9999, 12, 31), date(9999, 12, 1), None);
}

#[test]
fn a_name_to_compare_is_no_closed_parameter() {
    let catalogue = shipped();
    let is_closed =
        |id: &str| catalogue.predicate(&id.parse().unwrap()).unwrap().has_closed_parameters();
    assert!(is_closed("civil-registry/alive@1"), "it takes none");
    assert!(is_closed("civil-registry/age-at-least@1"));
    assert!(is_closed("civil-registry/resident-in@1"));
    assert!(!is_closed("civil-registry/name-matches@1"));
    let open = catalogue.predicates().filter(|predicate| !predicate.has_closed_parameters());
    assert!(open.into_iter().all(|predicate| predicate.is_match), "only these take free values");
}

#[test]
fn what_time_could_tell_leaves_on_the_quantum() {
    let catalogue = shipped();
    let waits = |id: &str| catalogue.predicate(&id.parse().unwrap()).unwrap().leaves_on_quantum();
    assert!(!waits("civil-registry/age-at-least@1"), "undetermined where there is no record");
    assert!(waits("civil-registry/name-matches@1"), "no where there is none");
    assert!(waits("social-insurance/receives-pension@1"));
    assert!(!waits("social-insurance/employer-without-arrears@1"));
    let of = |absent: &str, timing: &str| {
        let civil = CIVIL.replacen("absent = \"undetermined\"", absent, 1).replacen(
            "timing = \"one-reply\"",
            timing,
            1,
        );
        let parsed = parse(&[("civil.toml", &civil), ("kinds.toml", KINDS)]).unwrap();
        let id = "civil-registry/age-at-least@1".parse().unwrap();
        parsed.predicate(&id).unwrap().leaves_on_quantum()
    };
    let (absent, timing) = ("absent = \"undetermined\"", "timing = \"one-reply\"");
    assert!(!of(absent, timing));
    assert!(of("absent = \"yes\"", timing));
    assert!(of(absent, "timing = \"several-replies\""), "how long the record is");
}

#[test]
fn findings_become_verdicts() {
    let id = |text: &str| text.parse::<PredicateId>().unwrap();
    let table = [
        ("civil-registry/alive@1", Finding::Yes, (Verdict::Yes, None)),
        ("civil-registry/alive@1", Finding::No, (Verdict::No, None)),
        (
            "civil-registry/alive@1",
            Finding::Absent,
            (Verdict::Undetermined, Some(Reason::NoRecord)),
        ),
        (
            "civil-registry/alive@1",
            Finding::Undetermined(Reason::SeveralRecords),
            (Verdict::Undetermined, Some(Reason::SeveralRecords)),
        ),
        ("social-insurance/insured@1", Finding::Absent, (Verdict::No, None)),
    ];
    for (predicate, finding, expected) in table {
        let predicate = shipped().predicate(&id(predicate)).unwrap();
        assert_eq!(predicate.verdict(finding), expected);
    }
    assert!(shipped().predicate(&id("civil-registry/alive@2")).is_none());
}

#[test]
fn a_predicate_on_a_revealed_attribute_is_no_secret() {
    let marked: Vec<(&str, Vec<&str>)> = shipped()
        .predicates()
        .filter(|predicate| !predicate.no_secret_for.is_empty())
        .map(|predicate| {
            let kinds = predicate.no_secret_for.iter().map(SubjectKindId::as_str).collect();
            (predicate.id.as_str(), kinds)
        })
        .collect();
    let expected = [
        ("civil-registry/age-at-least@1", vec!["resident-identity", "isikukood"]),
        ("civil-registry/sex-is@1", vec!["resident-identity"]),
    ];
    assert_eq!(marked, expected);
}

#[test]
fn the_shipped_lists() {
    let ids: Vec<&str> = shipped().predicates().map(|predicate| predicate.id.as_str()).collect();
    assert!(ids.is_sorted());
    assert_eq!(ids.len(), 15);
    for (purpose, title_en) in shipped().purposes() {
        assert!(!title_en.is_empty());
        assert!(shipped().purpose_title_zh(purpose).is_some_and(|title| !title.is_ascii()));
        let used = shipped().predicates().any(|predicate| predicate.purposes.contains(purpose));
        assert!(used, "{purpose}");
    }
    for kind in shipped().subject_kinds() {
        let used =
            shipped().predicates().any(|predicate| predicate.subject_kinds.contains(&kind.id));
        assert!(used, "{}", kind.id);
    }
    assert_eq!(shipped().divisions().count(), 34);
}

proptest! {
    /// Losing any piece of a file ends in a catalogue or in mistakes that name a file, never in
    /// a panic.
    #[test]
    fn a_damaged_file_is_a_catalogue_or_a_list_of_mistakes(
        start in 0usize..1200, len in 1usize..80,
    ) {
        let damaged: String = CIVIL
            .chars()
            .enumerate()
            .filter(|(index, _)| !(start..start + len).contains(index))
            .map(|(_, character)| character)
            .collect();
        if let Err(mistakes) = parse(&[("civil.toml", &damaged), ("kinds.toml", KINDS)]) {
            prop_assert!(!mistakes.is_empty());
            prop_assert!(mistakes.iter().all(|mistake| mistake.file == "civil.toml"));
        }
    }
}
