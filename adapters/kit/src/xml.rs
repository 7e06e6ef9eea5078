//! XML documents as departments send them: a flat tree over the reply's own text.
//!
//! Owns what an author sees of a document; `builder` owns well-formedness and limits. Names and
//! text are borrowed from the reply.

use std::borrow::Cow;

use builder::Builder;
use quick_xml::XmlVersion;
use quick_xml::events::attributes::Attributes;

use crate::{Date, Failure, FailureCode, Reason, Reply, Stop};

mod builder;

/// A well-formed document: at most 16,384 elements, 64 deep, with 64 attributes each, in 64
/// namespaces.
#[derive(Debug)]
pub struct Document<'t> {
    reply: &'t Reply,
    /// In document order: an element's descendants follow it.
    nodes: Vec<Node<'t>>,
    /// Each namespace once; the first is none.
    namespaces: Vec<String>,
}

#[derive(Debug)]
struct Node<'t> {
    /// Without its prefix.
    name: &'t str,
    /// What stands between the name and the end of the tag.
    attributes: &'t str,
    namespace: u32,
    is_nil: bool,
    text: Cow<'t, str>,
    parent: u32,
    /// Index of the first node that is no descendant.
    end: u32,
}

impl<'t> Document<'t> {
    pub(crate) fn parse(reply: &'t Reply, text: &'t str) -> Result<Self, Failure> {
        Builder::new(reply, text).build()
    }

    /// The root element.
    pub fn root(&self) -> Element<'_> {
        Element { document: self, index: 0 }
    }
}

/// An element of a [`Document`].
#[derive(Debug, Clone, Copy)]
pub struct Element<'d> {
    document: &'d Document<'d>,
    index: usize,
}

impl<'d> Element<'d> {
    /// The name without its prefix.
    pub fn name(self) -> &'d str {
        self.node().name
    }

    /// The namespace, empty if it has none.
    pub fn namespace(self) -> &'d str {
        &self.document.namespaces[self.node().namespace as usize]
    }

    /// An attribute without a namespace.
    pub fn attribute(self, name: &str) -> Option<Cow<'d, str>> {
        let mut attributes = Attributes::new(self.node().attributes, 0);
        // The builder has read them all before: none is malformed.
        let found = attributes.with_checks(false).flatten().find(|it| it.key.0 == name)?;
        found.normalized_value(XmlVersion::Implicit1_0).ok()
    }

    /// The character data of the element itself, without white space around it.
    pub fn text(self) -> &'d str {
        self.node().text.trim_ascii()
    }

    /// The elements inside, in document order.
    pub fn children(self) -> impl Iterator<Item = Element<'d>> {
        let (document, end) = (self.document, self.node().end as usize);
        let mut next = self.index + 1;
        std::iter::from_fn(move || {
            let child = (next < end).then_some(Element { document, index: next })?;
            next = child.node().end as usize;
            Some(child)
        })
    }

    /// The elements inside of this name, in the element's own namespace or none: a schema may
    /// qualify its local elements or not.
    pub fn children_named(self, name: &str) -> impl Iterator<Item = Element<'d>> {
        let namespace = self.node().namespace;
        self.children().filter(move |child| {
            let own = child.node().namespace;
            child.name() == name && (own == namespace || own == 0)
        })
    }

    /// The first element found by `path`: names joined by `/`, as for [`Self::children_named`].
    pub fn find(self, path: &str) -> Option<Element<'d>> {
        path.split('/').try_fold(self, |element, name| element.children_named(name).next())
    }

    /// The element found by `path`.
    ///
    /// # Errors
    /// `unexpected-reply` with the path where there is none.
    pub fn required(self, path: &str) -> Result<Element<'d>, Failure> {
        self.find(path).ok_or_else(|| {
            let whole = format!("{}/{path}", self.path());
            self.document.reply.failure_on(FailureCode::UnexpectedReply, whole)
        })
    }

    /// The text of a field that may be missing, empty or `xsi:nil`; then it is none.
    ///
    /// # Errors
    /// `conflicting-fields` where the record has the field twice.
    pub fn optional_field(self, path: &str) -> Result<Option<&'d str>, Stop> {
        let (within, name) = match path.rsplit_once('/') {
            Some((parents, name)) => (self.find(parents), name),
            None => (Some(self), path),
        };
        let Some(within) = within else { return Ok(None) };
        let mut found = within.children_named(name);
        let first = found.next().filter(|element| !element.node().is_nil);
        if found.next().is_some() {
            return Err(Reason::ConflictingFields.into());
        }
        Ok(first.map(Element::text).filter(|text| !text.is_empty()))
    }

    /// The text of a field that the predicate needs.
    ///
    /// # Errors
    /// `missing-field` where there is none, and as [`Self::optional_field`].
    pub fn field(self, path: &str) -> Result<&'d str, Stop> {
        self.optional_field(path)?.ok_or(Stop::Undetermined(Reason::MissingField))
    }

    /// The date of a field that the predicate needs.
    ///
    /// # Errors
    /// `unusable-field` where it is no date of the calendar, and as [`Self::field`].
    pub fn date(self, path: &str) -> Result<Date, Stop> {
        Ok(self.field(path)?.parse()?)
    }

    /// The date of a field that may be missing.
    ///
    /// # Errors
    /// `unusable-field` where it is no date of the calendar, and as [`Self::optional_field`].
    pub fn optional_date(self, path: &str) -> Result<Option<Date>, Stop> {
        Ok(self.optional_field(path)?.map(str::parse).transpose()?)
    }

    /// Where the element stands: `/Envelope/Body/Person[2]/BirthDate`. The number counts elements
    /// of one name among their siblings, from 1.
    pub fn path(self) -> String {
        let Some(parent) = self.parent() else { return format!("/{}", self.name()) };
        let same: Vec<_> = parent.children().filter(|it| it.name() == self.name()).collect();
        let nth = same.iter().position(|it| it.index == self.index).unwrap_or_default() + 1;
        let number = if same.len() > 1 { format!("[{nth}]") } else { String::new() };
        format!("{}/{}{number}", parent.path(), self.name())
    }

    /// A failure at this element.
    pub fn failure(self, code: FailureCode) -> Failure {
        self.document.reply.failure_on(code, self.path())
    }

    fn parent(self) -> Option<Element<'d>> {
        let parent = self.node().parent as usize;
        (self.index > 0).then_some(Element { document: self.document, index: parent })
    }

    fn node(self) -> &'d Node<'d> {
        &self.document.nodes[self.index]
    }
}

#[cfg(test)]
mod tests;
