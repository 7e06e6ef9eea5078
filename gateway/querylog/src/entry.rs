//! The entry: the public part of a record, and the leaf of the tree.
//!
//! Owns the deterministic CBOR (RFC 8949 §4.2.1) of `spec/query-log.cddl`. It must never hold a
//! subject identifier, a case, an operator or a verdict.

use std::borrow::Cow;
use std::convert::Infallible;

use jiff::Timestamp;
use jiff::tz::TimeZone;
use jumpgate_catalogue::{Digest, QueryId};
use minicbor::{Decoder, Encoder, data, decode, encode};

use crate::kind::Kind;

/// Largest entry. Far below the 65,535 bytes of an entry bundle (C2SP tlog-tiles), so that a full
/// bundle of 256 stays near one megabyte; a typical entry has 300 to 450 bytes.
pub const ENTRY_BYTES_MAX: usize = 4096;

/// A SHA-256 value of the tree.
pub type LeafHash = [u8; 32];

/// RFC 6962 §2.1 leaf hash: SHA-256 of a zero byte and the entry.
pub fn leaf_hash(entry: &[u8]) -> LeafHash {
    jumpgate_tlog::Hash::of_leaf(entry).0
}

/// The public part of a record. Borrowed while it is made or decoded; see [`Entry::into_owned`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Entry<'a> {
    /// What is recorded.
    pub kind: Kind,
    /// When, Unix milliseconds.
    pub time_ms: u64,
    /// The question's own id.
    pub query_id: Option<QueryId>,
    /// Who asked.
    pub caller: Option<Cow<'a, str>>,
    /// Who holds the record.
    pub department: Option<Cow<'a, str>>,
    /// What was asked, `department/name@version`.
    pub predicate: Option<Cow<'a, str>>,
    /// Why it was asked.
    pub purpose: Option<Cow<'a, str>>,
    /// The adapter component.
    pub adapter: Option<Digest>,
    /// The catalogue.
    pub catalogue: Option<Digest>,
    /// The policy.
    pub policy: Option<Digest>,
    /// The engine's configuration.
    pub engine: Option<Digest>,
    /// Leaf index of the `ask` that a closing entry closes.
    pub ask: Option<u64>,
    /// About whom.
    pub pseudonym: Option<Pseudonym>,
    /// Commitment to all sealed fields, `fields::commitment_of_all`.
    pub fields: Option<[u8; 32]>,
    /// Code of a refusal or a fault.
    pub code: Option<Cow<'a, str>>,
    /// How many refusals a `coalesced` entry stands for.
    pub count: Option<u64>,
    /// Details of an administrative entry.
    pub details: Option<Details<'a>>,
    /// The rule of the policy that decided.
    pub rule: Option<Cow<'a, str>>,
}

/// A subject's name in one department and one epoch, which only the key's holder can link to the
/// subject or to another department's pseudonym.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Pseudonym {
    /// HMAC-SHA256(K[department, epoch], handle), first 16 bytes.
    pub value: [u8; 16],
    /// The epoch: whole quarters since 1 January 1970, UTC.
    pub epoch: u32,
}

/// The epoch of a time: whole quarters since 1 January 1970, UTC.
pub fn epoch_of(time_ms: u64) -> u32 {
    let millis = i64::try_from(time_ms).unwrap_or(i64::MAX);
    let time = Timestamp::from_millisecond(millis).unwrap_or(Timestamp::MAX);
    let date = TimeZone::UTC.to_datetime(time).date();
    // No time before 1970 reaches here, and a month is at least 1.
    let year = u32::from(date.year().unsigned_abs()).saturating_sub(1970);
    year * 4 + (u32::from(date.month().unsigned_abs()) - 1) / 3
}

/// Details of an administrative entry: a map of texts, kept in the order of their encoding. A
/// detail stands in clear and may name no person.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Details<'a>(Vec<(Cow<'a, str>, Cow<'a, str>)>);

impl<'a> Details<'a> {
    /// No details.
    pub fn new() -> Self {
        Self::default()
    }

