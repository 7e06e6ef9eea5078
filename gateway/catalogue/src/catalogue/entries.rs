//! From tables to entries, and the rules that hold between entries.

use std::collections::BTreeMap;
use std::sync::Arc;

use toml::Table;

use super::attribute::{Attribute, CodeCut, Cut, Histogram, Join};
use super::cuts::{read_code_cut, read_cut, read_follows, read_histogram};
use super::lint;
use super::predicate::{Cell, Clock, ParameterKind, ParameterSpec, Predicate, Timing};
use super::reader::Reader;
use super::{Catalogue, CatalogueMistake, LegalBasisEntry, PurposeEntry};
use crate::ids::{DepartmentId, LegalBasis, PredicateId, Purpose, SubjectKindId};
use crate::query::one_of;
use crate::subject::{IdentifierRule, Reveals, SubjectKind};
use crate::verdict::Verdict;

/// A department with more question types than this is better split.
const PREDICATES_PER_FILE_MAX: usize = 256;
/// More than any country's list of identifier kinds or purposes; a reviewer reads them all.
const KINDS_PER_FILE_MAX: usize = 256;
/// A question with more parts than this is several questions.
const PARAMETERS_MAX: usize = 8;
/// More than there are.
pub(super) const PEOPLE_MAX: i64 = 100_000_000_000;
/// Ten years: what leaves more is no question.
const INTERVAL_DAYS_MAX: i64 = 3_650;
/// A name, an address line; more than that is a document.
const TEXT_CHARS_MAX: i64 = 256;

/// A file whose legal bases and kinds are read and whose purposes and predicates wait for those of
/// all files.
struct Remainder<'a> {
    file: &'a str,
    attribute_ids: Vec<String>,
    purposes: Vec<Table>,
    department: Option<DepartmentId>,
    predicates: Vec<Table>,
}

impl Catalogue {
    /// Fills an empty catalogue from files in name order and returns every mistake.
    pub(super) fn fill(&mut self, files: &[(&str, &str)]) -> Vec<CatalogueMistake> {
        let mut mistakes = Vec::new();
        let mut remainders = Vec::new();
        for (index, (file, text)) in files.iter().enumerate() {
            if index > 0 && files[index - 1].0 == *file {
                let rule = "a file name stands for one file";
                mistakes.push(CatalogueMistake::of_file(file, rule, "rename it"));
            }
            match text.parse::<Table>() {
                Ok(table) => remainders.push(self.read_file(file, table, &mut mistakes)),
                Err(fault) => mistakes.push(syntax_mistake(file, text, &fault)),
            }
        }
        for remainder in &mut remainders {
            for (number, table) in (1..).zip(std::mem::take(&mut remainder.purposes)) {
                let place = format!("purpose {number}");
                let reader = Reader::of_entry(remainder.file, place, "id", table, &mut mistakes);
                self.read_purpose(reader);
            }
        }
        let mut files_of = BTreeMap::new();
        for remainder in remainders {
            let (file, attribute_ids) = (remainder.file, remainder.attribute_ids.clone());
            let predicate_ids = self.read_predicates(remainder, &mut mistakes);
            for id in attribute_ids.into_iter().chain(predicate_ids) {
                files_of.insert(id, file);
            }
        }
        self.lint(&files_of, &mut mistakes);
        if mistakes.is_empty() && self.predicates.is_empty() {
            let rule = "a catalogue has at least one predicate in a *.toml file";
            mistakes.push(CatalogueMistake::of_file("catalogue", rule, "give its directory"));
        }
        mistakes
    }

