//! The catalogue: every predicate, purpose and kind of subject identifier there is.
//!
//! Owns the meaning of `spec/catalogue`. It is read once, from files only, and whole: a catalogue
//! with one mistake is no catalogue. It must never know who may ask what; that is policy.

use std::collections::{BTreeMap, BTreeSet};
use std::ffi::OsString;
use std::path::Path;
use std::sync::Arc;

use crate::ids::{Digest, LegalBasis, PredicateId, Purpose, SubjectKindId};
use crate::subject::{PROVINCES, Province, SubjectKind};

mod attribute;
mod cuts;
mod entries;
mod exact;
mod lint;
mod predicate;
mod reader;

pub use attribute::{
    Attribute, Buckets, CodeCut, Cut, CutUnit, ExactCut, FinestCells, Follows, Histogram, Join,
    Release, Side, Way,
};
pub use predicate::{Cell, Clock, ParameterKind, ParameterSpec, Predicate, Timing};

/// Every predicate, purpose and kind of subject identifier, checked against each other.
#[derive(Debug)]
pub struct Catalogue {
    digest: Digest,
    // Keyed by their ids' texts, so that a caller's text is looked up without being parsed.
    predicates: BTreeMap<String, Arc<Predicate>>,
    attributes: BTreeMap<String, Attribute>,
    joins: BTreeMap<String, Join>,
    legal_bases: BTreeMap<String, LegalBasisEntry>,
    purposes: BTreeMap<String, PurposeEntry>,
    subject_kinds: BTreeMap<String, Arc<SubjectKind>>,
}

impl Catalogue {
    /// Reads every `*.toml` of `dir` in the order of their names. Reports all mistakes at once.
    pub fn load(dir: &Path) -> Result<Self, Vec<CatalogueMistake>> {
        let names = list_files(dir).map_err(|mistake| vec![mistake])?;
        let mut files = Vec::new();
        let mut mistakes = Vec::new();
        for name in names {
            match read_file(&dir.join(&name)) {
                Ok(text) => files.push((name.to_string_lossy().into_owned(), text)),
                Err(mistake) => mistakes.push(mistake),
            }
        }
        if mistakes.is_empty() { Self::parse(&files) } else { Err(mistakes) }
    }

    /// Reads `(file name, text)` pairs; their order does not matter. Reports all mistakes at once.
    pub fn parse(files: &[(String, String)]) -> Result<Self, Vec<CatalogueMistake>> {
        let mut files: Vec<(&str, &str)> =
            files.iter().map(|(name, text)| (name.as_str(), text.as_str())).collect();
        files.sort_unstable();
        let mut catalogue = Self {
            digest: digest_of(&files),
            predicates: BTreeMap::new(),
            attributes: BTreeMap::new(),
            joins: BTreeMap::new(),
            legal_bases: BTreeMap::new(),
            purposes: BTreeMap::new(),
            subject_kinds: BTreeMap::new(),
        };
        let mistakes = catalogue.fill(&files);
        if mistakes.is_empty() { Ok(catalogue) } else { Err(mistakes) }
    }

    /// Digest over a canonical form of all files: count, then each name and text with its length.
    /// The query log binds every answer to it.
    pub fn digest(&self) -> Digest {
        self.digest
    }

    /// The predicate of that id.
    pub fn predicate(&self, id: &PredicateId) -> Option<&Arc<Predicate>> {
        self.predicate_by_text(id.as_str())
    }

    pub(crate) fn predicate_by_text(&self, id: &str) -> Option<&Arc<Predicate>> {
        self.predicates.get(id)
    }

    /// Every predicate, sorted by id.
    pub fn predicates(&self) -> impl Iterator<Item = &Arc<Predicate>> {
        self.predicates.values()
    }

    /// Every purpose with its English title, sorted by id.
    pub fn purposes(&self) -> impl Iterator<Item = (&Purpose, &str)> {
        self.purposes.values().map(|entry| (&entry.id, entry.title_en.as_str()))
    }

    /// The Chinese title of a purpose.
    pub fn purpose_title_zh(&self, purpose: &Purpose) -> Option<&str> {
        self.purposes.get(purpose.as_str()).map(|entry| entry.title_zh.as_str())
    }

    /// Every attribute that is not a state's, sorted by id.
    pub fn attributes(&self) -> impl Iterator<Item = &Attribute> {
        self.attributes.values()
    }

    /// The attribute of that id, unless it is a state's.
    pub fn attribute(&self, id: &str) -> Option<&Attribute> {
        self.attributes.get(id)
    }

    /// What all questions about an attribute leave at the finest; none if nothing cuts it.
    pub fn finest_cells(&self, attribute: &Attribute) -> Option<FinestCells> {
        let predicates: Vec<_> = self.predicates.values().cloned().collect();
        lint::finest(attribute, &self.attributes, &predicates)
    }

    /// Every join of attributes, sorted by id.
    pub fn joins(&self) -> impl Iterator<Item = &Join> {
        self.joins.values()
    }