    /// Adds or replaces a detail.
    pub fn with(mut self, name: impl Into<Cow<'a, str>>, value: impl Into<Cow<'a, str>>) -> Self {
        let (name, value) = (name.into(), value.into());
        match self.place_of(&name) {
            Ok(place) => self.0[place].1 = value,
            Err(place) => self.0.insert(place, (name, value)),
        }
        self
    }

    /// The value of a detail.
    pub fn find(&self, name: &str) -> Option<&str> {
        self.place_of(name).ok().map(|place| &*self.0[place].1)
    }

    /// Every detail, in the order of the encoding.
    pub fn iter(&self) -> impl Iterator<Item = (&str, &str)> {
        self.0.iter().map(|(name, value)| (&**name, &**value))
    }

    /// Map keys sort by their encoded bytes: for texts, by length and then by bytes.
    fn place_of(&self, name: &str) -> Result<usize, usize> {
        self.0.binary_search_by(|(known, _)| (known.len(), &**known).cmp(&(name.len(), name)))
    }

    fn into_owned(self) -> Details<'static> {
        let own = |text: Cow<'_, str>| Cow::Owned(text.into_owned());
        Details(self.0.into_iter().map(|(name, value)| (own(name), own(value))).collect())
    }
}

/// Bytes are not an entry, or an entry is not one that may be written.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum EntryFault {
    /// Larger than [`ENTRY_BYTES_MAX`].
    #[error("the entry has {bytes} bytes; entry_bytes_max is {max}")]
    TooLarge {
        /// Its size.
        bytes: usize,
        /// The limit.
        max: usize,
    },
    /// Not the CBOR of an entry.
    #[error("the entry is not well formed: {0}")]
    Malformed(&'static str),
    /// Well formed, but another encoding of the same entry is the deterministic one.
    #[error("the entry is not in deterministic encoding")]
    NotCanonical,
    /// Written by a later version, or never.
    #[error("the entry has {what} {value}, which this version does not know")]
    Unknown {
        /// What is unknown.
        what: &'static str,
        /// Its number.
        value: u64,
    },
    /// A key that the kind must have is missing, or one that it must not have is there.
    #[error("an entry of kind {kind} and key {key} do not go together")]
    Shape {
        /// The entry's kind.
        kind: Kind,
        /// The key.
        key: u8,
    },
}

impl From<decode::Error> for EntryFault {
    fn from(_: decode::Error) -> Self {
        Self::Malformed("a value has the wrong type or is cut off")
    }
}

impl<'a> Entry<'a> {
    /// An entry with nothing but its kind and time.
    pub fn new(kind: Kind, time_ms: u64) -> Self {
        Self {
            kind,
            time_ms,
            query_id: None,
            caller: None,
            department: None,
            predicate: None,
            purpose: None,
            adapter: None,
            catalogue: None,
            policy: None,
            engine: None,
            ask: None,
            pseudonym: None,
            fields: None,
            code: None,
            count: None,
            details: None,
            rule: None,
        }
    }

    /// Appends the entry's deterministic encoding.
    ///
    /// # Errors
    /// [`EntryFault::TooLarge`] and [`EntryFault::Shape`]; `out` then holds a part of the entry.
    pub fn encode(&self, out: &mut Vec<u8>) -> Result<(), EntryFault> {
        self.check_shape()?;
        let before = out.len();
        self.write(&mut Encoder::new(&mut *out))
            .expect("writing to a Vec has no error: its type is Infallible");
        let bytes = out.len() - before;
        if bytes > ENTRY_BYTES_MAX {
            return Err(EntryFault::TooLarge { bytes, max: ENTRY_BYTES_MAX });
        }
        Ok(())
    }

