//! The requests a department allows. Looks at the assembled request, never at what the adapter
//! said it would be, and is the only maker of a `Permitted` one. Pure.

use bytes::Bytes;
use http::uri::PathAndQuery;

use super::assemble::{Assembled, Denied, Headers, plain_path, text_of};
use super::content_type::{ContentType, Format};
use super::settings::{AllowSettings, Method, Mistakes};
use super::soap::{self, Outline, TokenPlace};

/// A department's allow-list.
pub(super) struct AllowList {
    rules: Vec<Rule>,
    /// True if each request needs a place for a WS-Security token.
    wants_token: bool,
}

/// A request that the allow-list holds.
pub(super) struct Permitted {
    pub(super) method: Method,
    /// Path and query as they are sent.
    pub(super) target: PathAndQuery,
    pub(super) headers: Headers,
    pub(super) body: Bytes,
    /// Where a WS-Security token goes; there if the allow-list was made to want one.
    pub(super) token_place: Option<TokenPlace>,
}

struct Rule {
    method: Method,
    path_prefix: String,
    soap_action: Option<String>,
    /// Namespace and local name.
    body_root: Option<(String, String)>,
}

impl AllowList {
    /// Notes each entry that could never hold or says something else than it seems to.
    pub(super) fn new(
        settings: &[AllowSettings],
        wants_token: bool,
        mistakes: &mut Mistakes,
    ) -> Self {
        if settings.is_empty() {
            mistakes.add("allow", "name at least one request, or every request is denied");
        }
        let rules = settings.iter().enumerate();
        let rules = rules.filter_map(|(index, rule)| Rule::new(index, rule, mistakes)).collect();
        Self { rules, wants_token }
    }

    /// Permits `assembled` if an entry holds it.
    pub(super) fn permit(&self, assembled: Assembled) -> Result<Permitted, Denied> {
        let own_target = &assembled.target[assembled.path_start..];
        let path = plain_path(own_target).ok_or(Denied::PathNotPlain)?;
        let fits =
            |rule: &&Rule| rule.method == assembled.method && is_below(path, &rule.path_prefix);
        let mut candidates = self.rules.iter().filter(fits);
        let is_xml = assembled.format == Some(Format::Xml);
        if is_xml && may_hold_document_type(&assembled.body) {
            return Err(Denied::DocumentType);
        }
        let wants_outline = self.wants_token || candidates.clone().any(Rule::is_soap);
        let envelope = match wants_outline && is_xml {
            true => Envelope::read(&assembled.body, &assembled.headers),
            false => None,
        };
        if self.wants_token && envelope.is_none() {
            return Err(Denied::NotSoap);
        }
        if !candidates.any(|rule| rule.holds(envelope.as_ref())) {
            let is_no_envelope = wants_outline && envelope.is_none();
            return Err(if is_no_envelope { Denied::NotSoap } else { Denied::NotAllowed });
        }
        let token_place = envelope.map(|envelope| envelope.outline.token_place);
        let target = PathAndQuery::from_maybe_shared(assembled.target.clone());
        Ok(Permitted {
            method: assembled.method,
            target: target.map_err(|_| Denied::PathNotPlain)?,
            headers: assembled.headers,
            body: assembled.body,
            token_place: token_place.filter(|_| self.wants_token),
        })
    }
}

impl Rule {
    fn new(index: usize, settings: &AllowSettings, mistakes: &mut Mistakes) -> Option<Self> {
        let count_before = mistakes.count();
        let path_prefix = &settings.path_prefix;
        if path_prefix.contains('?') || plain_path(path_prefix.as_bytes()).is_none() {
            let mend = "must be a plain path that begins with / and has no query";
            mistakes.add(format!("allow[{index}].path_prefix"), mend);
        }
        let body_root = settings.body_root.as_deref().and_then(|text| {
            let root = parse_root(text);
            if root.is_none() {
                let mend = "must be {namespace}local, such as {urn:example:registry}GetPerson";
                mistakes.add(format!("allow[{index}].body_root"), mend);
            }
            root
        });
        let is_soap = settings.soap_action.is_some() || settings.body_root.is_some();
        if is_soap && settings.method == Method::Get {
            mistakes.add(format!("allow[{index}].method"), "must be POST for a SOAP operation");
        }
        (mistakes.count() == count_before).then(|| Self {
            method: settings.method,
            path_prefix: path_prefix.clone(),
            soap_action: settings.soap_action.clone(),
            body_root,
        })
    }

    fn is_soap(&self) -> bool {
        self.soap_action.is_some() || self.body_root.is_some()
    }

    /// True for a request whose method and path fit already.
    fn holds(&self, envelope: Option<&Envelope<'_>>) -> bool {
        let action_holds = self.soap_action.as_ref().is_none_or(|wanted| {
            envelope.is_some_and(|envelope| {
                let mut named = envelope.actions.into_iter().flatten().peekable();
                named.peek().is_some() && named.all(|action| action == wanted)
            })
        });
        let root_holds = self.body_root.as_ref().is_none_or(|(namespace, local)| {
            envelope.is_some_and(|envelope| {
                let found = &envelope.outline.body_root;
                found.0 == *namespace && found.1 == local
            })
        });
        action_holds && root_holds
    }
}

/// A SOAP request as the department's dispatcher sees it.
struct Envelope<'a> {
    outline: Outline<'a>,
    /// The action by SOAPAction (SOAP 1.1), Content-Type (SOAP 1.2) and WS-Addressing. Which one a
    /// department dispatches on is its own affair, so all must agree.
    actions: [Option<&'a str>; 3],
}

impl<'a> Envelope<'a> {
    fn read(body: &'a [u8], headers: &'a Headers) -> Option<Self> {
        let content_type = ContentType::parse(text_of(headers.content_type.as_ref()?))?;
        if content_type.is_other_charset {
            return None;
        }
        let outline = soap::outline(body).ok()?;
        let header = headers.soap_action.as_ref().map(|value| unquoted(text_of(value)));
        // Many stacks send an empty SOAPAction where the action stands elsewhere.
        let header = header.filter(|action| !action.is_empty());
        Some(Self { actions: [header, content_type.action, outline.action], outline })
    }
}

/// True if `path` equals `prefix` or goes on after it at a segment boundary.
fn is_below(path: &str, prefix: &str) -> bool {
    path.strip_prefix(prefix)
        .is_some_and(|rest| rest.is_empty() || prefix.ends_with('/') || rest.starts_with('/'))
}

/// Looks everywhere: an entity bomb in a body that no entry looks into would harm the department
/// all the same. A zero byte stands for UTF-16, which would hide one.
fn may_hold_document_type(body: &[u8]) -> bool {
    body.contains(&0) || body.windows(DOCTYPE.len()).any(|window| window == DOCTYPE)
}

fn unquoted(text: &str) -> &str {
    let text = text.trim();
    text.strip_prefix('"').and_then(|rest| rest.strip_suffix('"')).unwrap_or(text)
}

fn parse_root(text: &str) -> Option<(String, String)> {
    let (namespace, local) = text.strip_prefix('{')?.split_once('}')?;
    let is_local = !local.is_empty() && !local.contains(['{', '}', ':', ' ', '<']);
    is_local.then(|| (namespace.to_owned(), local.to_owned()))
}

const DOCTYPE: &[u8] = b"<!DOCTYPE";

#[cfg(test)]
mod tests;