    fn read_file<'a>(
        &mut self,
        file: &'a str,
        table: Table,
        mistakes: &mut Vec<CatalogueMistake>,
    ) -> Remainder<'a> {
        let mut reader = Reader::new(file, "file".to_owned(), table, mistakes);
        let kinds = reader.tables("subject_kind", KINDS_PER_FILE_MAX);
        let attributes = reader.tables("attribute", KINDS_PER_FILE_MAX);
        let joins = reader.tables("join", KINDS_PER_FILE_MAX);
        let legal_bases = reader.tables("legal_basis", KINDS_PER_FILE_MAX);
        let purposes = reader.tables("purpose", KINDS_PER_FILE_MAX);
        let predicates = reader.tables("predicate", PREDICATES_PER_FILE_MAX);
        let wants_department = !predicates.is_empty() || reader.has("department");
        let department = if wants_department { reader.parsed("department") } else { None };
        reader.finish();
        for (number, table) in (1..).zip(kinds) {
            let place = format!("subject_kind {number}");
            self.read_kind(Reader::of_entry(file, place, "id", table, mistakes));
        }
        let mut attribute_ids = Vec::new();
        for (number, table) in (1..).zip(attributes) {
            let place = format!("attribute {number}");
            let reader = Reader::of_entry(file, place, "id", table, mistakes);
            attribute_ids.extend(self.read_attribute(reader));
        }
        for (number, table) in (1..).zip(joins) {
            let place = format!("join {number}");
            let reader = Reader::of_entry(file, place, "id", table, mistakes);
            attribute_ids.extend(self.read_join(reader));
        }
        for (number, table) in (1..).zip(legal_bases) {
            let place = format!("legal_basis {number}");
            self.read_legal_basis(Reader::of_entry(file, place, "id", table, mistakes));
        }
        Remainder { file, attribute_ids, purposes, department, predicates }
    }

    fn read_kind(&mut self, mut reader: Reader<'_>) {
        let id: Option<SubjectKindId> = reader.parsed("id");
        let title_en = reader.text("title_en");
        let title_zh = reader.text("title_zh");
        let rule = reader.word("rule", &IdentifierRule::ALL, IdentifierRule::as_str);
        let reveals = read_reveals(&mut reader, rule);
        let lasting = reader.flag("lasting");
        if let Some(id) = &id
            && self.subject_kinds.contains_key(id.as_str())
        {
            reader.mistake("id", "an id stands for one subject kind", "rename or remove one");
        }
        reader.finish();
        let kind = (|| {
            Some(SubjectKind {
                id: id?,
                title_en: title_en?,
                title_zh: title_zh?,
                reveals: reveals?,
                lasting,
                rule: rule?,
            })
        })();
        if let Some(kind) = kind {
            self.subject_kinds.insert(kind.id.as_str().to_owned(), Arc::new(kind));
        }
    }

    /// Returns its id, if it has one.
    fn read_attribute(&mut self, mut reader: Reader<'_>) -> Option<String> {
        let id = reader.text("id");
        let title_en = reader.text("title_en");
        let title_zh = reader.text("title_zh");
        let cell_people_min = reader.integer("cell_people_min", 2, PEOPLE_MAX);
        let interval_days_min = reader
            .has("interval_days_min")
            .then(|| reader.integer("interval_days_min", 2, INTERVAL_DAYS_MAX));
        let people = read_histogram(&mut reader);
        let follows = read_follows(&mut reader);
        if let Some(id) = &id
            && self.attributes.contains_key(id)
        {
            reader.mistake("id", "an id stands for one attribute", "rename or remove one");
        }
        reader.finish();
        let attribute = (|| {
            Some(Attribute {
                id: id.clone()?,
                title_en: title_en?,
                title_zh: title_zh?,
                cell_people_min: u64::try_from(cell_people_min?).ok()?,
                interval_days_min: match interval_days_min {
                    Some(days) => Some(u32::try_from(days?).ok()?),
                    None => None,
                },
                people: people?,
                follows: follows?,
            })
        })();
        if let Some(attribute) = attribute {
            self.attributes.insert(attribute.id.clone(), attribute);
        }
        id
    }

    /// Returns its id, if it has one.
    fn read_join(&mut self, mut reader: Reader<'_>) -> Option<String> {
        let id = reader.text("id");
        let attributes = reader.texts("attributes", 2);
        let cell_people_min = reader.integer("cell_people_min", 2, PEOPLE_MAX);
        let is_taken = |id: &String| {
            self.joins.contains_key(id.as_str()) || self.attributes.contains_key(id.as_str())
        };
        if id.as_ref().is_some_and(is_taken) {
            let rule = "an id stands for one attribute or one join";
            reader.mistake("id", rule, "rename or remove one");
        }
        reader.finish();
        let join = (|| {
            Some(Join {
                id: id.clone()?,
                attributes: attributes?,
                cell_people_min: u64::try_from(cell_people_min?).ok()?,
            })
        })();
        if let Some(join) = join {
            self.joins.insert(join.id.clone(), join);
        }
        id
    }

    /// Looks for predicates that together leave too few people in a cell of an attribute.
    fn lint(&self, files: &BTreeMap<String, &str>, mistakes: &mut Vec<CatalogueMistake>) {
        for attribute in self.attributes.values() {
            let Some(follows) = &attribute.follows else { continue };
            let (rule, mend) = match self.attributes.get(&follows.attribute) {
                None => (
                    format!("no [[attribute]] entry is {}", follows.attribute),
                    "add it, or name another one",
                ),
                Some(other)
                    if lint::later_years(attribute, &self.attributes, &other.id).is_some() =>
                {
                    ("it follows from itself".to_owned(), "name another one")
                }
                Some(other) => match (&attribute.people, &other.people) {
                    (Histogram::Dates(_), Histogram::Dates(_)) => continue,
                    _ => ("both must be dates".to_owned(), "remove it"),
                },
            };
            mistakes.push(CatalogueMistake {
                file: files.get(&attribute.id).copied().unwrap_or_default().to_owned(),
                entry: attribute.id.clone(),
                field: "follows".to_owned(),
                rule,
                mend: mend.to_owned(),
            });
        }
        for broken in self.broken_exact_rules() {
            mistakes.push(CatalogueMistake {
                file: files.get(broken.entry).copied().unwrap_or_default().to_owned(),
                entry: broken.entry.to_owned(),
                field: broken.field.to_owned(),
                rule: broken.rule,
                mend: broken.mend,
            });
        }
        for join in self.joins.values() {
            let unknown = join.attributes.iter().find(|it| !self.attributes.contains_key(*it));
            if let Some(unknown) = unknown {
                mistakes.push(CatalogueMistake {
                    file: files.get(&join.id).copied().unwrap_or_default().to_owned(),
                    entry: join.id.clone(),
                    field: "attributes".to_owned(),
                    rule: format!("no [[attribute]] entry is {unknown}"),
                    mend: "add it, or name another one".to_owned(),
                });
            }
        }
        let predicates: Vec<_> = self.predicates.values().cloned().collect();
        let alone = self
            .attributes
            .values()
            .map(|attribute| lint::collisions(attribute, &self.attributes, &predicates));
        // Whoever is mended alone may be mended together.
        let alone: Vec<_> = alone.flatten().collect();
        let joined = self.joins.values().filter(|_| alone.is_empty());
        let together = joined.flat_map(|join| lint::together(join, &self.attributes, &predicates));
        let together: Vec<_> = together.collect();
        for lint::Collision { predicate, rule, mend } in alone.into_iter().chain(together) {
            let entry = predicate.id.as_str().to_owned();
            let file = files.get(&entry).copied().unwrap_or_default().to_owned();
            let field = "cut".to_owned();
            mistakes.push(CatalogueMistake { file, entry, field, rule, mend });
        }
    }

    fn read_legal_basis(&mut self, mut reader: Reader<'_>) {
        let id: Option<LegalBasis> = reader.parsed("id");
        let title_en = reader.text("title_en");
        let title_zh = reader.text("title_zh");
        if let Some(id) = &id
            && self.legal_bases.contains_key(id.as_str())
        {
            reader.mistake("id", "an id stands for one legal basis", "rename or remove one");
        }
        reader.finish();
        if let (Some(id), Some(title_en), Some(title_zh)) = (id, title_en, title_zh) {
            let entry = LegalBasisEntry { id, title_en, title_zh };
            self.legal_bases.insert(entry.id.as_str().to_owned(), entry);
        }
    }

    fn read_purpose(&mut self, mut reader: Reader<'_>) {
        let id: Option<Purpose> = reader.parsed("id");
        let title_en = reader.text("title_en");
        let title_zh = reader.text("title_zh");
        let legal_basis: Option<LegalBasis> = reader.parsed("legal_basis");
        let ids = legal_basis.iter().map(LegalBasis::as_str);
        check_known(&mut reader, "legal_basis", ids, &self.legal_bases);
        if let Some(id) = &id
            && self.purposes.contains_key(id.as_str())
        {
            reader.mistake("id", "an id stands for one purpose", "rename or remove one");
        }
        reader.finish();
        let entry = (|| {
            let (id, legal_basis) = (id?, legal_basis?);
            Some(PurposeEntry { id, legal_basis, title_en: title_en?, title_zh: title_zh? })
        })();
        if let Some(entry) = entry {
            self.purposes.insert(entry.id.as_str().to_owned(), entry);
        }
    }

    /// Returns the ids of what it has read.
    fn read_predicates(
        &mut self,
        remainder: Remainder<'_>,
        mistakes: &mut Vec<CatalogueMistake>,
    ) -> Vec<String> {
        let mut ids = Vec::new();
        let Remainder { file, department, predicates, .. } = remainder;
        for (number, table) in (1..).zip(predicates) {
            let place = format!("predicate {number}");
            let mut reader = Reader::of_entry(file, place, "id", table, mistakes);
            let predicate = self.read_predicate(&mut reader, department.as_ref());
            if let Some(predicate) = &predicate {
                self.check_among_others(&mut reader, predicate);
            }
            reader.finish();
            if let Some(predicate) = predicate {
                ids.push(predicate.id.as_str().to_owned());
                self.predicates.insert(predicate.id.as_str().to_owned(), Arc::new(predicate));
            }
        }
        ids
    }

    /// Reads every key before it gives up on any, so that all mistakes show at once.
    fn read_predicate(
        &self,
        reader: &mut Reader<'_>,
        department: Option<&DepartmentId>,
    ) -> Option<Predicate> {
        let id: Option<PredicateId> = reader.parsed("id");
        let title_en = reader.text("title_en");
        let title_zh = reader.text("title_zh");
        let description_en = reader.text("description_en");
        let attribute = reader.text("attribute");
        let clock = reader.word("clock", &Clock::ALL, Clock::as_str);
        let cell = read_cell(reader, clock);
        let is_match = reader.flag("match");
        if is_match && clock.is_some_and(|clock| clock != Clock::Current) {
            let rule = "a match predicate is answered as of now: a free claim fits no grid";
            reader.mistake("clock", rule, "make it current");
        }
        let parameters = read_parameters(reader, is_match);
        let cuts = self.read_cuts(reader, attribute.as_deref(), clock, parameters.as_deref());
        let kinds: Option<Vec<SubjectKindId>> = reader.parsed_list("subject_kinds", 1);
        let purposes: Option<Vec<Purpose>> = reader.parsed_list("purposes", 1);
        let absent = reader.word("absent", &Verdict::ALL, Verdict::as_str);
        let timing = reader.word("timing", &Timing::ALL, Timing::as_str);
        let ids = kinds.iter().flatten().map(SubjectKindId::as_str);
        check_known(reader, "subject_kinds", ids, &self.subject_kinds);
        let ids = purposes.iter().flatten().map(Purpose::as_str);
        check_known(reader, "purposes", ids, &self.purposes);
        let (attribute, subject_kinds, (cut, code_cut)) = (attribute?, kinds?, cuts?);
        let no_secret_for = self.no_secret_for(&attribute, &subject_kinds);
        Some(Predicate {
            id: id?,
            department: department?.clone(),
            title_en: title_en?,
            title_zh: title_zh?,
            description_en: description_en?,
            attribute,
            clock: clock?,
            cell: cell?,
            cut,
            code_cut,
            is_match,
            parameters: parameters?,
            subject_kinds,
            purposes: purposes?,
            absent: absent?,
            timing: timing?,
            no_secret_for,
        })
    }

    /// `None` after a mistake; neither of both for a state of which no figures are known.
    fn read_cuts(
        &self,
        reader: &mut Reader<'_>,
        attribute: Option<&str>,
        clock: Option<Clock>,
        parameters: Option<&[ParameterSpec]>,
    ) -> Option<(Option<Cut>, Option<CodeCut>)> {
        let table = reader.table("cut");
        let known = self.attributes.get(attribute?);
        let is_coded = known.is_some_and(|it| matches!(it.people, Histogram::Codes(_)));
        if clock? == Clock::Current && !is_coded {
            let has_threshold =
                parameters?.iter().any(|spec| matches!(spec.kind, ParameterKind::Integers(_)));
            if table.is_some() || has_threshold {
                let rule = "a state is not cut, and has no integer that could cut it";
                reader.mistake("cut", rule, "remove it or make the clock a grid");
                return None;
            }
            if known.is_some() {
                let rule = "an attribute with an [[attribute]] entry is no state";
                reader.mistake("clock", rule, "make it a grid");
                return None;
            }
            return Some((None, None));
        }
        let Some(attribute) = known else {
            let rule = "an attribute that is cut has an [[attribute]] entry";
            reader.mistake("attribute", rule, "add it, with how many people have which value");
            return None;
        };
        let Some(table) = table else {
            reader.mistake("cut", "says how an answer divides the attribute", "add it");
            return None;
        };
        let mut child = reader.child("cut", "", table);
        let cuts = if is_coded {
            read_code_cut(&mut child, parameters).map(|cut| (None, Some(cut)))
        } else {
            read_cut(&mut child, attribute, parameters).map(|cut| (Some(cut), None))
        };
        child.finish();
        cuts
    }

    fn no_secret_for(&self, attribute: &str, kinds: &[SubjectKindId]) -> Vec<SubjectKindId> {
        let reveals = |id: &&SubjectKindId| {
            self.subject_kind(id).is_some_and(|kind| {
                kind.reveals.iter().any(|revealed| revealed.attribute() == attribute)
            })
        };
        kinds.iter().filter(reveals).cloned().collect()
    }

    /// The rules between one predicate and its file, its own keys, and the predicates before it.
    fn check_among_others(&self, reader: &mut Reader<'_>, predicate: &Predicate) {
        let department = predicate.department.as_str();
        if predicate.id.department() != department {
            let rule = format!("a predicate of this file begins with {department}/");
            reader.mistake("id", rule, "rename it or move it to its department's file");
        }
        if self.predicates.contains_key(predicate.id.as_str()) {
            let mend = "give the new one the next version";
            reader.mistake("id", "an id stands for one predicate", mend);
        }
        // Were an attribute cut on a grid here and exactly there, or on a finer grid there, the
        // second would undo what the first protects.
        let cut = (predicate.clock, predicate.cell);
        let other = self.predicates.values().find(|other| {
            other.attribute == predicate.attribute && (other.clock, other.cell) != cut
        });
        if let Some(other) = other {
            let rule = "an attribute has one clock and one cell in the whole catalogue";
            reader.mistake("clock", rule, format!("see {}, which cuts it too", other.id));
        }
    }
}

