//! Sealed fields: what a record says that does not stand in clear.
//!
//! Owns the field ids, the values' encodings and the commitments. Each field has its own salt, so
//! that a receipt can open one and nothing else. Encodings have the same length for every verdict,
//! because a ciphertext's length is public.

use std::convert::Infallible;
use std::fmt;

use jiff::civil::Date;
use jumpgate_catalogue::{ParameterValue, Reason, Release, Side, Verdict, Way};
use minicbor::{Decoder, Encoder};
use ring::digest::{Context, SHA256};
use zeroize::Zeroizing;

/// Largest ciphertext of one record, its header included: the texts are bounded where they are
/// parsed, and two of them together stay far below.
pub const SEALED_BYTES_MAX: usize = 4096;

/// Length of a salt: 128 bits, so that a commitment to a verdict cannot be opened by trying three
/// values.
pub(crate) const SALT_BYTES: usize = 16;

/// The plaintext is filled up with zero bytes to a multiple of this, so that its length says
/// little about the lengths of case and operator.
pub(crate) const PADDING_BYTES: usize = 64;

/// The meaning of a sealed field. Numbers are never given away twice.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum FieldId {
    /// One byte: 1 yes, 2 no, 3 undetermined.
    Verdict = 1,
    /// The civil date the answer is about, `YYYY-MM-DD`.
    AsOf = 2,
    /// First date on which the same question can get another answer, `YYYY-MM-DD`.
    NextAsOf = 3,
    /// One byte: 0 none, 1 missing-field, 2 unusable-field, 3 several-records,
    /// 4 conflicting-fields, 5 record-suspended, 6 no-record.
    Reason = 4,
    /// The person at the caller's desk, UTF-8.
    Operator = 5,
    /// The caller's own case number, UTF-8.
    Case = 6,
    /// The subject's handle, 16 bytes.
    SubjectHandle = 7,
    /// SHA-256 over exactly what the adapter received.
    ReplyCommitment = 8,
    /// Keyed digest of the request's body.
    RequestToken = 9,
    /// The predicate's parameters: a deterministic CBOR map of names to integers and texts.
    Parameters = 10,
    /// One byte: 1 if a repeat after the fault is safe, else 0.
    RetryIsSafe = 11,
    /// Reserved: how many entries the subject has, this one included.
    SubjectCounter = 12,
    /// Reserved: the subject's previous entry.
    PreviousIndex = 13,
    /// Reserved: where in a reply an adapter gave up.
    Position = 14,
    /// Who signed for the operator, UTF-8: the issuer of his token. Absent where the caller names
    /// him by itself.
    OperatorIssuer = 15,
    /// What an exact answer tells of somebody's date.
    Release = 16,
    /// The other person, of the same issuer, with whom the operator asks past the auditor, UTF-8.
    SecondOperator = 17,
}

impl FieldId {
    /// Every id, in the order of their numbers.
    pub const ALL: [Self; 17] = [
        Self::Verdict,
        Self::AsOf,
        Self::NextAsOf,
        Self::Reason,
        Self::Operator,
        Self::Case,
        Self::SubjectHandle,
        Self::ReplyCommitment,
        Self::RequestToken,
        Self::Parameters,
        Self::RetryIsSafe,
        Self::SubjectCounter,
        Self::PreviousIndex,
        Self::Position,
        Self::OperatorIssuer,
        Self::Release,
        Self::SecondOperator,
    ];

    /// The number in the format.
    pub fn number(self) -> u8 {
        self as u8
    }

    /// The id of a number.
    pub fn of_number(number: u8) -> Option<Self> {
        Self::ALL.into_iter().find(|id| id.number() == number)
    }

    /// The name in pages and in the tools' output.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Verdict => "verdict",
            Self::AsOf => "as_of",
            Self::NextAsOf => "next_as_of",
            Self::Reason => "reason",
            Self::Operator => "operator",
            Self::Case => "case",
            Self::SubjectHandle => "subject_handle",
            Self::ReplyCommitment => "reply_commitment",
            Self::RequestToken => "request_token",
            Self::Parameters => "parameters",
            Self::RetryIsSafe => "retry_is_safe",
            Self::SubjectCounter => "subject_counter",
            Self::PreviousIndex => "previous_index",
            Self::Position => "position",
            Self::OperatorIssuer => "operator_issuer",
            Self::Release => "release",
            Self::SecondOperator => "second_operator",
        }
    }
}