    fn write(&self, cbor: &mut Encoder<&mut Vec<u8>>) -> Result<(), encode::Error<Infallible>> {
        cbor.map(u64::from(self.keys().count_ones()))?;
        cbor.u8(key::VERSION)?.u8(VERSION)?;
        cbor.u8(key::KIND)?.u8(self.kind.number())?;
        cbor.u8(key::TIME_MS)?.u64(self.time_ms)?;
        if let Some(QueryId(id)) = &self.query_id {
            cbor.u8(key::QUERY_ID)?.bytes(id)?;
        }
        for (key, text) in [
            (key::CALLER, &self.caller),
            (key::DEPARTMENT, &self.department),
            (key::PREDICATE, &self.predicate),
            (key::PURPOSE, &self.purpose),
        ] {
            if let Some(text) = text {
                cbor.u8(key)?.str(text)?;
            }
        }
        for (key, digest) in [
            (key::ADAPTER, &self.adapter),
            (key::CATALOGUE, &self.catalogue),
            (key::POLICY, &self.policy),
            (key::ENGINE, &self.engine),
        ] {
            if let Some(Digest(digest)) = digest {
                cbor.u8(key)?.bytes(digest)?;
            }
        }
        if let Some(ask) = self.ask {
            cbor.u8(key::ASK)?.u64(ask)?;
        }
        if let Some(pseudonym) = &self.pseudonym {
            cbor.u8(key::PSEUDONYM)?.bytes(&pseudonym.value)?;
            cbor.u8(key::EPOCH)?.u32(pseudonym.epoch)?;
        }
        if let Some(fields) = &self.fields {
            cbor.u8(key::FIELDS)?.bytes(fields)?;
        }
        if let Some(code) = &self.code {
            cbor.u8(key::CODE)?.str(code)?;
        }
        if let Some(count) = self.count {
            cbor.u8(key::COUNT)?.u64(count)?;
        }
        cbor.u8(key::HASH)?.u8(HASH_SHA256)?;
        if let Some(details) = &self.details {
            cbor.u8(key::DETAILS)?.map(details.0.len() as u64)?;
            for (name, value) in details.iter() {
                cbor.str(name)?.str(value)?;
            }
        }
        if let Some(rule) = &self.rule {
            cbor.u8(key::RULE)?.str(rule)?;
        }
        Ok(())
    }

    /// Reads an entry. Accepts nothing but the deterministic encoding of an entry whose keys fit
    /// its kind.
    pub fn decode(bytes: &'a [u8]) -> Result<Self, EntryFault> {
        if bytes.len() > ENTRY_BYTES_MAX {
            return Err(EntryFault::TooLarge { bytes: bytes.len(), max: ENTRY_BYTES_MAX });
        }
        let mut cbor = Decoder::new(bytes);
        let pairs = cbor.map()?.ok_or(EntryFault::NotCanonical)?;
        let mut entry = Self::read_head(&mut cbor)?;
        let mut last = key::TIME_MS;
        for _ in HEAD_PAIRS..pairs {
            let key = cbor.u8()?;
            if key <= last {
                return Err(EntryFault::NotCanonical);
            }
            last = key;
            entry.read_value(key, &mut cbor)?;
        }
        // Whatever the decoder lets pass, a longer head or a key out of order for one, encodes
        // differently.
        let mut again = Vec::with_capacity(bytes.len());
        entry.encode(&mut again)?;
        if again == bytes { Ok(entry) } else { Err(EntryFault::NotCanonical) }
    }

    fn read_head(cbor: &mut Decoder<'a>) -> Result<Self, EntryFault> {
        let mut head = [0; HEAD_PAIRS as usize];
        for (expected, value) in (key::VERSION..).zip(&mut head) {
            if cbor.u8()? != expected {
                return Err(EntryFault::Malformed("version, kind and time must come first"));
            }
            *value = cbor.u64()?;
        }
        let [version, kind, time_ms] = head;
        if version != u64::from(VERSION) {
            return Err(EntryFault::Unknown { what: "version", value: version });
        }
        let kind =
            Kind::of_number(kind).ok_or(EntryFault::Unknown { what: "kind", value: kind })?;
        Ok(Self::new(kind, time_ms))
    }