/// `None` after a mistake; `Some(None)` where there is no grid.
fn read_cell(reader: &mut Reader<'_>, clock: Option<Clock>) -> Option<Option<Cell>> {
    if !reader.has("cell") {
        return Some((clock? == Clock::Grid).then_some(Cell::Month));
    }
    let cell = reader.word("cell", &Cell::ALL, Cell::as_str)?;
    if clock? != Clock::Grid {
        reader.mistake("cell", "only a grid has cells", "remove it or make the clock a grid");
        return None;
    }
    Some(Some(cell))
}

/// What the rule's standard writes into the number is declared in full: the page that citizens
/// and reviewers read is this file.
fn read_reveals(reader: &mut Reader<'_>, rule: Option<IdentifierRule>) -> Option<Vec<Reveals>> {
    let names = reader.texts("reveals", 0)?;
    let mut reveals = Vec::new();
    for name in &names {
        match Reveals::ALL.into_iter().find(|revealed| revealed.attribute() == name) {
            Some(revealed) => reveals.push(revealed),
            None => {
                let rule = one_of(Reveals::ALL.map(Reveals::attribute));
                reader.mistake("reveals", format!("must be {rule}"), "change it");
            }
        }
    }
    let mut missing = rule?.reveals().iter().filter(|revealed| !reveals.contains(revealed));
    if let Some(missing) = missing.next() {
        let rule = format!("the rule's standard writes {} into it", missing.attribute());
        reader.mistake("reveals", rule, "add it");
    }
    Some(reveals)
}