    /// The fewest people whom all questions about the attributes of a join leave together; none if
    /// nothing divides them.
    pub fn fewest_together(&self, join: &Join) -> Option<u64> {
        let predicates: Vec<_> = self.predicates.values().cloned().collect();
        lint::fewest_together(join, &self.attributes, &predicates)
    }

    /// Every legal basis with its English title, sorted by id.
    pub fn legal_bases(&self) -> impl Iterator<Item = (&LegalBasis, &str)> {
        self.legal_bases.values().map(|entry| (&entry.id, entry.title_en.as_str()))
    }

    /// The Chinese title of a legal basis.
    pub fn legal_basis_title_zh(&self, basis: &LegalBasis) -> Option<&str> {
        self.legal_bases.get(basis.as_str()).map(|entry| entry.title_zh.as_str())
    }

    /// What a purpose rests on.
    pub fn legal_basis_of(&self, purpose: &Purpose) -> Option<&LegalBasis> {
        self.purposes.get(purpose.as_str()).map(|entry| &entry.legal_basis)
    }

    /// Every kind of subject identifier, sorted by id.
    pub fn subject_kinds(&self) -> impl Iterator<Item = &SubjectKind> {
        self.subject_kinds.values().map(Arc::as_ref)
    }

    /// The kind of that id.
    pub fn subject_kind(&self, id: &SubjectKindId) -> Option<&Arc<SubjectKind>> {
        self.subject_kinds.get(id.as_str())
    }

    /// The province-level divisions of GB/T 2260 that identity numbers are checked against.
    pub fn divisions(&self) -> impl Iterator<Item = &'static Province> {
        PROVINCES.iter()
    }
}

/// A mistake in a catalogue file: where, which rule, and how to mend it.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{file}: {entry}: {field}: {rule}; {mend}")]
pub struct CatalogueMistake {
    /// The file's name.
    pub file: String,
    /// The entry's id, or its place in the file if it has none; `file` for the file as a whole.
    pub entry: String,
    /// The key within the entry.
    pub field: String,
    /// The rule that the entry breaks.
    pub rule: String,
    /// What to change.
    pub mend: String,
}

impl CatalogueMistake {
    fn of_file(file: &str, rule: impl Into<String>, mend: impl Into<String>) -> Self {
        Self {
            file: file.to_owned(),
            entry: "file".to_owned(),
            field: "-".to_owned(),
            rule: rule.into(),
            mend: mend.into(),
        }
    }
}

#[derive(Debug)]
struct LegalBasisEntry {
    id: LegalBasis,
    title_en: String,
    title_zh: String,
}

#[derive(Debug)]
struct PurposeEntry {
    id: Purpose,
    legal_basis: LegalBasis,
    title_en: String,
    title_zh: String,
}

/// A country's departments, one file each, and room to spare; a mistyped directory stops here.
const FILES_MAX: usize = 512;
/// A hundred long entries; beyond it a file is no catalogue.
const FILE_BYTES_MAX: u64 = 1 << 20;

fn list_files(dir: &Path) -> Result<BTreeSet<OsString>, CatalogueMistake> {
    let shown = dir.display().to_string();
    let unreadable = |cause: std::io::Error| {
        CatalogueMistake::of_file(
            &shown,
            format!("cannot be listed ({cause})"),
            "give a readable directory",
        )
    };
    let mut names = BTreeSet::new();
    for found in std::fs::read_dir(dir).map_err(unreadable)? {
        let name = found.map_err(unreadable)?.file_name();
        if Path::new(&name).extension().is_some_and(|extension| extension == "toml") {
            names.insert(name);
        }
        if names.len() > FILES_MAX {
            return Err(CatalogueMistake::of_file(
                &shown,
                format!("a catalogue has at most {FILES_MAX} files"),
                "give the catalogue's own directory",
            ));
        }
    }
    Ok(names)
}

fn read_file(path: &Path) -> Result<String, CatalogueMistake> {
    let shown = path.display().to_string();
    let unreadable = |cause: std::io::Error| {
        CatalogueMistake::of_file(
            &shown,
            format!("cannot be read ({cause})"),
            "make it a readable UTF-8 file",
        )
    };
    let bytes = std::fs::metadata(path).map_err(unreadable)?.len();
    if bytes > FILE_BYTES_MAX {
        return Err(CatalogueMistake::of_file(
            &shown,
            format!("a catalogue file has at most {FILE_BYTES_MAX} bytes"),
            "split it",
        ));
    }
    std::fs::read_to_string(path).map_err(unreadable)
}

fn digest_of(files: &[(&str, &str)]) -> Digest {
    let mut canonical = b"jumpgate/catalogue/v1".to_vec();
    canonical.extend((files.len() as u64).to_be_bytes());
    for part in files.iter().flat_map(|(name, text)| [name, text]) {
        canonical.extend((part.len() as u64).to_be_bytes());
        canonical.extend(part.as_bytes());
    }
    Digest::of(&canonical)
}

#[cfg(test)]
pub(crate) mod tests;