    fn read_value(&mut self, key: u8, cbor: &mut Decoder<'a>) -> Result<(), EntryFault> {
        match key {
            key::QUERY_ID => self.query_id = Some(QueryId(read_array(cbor)?)),
            key::CALLER => self.caller = Some(cbor.str()?.into()),
            key::DEPARTMENT => self.department = Some(cbor.str()?.into()),
            key::PREDICATE => self.predicate = Some(cbor.str()?.into()),
            key::PURPOSE => self.purpose = Some(cbor.str()?.into()),
            key::ADAPTER => self.adapter = Some(Digest(read_array(cbor)?)),
            key::CATALOGUE => self.catalogue = Some(Digest(read_array(cbor)?)),
            key::POLICY => self.policy = Some(Digest(read_array(cbor)?)),
            key::ENGINE => self.engine = Some(Digest(read_array(cbor)?)),
            key::ASK => self.ask = Some(cbor.u64()?),
            // The epoch follows at once: re-encoding finds a pseudonym without one.
            key::PSEUDONYM => {
                self.pseudonym = Some(Pseudonym { value: read_array(cbor)?, epoch: 0 });
            }
            key::EPOCH => {
                let pseudonym = self.pseudonym.as_mut().ok_or(EntryFault::NotCanonical)?;
                pseudonym.epoch = cbor.u32()?;
            }
            key::FIELDS => self.fields = Some(read_array(cbor)?),
            key::CODE => self.code = Some(cbor.str()?.into()),
            key::COUNT => self.count = Some(cbor.u64()?),
            key::HASH => {
                let value = cbor.u64()?;
                if value != u64::from(HASH_SHA256) {
                    return Err(EntryFault::Unknown { what: "hash algorithm", value });
                }
            }
            key::DETAILS => self.details = Some(read_details(cbor)?),
            key::RULE => self.rule = Some(cbor.str()?.into()),
            unknown => {
                return Err(EntryFault::Unknown { what: "key", value: u64::from(unknown) });
            }
        }
        Ok(())
    }

    /// The same entry without borrows.
    pub fn into_owned(self) -> Entry<'static> {
        let own = |text: Option<Cow<'_, str>>| text.map(|text| Cow::Owned(text.into_owned()));
        Entry {
            caller: own(self.caller),
            department: own(self.department),
            predicate: own(self.predicate),
            purpose: own(self.purpose),
            code: own(self.code),
            details: self.details.map(Details::into_owned),
            rule: own(self.rule),
            kind: self.kind,
            time_ms: self.time_ms,
            query_id: self.query_id,
            adapter: self.adapter,
            catalogue: self.catalogue,
            policy: self.policy,
            engine: self.engine,
            ask: self.ask,
            pseudonym: self.pseudonym,
            fields: self.fields,
            count: self.count,
        }
    }

    /// Every key that the entry has, as a set of bits.
    fn keys(&self) -> u32 {
        let present = [
            (key::QUERY_ID, self.query_id.is_some()),
            (key::CALLER, self.caller.is_some()),
            (key::DEPARTMENT, self.department.is_some()),
            (key::PREDICATE, self.predicate.is_some()),
            (key::PURPOSE, self.purpose.is_some()),
            (key::ADAPTER, self.adapter.is_some()),
            (key::CATALOGUE, self.catalogue.is_some()),
            (key::POLICY, self.policy.is_some()),
            (key::ENGINE, self.engine.is_some()),
            (key::ASK, self.ask.is_some()),
            (key::PSEUDONYM, self.pseudonym.is_some()),
            (key::EPOCH, self.pseudonym.is_some()),
            (key::FIELDS, self.fields.is_some()),
            (key::CODE, self.code.is_some()),
            (key::COUNT, self.count.is_some()),
            (key::DETAILS, self.details.is_some()),
            (key::RULE, self.rule.is_some()),
        ];
        let optional = present.iter().filter(|(_, is_some)| *is_some).map(|(key, _)| *key);
        optional.fold(set(&HEAD_KEYS), |keys, key| keys | 1 << key)
    }

    fn check_shape(&self) -> Result<(), EntryFault> {
        let keys = self.keys();
        let (required, allowed) = shape_of(self.kind);
        let wrong = (required & !keys) | (keys & !allowed);
        if wrong == 0 {
            return Ok(());
        }
        // A set of 32 bits that is not empty has fewer than 32 trailing zeros.
        Err(EntryFault::Shape { kind: self.kind, key: wrong.trailing_zeros() as u8 })
    }
}

fn read_array<const N: usize>(cbor: &mut Decoder<'_>) -> Result<[u8; N], EntryFault> {
    let bytes = cbor.bytes()?;
    bytes.try_into().map_err(|_| EntryFault::Malformed("a byte string has the wrong length"))
}