fn read_parameters(reader: &mut Reader<'_>, is_match: bool) -> Option<Vec<ParameterSpec>> {
    let tables = reader.tables("parameter", PARAMETERS_MAX);
    let mut specs: Vec<Option<ParameterSpec>> = Vec::new();
    for (number, table) in (1..).zip(tables) {
        let mut child = reader.child(&format!("parameter {number}"), "name", table);
        let spec = read_parameter(&mut child);
        if let Some(spec) = &spec {
            if specs.iter().flatten().any(|other| other.name == spec.name) {
                child.mistake("name", "a name stands for one parameter", "rename one");
            }
            if spec.kind.is_free() && !is_match {
                let rule = "only a match predicate has a free parameter";
                child.mistake("type", rule, "close the set or set match = true");
            }
        }
        child.finish();
        specs.push(spec);
    }
    specs.into_iter().collect()
}

#[derive(Clone, Copy)]
enum ParameterType {
    Code,
    Identifier,
    Integer,
    Text,
}

impl ParameterType {
    const ALL: [Self; 4] = [Self::Code, Self::Identifier, Self::Integer, Self::Text];

    fn as_str(self) -> &'static str {
        match self {
            Self::Code => "code",
            Self::Identifier => "identifier",
            Self::Integer => "integer",
            Self::Text => "text",
        }
    }
}

