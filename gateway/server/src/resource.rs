//! What can be fetched beside answers: the catalogue, receipts, health and readiness.

use http::StatusCode;
use jumpgate_catalogue::{Catalogue, LegalBasis, ParameterKind, Predicate, Refusal, RefusalCode};
use jumpgate_querylog::{LeafFault, Receipt};
use serde_json::{Value, json};

use crate::caller::Caller;
use crate::gateway::Gateway;
use crate::record::{self, LogUnavailable};
use crate::respond::{self, Reply};

/// `GET /v1/catalogue`: every predicate, kind and purpose.
pub fn catalogue(catalogue: &Catalogue) -> Reply {
    let predicates: Vec<Value> = catalogue.predicates().map(|entry| predicate(entry)).collect();
    let kinds = catalogue.subject_kinds().map(|kind| {
        let reveals: Vec<&str> = kind.reveals.iter().map(|r| r.attribute()).collect();
        let title = json!({ "en": kind.title_en, "zh": kind.title_zh });
        json!({ "kind": kind.id.as_str(), "title": title, "reveals": reveals })
    });
    let purposes = catalogue.purposes().map(|(purpose, title)| {
        let title = json!({ "en": title, "zh": catalogue.purpose_title_zh(purpose) });
        let basis = catalogue.legal_basis_of(purpose).map(LegalBasis::as_str);
        json!({ "purpose": purpose.as_str(), "title": title, "legal_basis": basis })
    });
    let bases = catalogue.legal_bases().map(|(basis, title)| {
        let title = json!({ "en": title, "zh": catalogue.legal_basis_title_zh(basis) });
        json!({ "legal_basis": basis.as_str(), "title": title })
    });
    let body = json!({
        "digest": catalogue.digest().to_string(),
        "predicates": predicates,
        "subject_kinds": kinds.collect::<Vec<_>>(),
        "purposes": purposes.collect::<Vec<_>>(),
        "legal_bases": bases.collect::<Vec<_>>(),
    });
    respond::document(StatusCode::OK, &body)
}

fn predicate(entry: &Predicate) -> Value {
    let parameters: Vec<Value> = entry
        .parameters
        .iter()
        .map(|parameter| match &parameter.kind {
            ParameterKind::Integers(set) => {
                json!({ "name": parameter.name.as_ref(), "type": "integer", "one_of": set })
            }
            ParameterKind::Codes(set) => {
                json!({ "name": parameter.name.as_ref(), "type": "string", "one_of": set })
            }
            ParameterKind::Text { chars_max } => {
                json!({ "name": parameter.name.as_ref(), "type": "string", "chars_max": chars_max })
            }
            ParameterKind::Identifier(rule) => {
                json!({ "name": parameter.name.as_ref(), "type": "string", "rule": rule.as_str() })
            }
        })
        .collect();
    let kinds: Vec<&str> = entry.subject_kinds.iter().map(|kind| kind.as_str()).collect();
    let no_secret: Vec<&str> = entry.no_secret_for.iter().map(|kind| kind.as_str()).collect();
    let purposes: Vec<&str> = entry.purposes.iter().map(|purpose| purpose.as_str()).collect();
    json!({
        "predicate": entry.id.as_str(),
        "department": entry.department.as_str(),
        "title": { "en": entry.title_en, "zh": entry.title_zh },
        "description": entry.description_en,
        "attribute": entry.attribute,
        "clock": entry.clock.as_str(),
        "cell": entry.cell.map(|cell| cell.as_str()),
        "parameters": parameters,
        "subject_kinds": kinds,
        "no_secret_for": no_secret,
        "purposes": purposes,
        "absent": entry.absent.as_str(),
    })
}

/// Why something is not read.
pub enum Unread {
    /// It is not there, or not for this caller.
    Refused(Refusal),
    /// The query log's files cannot be read, or it has stopped.
    Unavailable(LogUnavailable),
}

impl From<Refusal> for Unread {
    fn from(refusal: Refusal) -> Self {
        Self::Refused(refusal)
    }
}

impl Unread {
    /// A file of the log that should be there cannot be read.
    pub(crate) fn fault(fault: &LeafFault) -> Self {
        Self::Unavailable(record::unreadable(fault))
    }
}

/// `GET /v1/receipts/{index}`: where an entry stands and, once the published tree holds it, the
/// proof, for the caller it was made for.
///
/// # Errors
/// `NoReceipt`, alike for an entry that is not there and one that is another caller's; the log
/// cannot be read, or has stopped before it published the entry.
pub async fn receipt(gateway: &Gateway, caller: &Caller, index: &str) -> Result<Reply, Unread> {
    let none = || {
        let mend = "ask for the index of an answer that this caller received";
        Refusal::new(RefusalCode::NoReceipt, mend)
    };
    let canonical = index == "0" || !index.starts_with(['0', '+']);
    let index: u64 = index.parse().ok().filter(|_| canonical).ok_or_else(none)?;
    let log = gateway.record.log().clone();
    let owner = caller.id().clone();
    let found = tokio::task::spawn_blocking(move || {
        let leaf = log.leaf(index)?;
        let own = leaf.filter(|leaf| leaf.caller.as_deref() == Some(owner.as_str()));
        own.map(|leaf| Ok((leaf, log.receipt(index)?))).transpose()
    });
    let found = found.await.map_err(|_| Unread::Unavailable(LogUnavailable::Panicked))?;
    let (leaf, proof) = found.map_err(|fault| Unread::fault(&fault))?.ok_or_else(none)?;
    let proof = match proof {
        Receipt::Proven(text) => Some(text),
        Receipt::Erased => None,
        Receipt::NotYet => {
            // Once the log has stopped nobody can say whether the entry will be proven.
            gateway.record.still_writes().map_err(Unread::Unavailable)?;
            None
        }
    };
    let leaf_hash = hex::encode(leaf.leaf_hash);
    let mut body = json!({ "index": index, "leaf_hash": leaf_hash, "kind": leaf.kind.as_str() });
    if let Some(proof) = proof {
        body["proof"] = Value::String(proof);
    }
    Ok(respond::document(StatusCode::OK, &body))
}

/// `GET /healthz`: the process runs.
pub fn health() -> Reply {
    respond::document(StatusCode::OK, &json!({ "status": "running" }))
}

/// `GET /readyz`: questions are answered now; 503 while they are not.
pub fn readiness(gateway: &Gateway) -> Reply {
    let log = gateway.record.log().health();
    let is_ready = log.state() == "writing" && !gateway.drain.is_draining();
    let status = if is_ready { StatusCode::OK } else { StatusCode::SERVICE_UNAVAILABLE };
    let body = json!({
        "ready": is_ready,
        "query_log": log.state(),
        "draining": gateway.drain.is_draining(),
    });
    respond::document(status, &body)
}