/// One opened field. Its value may name a person, so it does not print.
#[derive(Clone, PartialEq, Eq)]
pub struct Field {
    /// Its meaning.
    pub id: FieldId,
    /// Its own salt.
    pub salt: [u8; SALT_BYTES],
    /// Its value.
    pub value: Zeroizing<Vec<u8>>,
}

impl Field {
    /// SHA-256("jumpgate/field/v1" || id || salt || value).
    pub fn commitment(&self) -> [u8; 32] {
        commitment(self.id, &self.salt, &self.value)
    }
}

impl fmt::Debug for Field {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_struct("Field").field("id", &self.id).finish_non_exhaustive()
    }
}

/// The opened fields of one record, in the order of their ids.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Fields(Vec<Field>);

/// Bytes are not a list of fields.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum FieldsFault {
    /// The plaintext is not the deterministic encoding of fields in ascending order.
    #[error("the sealed fields are not well formed")]
    Malformed,
    /// The record carries no sealed fields although its entry commits to some, or the other way
    /// round.
    #[error("the entry and the sealed fields do not go together")]
    Missing,
    /// The subject's row was erased, or never was in this table.
    #[error("the subject's handle is erased")]
    Erased,
    /// The ciphertext is not what was sealed for this entry under these keys.
    #[error("the sealed fields do not open")]
    Sealed,
    /// The fields do not give the entry's commitment.
    #[error("the sealed fields do not fit the entry's commitment")]
    Commitment,
    /// The handle does not give the entry's pseudonym.
    #[error("the subject's handle does not fit the entry's pseudonym")]
    Pseudonym,
    /// A cipher of a later version.
    #[error("the sealed fields have cipher {0}, which this version does not know")]
    Cipher(u8),
}

impl Fields {
    /// Reads a plaintext with its padding.
    pub(crate) fn decode(plaintext: &[u8]) -> Result<Self, FieldsFault> {
        let mut cbor = Decoder::new(plaintext);
        let fields = read_list(&mut cbor).ok_or(FieldsFault::Malformed)?;
        let end = cbor.position();
        let ascending = fields.windows(2).all(|pair| pair[0].id < pair[1].id);
        let padded = plaintext.len() == end.next_multiple_of(PADDING_BYTES)
            && plaintext[end..].iter().all(|byte| *byte == 0);
        let mut again = Vec::with_capacity(end);
        let pairs = fields.iter().map(|field| (field.id, &field.salt, &field.value[..]));
        encode(pairs, &mut again);
        if ascending && padded && again == plaintext[..end] {
            Ok(Self(fields))
        } else {
            Err(FieldsFault::Malformed)
        }
    }

    /// Some fields of a record.
    pub(crate) fn of(fields: Vec<Field>) -> Self {
        Self(fields)
    }

    /// SHA-256 over all fields' commitments; the entry's key 15.
    pub fn commitment(&self) -> [u8; 32] {
        commitment_of_all(self.0.iter().map(Field::commitment))
    }

    /// Every field, in the order of their ids.
    pub fn iter(&self) -> impl Iterator<Item = &Field> {
        self.0.iter()
    }

    /// A field's value.
    pub fn value(&self, id: FieldId) -> Option<&[u8]> {
        self.0.iter().find(|field| field.id == id).map(|field| &field.value[..])
    }

    /// A text field's value, if it is a text.
    pub fn text(&self, id: FieldId) -> Option<&str> {
        std::str::from_utf8(self.value(id)?).ok()
    }

    /// The verdict.
    pub fn verdict(&self) -> Option<Verdict> {
        match self.value(FieldId::Verdict)? {
            [1] => Some(Verdict::Yes),
            [2] => Some(Verdict::No),
            [3] => Some(Verdict::Undetermined),
            _ => None,
        }
    }