fn read_parameter(reader: &mut Reader<'_>) -> Option<ParameterSpec> {
    let name = reader.text("name");
    let title_en = reader.text("title_en");
    let title_zh = reader.text("title_zh");
    if let Some(name) = &name
        && !is_parameter_name(name)
    {
        let rule = "must be 1 to 32 of a-z, 0-9 and '_', beginning with a letter";
        reader.mistake("name", rule, "rename it");
    }
    let kind = match reader.word("type", &ParameterType::ALL, ParameterType::as_str)? {
        ParameterType::Code => reader.texts("one_of", 1).map(ParameterKind::Codes),
        ParameterType::Identifier => reader
            .word("rule", &IdentifierRule::ALL, IdentifierRule::as_str)
            .map(ParameterKind::Identifier),
        ParameterType::Integer => reader.integers("one_of").map(ParameterKind::Integers),
        ParameterType::Text => {
            let chars_max = reader.integer("chars_max", 1, TEXT_CHARS_MAX)?;
            usize::try_from(chars_max).ok().map(|chars_max| ParameterKind::Text { chars_max })
        }
    };
    Some(ParameterSpec {
        name: name?.into(),
        title_en: title_en?,
        title_zh: title_zh?,
        kind: kind?,
    })
}

/// A name is a JSON key and a piece of a JSON pointer, so it needs no escaping in either.
fn is_parameter_name(name: &str) -> bool {
    name.len() <= 32
        && name.starts_with(|first: char| first.is_ascii_lowercase())
        && name.bytes().all(|byte| matches!(byte, b'a'..=b'z' | b'0'..=b'9' | b'_'))
}

fn check_known<'i, T>(
    reader: &mut Reader<'_>,
    key: &str,
    ids: impl Iterator<Item = &'i str>,
    known: &BTreeMap<String, T>,
) {
    for id in ids.filter(|id| !known.contains_key(*id)) {
        let rule = format!("the catalogue has no {id}");
        reader.mistake(key, rule, format!("make it {}", one_of(known.keys())));
    }
}

fn syntax_mistake(file: &str, text: &str, fault: &toml::de::Error) -> CatalogueMistake {
    let offset = fault.span().map_or(0, |span| span.start.min(text.len()));
    let line = text.as_bytes()[..offset].iter().filter(|byte| **byte == b'\n').count() + 1;
    let rule = format!("line {line} is not TOML: {}", fault.message());
    CatalogueMistake::of_file(file, rule, "mend the line")
}