fn read_details<'a>(cbor: &mut Decoder<'a>) -> Result<Details<'a>, EntryFault> {
    let pairs = cbor.map()?.ok_or(EntryFault::NotCanonical)?;
    let mut details = Details::new();
    for _ in 0..pairs {
        if cbor.datatype()? != data::Type::String {
            return Err(EntryFault::Malformed("a detail is not a text"));
        }
        let (name, value) = (cbor.str()?, cbor.str()?);
        // A repeated or unsorted name encodes differently and is found by the caller.
        details = details.with(name, value);
    }
    Ok(details)
}

/// The keys that an entry of a kind must have and those it may have.
fn shape_of(kind: Kind) -> (u32, u32) {
    use key::{
        ADAPTER, ASK, CALLER, CATALOGUE, CODE, COUNT, DEPARTMENT, DETAILS, ENGINE, EPOCH, FIELDS,
        POLICY, PREDICATE, PSEUDONYM, PURPOSE, QUERY_ID, RULE,
    };
    let head = set(&HEAD_KEYS);
    let digests = set(&[ADAPTER, CATALOGUE, POLICY, ENGINE]);
    let question =
        head | set(&[QUERY_ID, CALLER, DEPARTMENT, PREDICATE, PURPOSE, PSEUDONYM, EPOCH]);
    match kind {
        Kind::Ask | Kind::BreakGlass => and_maybe(question | digests | set(&[FIELDS]), &[RULE]),
        Kind::Answer => exactly(question | set(&[ASK, FIELDS])),
        Kind::Refused => and_maybe(question | digests | set(&[FIELDS, CODE]), &[RULE]),
        Kind::Failed => exactly(question | set(&[ASK, FIELDS, CODE])),
        Kind::Abandoned => exactly(question | set(&[ASK])),
        Kind::Coalesced => and_maybe(head | set(&[CODE, COUNT]), &[CALLER]),
        Kind::Start => exactly(head | set(&[CATALOGUE, POLICY, ENGINE, DETAILS])),
        Kind::Stop => exactly(head),
        // Whatever an act of a later release needs, but never a link to an `ask`.
        Kind::Act(_) => {
            let required = head | set(&[DETAILS]);
            let allowed = question | digests | set(&[FIELDS, CODE, COUNT]);
            (required, required | allowed)
        }
    }
}

fn exactly(keys: u32) -> (u32, u32) {
    (keys, keys)
}

fn and_maybe(keys: u32, more: &[u8]) -> (u32, u32) {
    (keys, keys | set(more))
}

const fn set(keys: &[u8]) -> u32 {
    let mut bits = 0;
    let mut next = 0;
    while next < keys.len() {
        bits |= 1 << keys[next];
        next += 1;
    }
    bits
}

/// The keys of the map, in the order of their encoding.
mod key {
    pub const VERSION: u8 = 0;
    pub const KIND: u8 = 1;
    pub const TIME_MS: u8 = 2;
    pub const QUERY_ID: u8 = 3;
    pub const CALLER: u8 = 4;
    pub const DEPARTMENT: u8 = 5;
    pub const PREDICATE: u8 = 6;
    pub const PURPOSE: u8 = 7;
    pub const ADAPTER: u8 = 8;
    pub const CATALOGUE: u8 = 9;
    pub const POLICY: u8 = 10;
    pub const ENGINE: u8 = 11;
    pub const ASK: u8 = 12;
    pub const PSEUDONYM: u8 = 13;
    pub const EPOCH: u8 = 14;
    pub const FIELDS: u8 = 15;
    pub const CODE: u8 = 16;
    pub const COUNT: u8 = 17;
    pub const HASH: u8 = 18;
    pub const DETAILS: u8 = 19;
    pub const RULE: u8 = 20;
}

/// Keys of every entry.
const HEAD_KEYS: [u8; 4] = [key::VERSION, key::KIND, key::TIME_MS, key::HASH];
/// Pairs that come first in every entry: version, kind, time.
const HEAD_PAIRS: u64 = 3;
/// The version of this format.
const VERSION: u8 = 1;
/// SHA-256 (FIPS 180-4) for the leaf hash, the commitments and the pseudonym's HMAC.
const HASH_SHA256: u8 = 1;

#[cfg(test)]
mod tests;