    /// The reason, if the record did not settle the question.
    pub fn reason(&self) -> Option<Reason> {
        let [number] = self.value(FieldId::Reason)? else { return None };
        Reason::ALL.into_iter().find(|reason| reason_number(Some(*reason)) == *number)
    }

    /// A date field's value.
    pub fn date(&self, id: FieldId) -> Option<Date> {
        self.text(id)?.parse().ok()
    }

    /// A value of 32 bytes.
    pub fn digest(&self, id: FieldId) -> Option<[u8; 32]> {
        self.value(id)?.try_into().ok()
    }

    /// Whether a repeat after the fault is safe.
    pub fn retry_is_safe(&self) -> Option<bool> {
        match self.value(FieldId::RetryIsSafe)? {
            [0] => Some(false),
            [1] => Some(true),
            _ => None,
        }
    }

    /// What an exact answer tells.
    pub fn release(&self) -> Option<Release> {
        let value = self.value(FieldId::Release)?;
        let (&[side, way, days @ ..], attribute) = value.split_first_chunk::<10>()?;
        let [d0, d1, d2, d3, a0, a1, a2, a3] = days;
        let side = match side {
            0 => None,
            1 => Some(Side::Before),
            2 => Some(Side::From),
            _ => return None,
        };
        let way = match way {
            0 => Way::Implied,
            1 => Way::Cut,
            2 => Way::BreakGlass,
            _ => return None,
        };
        let day = i32::from_be_bytes([d0, d1, d2, d3]);
        let span = jiff::Span::new().try_days(i32::from_be_bytes([a0, a1, a2, a3])).ok()?;
        let asked_on = FIRST_DAY.checked_add(span).ok()?;
        let attribute = str::from_utf8(attribute).ok()?.into();
        Some(Release { attribute, day, side, way, asked_on })
    }
}

/// The commitment to one field: SHA-256("jumpgate/field/v1" || id || salt || value).
pub(crate) fn commitment(id: FieldId, salt: &[u8; SALT_BYTES], value: &[u8]) -> [u8; 32] {
    let mut context = Context::new(&SHA256);
    context.update(b"jumpgate/field/v1");
    context.update(&[id.number()]);
    context.update(salt);
    context.update(value);
    array(context)
}

/// The commitment to all fields: SHA-256("jumpgate/fields/v1" || commitments in ascending order).
pub(crate) fn commitment_of_all(commitments: impl Iterator<Item = [u8; 32]>) -> [u8; 32] {
    let mut sorted: Vec<[u8; 32]> = commitments.collect();
    sorted.sort_unstable();
    let mut context = Context::new(&SHA256);
    context.update(b"jumpgate/fields/v1");
    sorted.iter().for_each(|commitment| context.update(commitment));
    array(context)
}

fn array(context: Context) -> [u8; 32] {
    let mut bytes = [0; 32];
    bytes.copy_from_slice(context.finish().as_ref());
    bytes
}

/// What writing CBOR to a `Vec` can never give.
type WriteFault = minicbor::encode::Error<Infallible>;

/// Appends the CBOR list of (id, salt, value), without padding. The fields come in ascending order.
pub(crate) fn encode<'a>(
    fields: impl ExactSizeIterator<Item = (FieldId, &'a [u8; SALT_BYTES], &'a [u8])>,
    out: &mut Vec<u8>,
) {
    write_list(fields, &mut Encoder::new(out))
        .expect("writing to a Vec has no error: its type is Infallible");
}

pub(crate) fn write_list<'a>(
    fields: impl ExactSizeIterator<Item = (FieldId, &'a [u8; SALT_BYTES], &'a [u8])>,
    cbor: &mut Encoder<&mut Vec<u8>>,
) -> Result<(), WriteFault> {
    cbor.array(fields.len() as u64)?;
    for (id, salt, value) in fields {
        cbor.array(3)?.u8(id.number())?.bytes(salt)?.bytes(value)?;
    }
    Ok(())
}

pub(crate) fn read_list(cbor: &mut Decoder<'_>) -> Option<Vec<Field>> {
    let count = usize::try_from(cbor.array().ok()??).ok()?;
    // No two fields have the same id.
    if count > FieldId::ALL.len() {
        return None;
    }
    let mut fields = Vec::with_capacity(count);
    for _ in 0..count {
        if cbor.array().ok()? != Some(3) {
            return None;
        }
        let id = FieldId::of_number(cbor.u8().ok()?)?;
        let salt = cbor.bytes().ok()?.try_into().ok()?;
        let value = Zeroizing::new(cbor.bytes().ok()?.to_vec());
        fields.push(Field { id, salt, value });
    }
    Some(fields)
}

/// The byte of a verdict.
pub(crate) fn verdict_number(verdict: Verdict) -> u8 {
    match verdict {
        Verdict::Yes => 1,
        Verdict::No => 2,
        Verdict::Undetermined => 3,
    }
}

/// The byte of a reason; 0 for none, so that a record with a reason is as long as one without.
pub(crate) fn reason_number(reason: Option<Reason>) -> u8 {
    match reason {
        None => 0,
        Some(Reason::MissingField) => 1,
        Some(Reason::UnusableField) => 2,
        Some(Reason::SeveralRecords) => 3,
        Some(Reason::ConflictingFields) => 4,
        Some(Reason::RecordSuspended) => 5,
        Some(Reason::NoRecord) => 6,
    }
}

/// What days are counted from.
const FIRST_DAY: Date = jiff::civil::date(1970, 1, 1);

/// A release: side, way, the cut's day, the question's, the attribute. Of the same
/// length for every answer of a predicate.
pub(crate) fn release_bytes(release: &Release) -> Vec<u8> {
    let side = match release.side {
        None => 0,
        Some(Side::Before) => 1,
        Some(Side::From) => 2,
    };
    let way = match release.way {
        Way::Implied => 0,
        Way::Cut => 1,
        Way::BreakGlass => 2,
    };
    let mut bytes = vec![side, way];
    bytes.extend(release.day.to_be_bytes());
    bytes.extend((release.asked_on - FIRST_DAY).get_days().to_be_bytes());
    bytes.extend(release.attribute.as_bytes());
    bytes
}

/// A date as `YYYY-MM-DD`. The year of a civil question has four digits.
pub(crate) fn date_text(date: Date) -> [u8; 10] {
    let digit = |number: i16, unit: i16| b'0' + (number / unit % 10).unsigned_abs() as u8;
    let (year, month, day) = (date.year(), i16::from(date.month()), i16::from(date.day()));
    [
        digit(year, 1000),
        digit(year, 100),
        digit(year, 10),
        digit(year, 1),
        b'-',
        digit(month, 10),
        digit(month, 1),
        b'-',
        digit(day, 10),
        digit(day, 1),
    ]
}

/// The parameters as a deterministic CBOR map.
pub(crate) fn parameters_cbor(
    parameters: &[(std::sync::Arc<str>, ParameterValue)],
) -> Zeroizing<Vec<u8>> {
    let mut sorted: Vec<&(std::sync::Arc<str>, ParameterValue)> = parameters.iter().collect();
    sorted.sort_unstable_by(|(a, _), (b, _)| (a.len(), &**a).cmp(&(b.len(), &**b)));
    let mut out = Zeroizing::new(Vec::with_capacity(64));
    write_parameters(&sorted, &mut Encoder::new(&mut *out))
        .expect("writing to a Vec has no error: its type is Infallible");
    out
}

fn write_parameters(
    sorted: &[&(std::sync::Arc<str>, ParameterValue)],
    cbor: &mut Encoder<&mut Vec<u8>>,
) -> Result<(), WriteFault> {
    cbor.map(sorted.len() as u64)?;
    for (name, value) in sorted {
        cbor.str(name)?;
        match value {
            ParameterValue::Integer(number) => cbor.i64(*number)?,
            ParameterValue::Text(text) => cbor.str(text)?,
        };
    }
    Ok(())
}

#[cfg(test)]
mod tests;
