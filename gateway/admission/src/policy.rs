//! Who may ask what, for which purpose and in which circumstances.
//!
//! Owns the rules, their schema, their digest and what they decide. Rules are Cedar policies; the
//! grants of the configuration become such rules. What no rule permits is denied, and a rule that
//! forbids always wins. A decision never depends on the subject. Cedar looks at every rule it is
//! given, so each pair of caller and predicate is given those only that can be about it, and keeps
//! what they decided unless one of them looks at the time or at the operator.

use std::collections::{BTreeMap, HashMap};
use std::fmt::{self, Write as _};
use std::sync::{Arc, OnceLock};

use cedar_policy::{
    AuthorizationError, Authorizer, Context, Decision as Cedar, Entities, EntityUid, PolicySet,
    Request, RestrictedExpression, Schema,
};
use jiff::Zoned;
use jumpgate_catalogue::{
    CallerId, Catalogue, Clock, Digest, LegalBasis, Predicate, PredicateId, Purpose, SubjectKindId,
};

use crate::disclosure::ExactGrant;
use crate::settings::{CallerFacts, Channel, Mistakes, PolicySettings, RoleName};

mod rule;
pub(crate) mod schema;
mod signed;
mod source;
mod survey;

pub use rule::RuleId;
use rule::{Rule, TimeUse};
pub use signed::{SignatureFault, SignedRules, department_key};
pub(crate) use source::RULE_ID_BYTES_MAX;
use source::{Rules, check_department, position_of};
pub use survey::{Explained, Weighed};

/// What is asked of the policy. Nothing in it is of the subject.
#[derive(Debug, Clone, Copy)]
pub struct PolicyQuestion<'a> {
    /// Who asks.
    pub caller: &'a CallerId,
    /// What.
    pub predicate: &'a PredicateId,
    /// Why.
    pub purpose: &'a Purpose,
    /// By which kind of identifier.
    pub subject_kind: &'a SubjectKindId,
    /// Whether the caller has named a case.
    pub has_case: bool,
    /// What is known of the people at the caller's desk.
    pub desk: Desk<'a>,
}

/// What is known of the people at a caller's desk, as rules see them.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Desk<'a> {
    /// What the caller says of them.
    Claimed,
    /// A signed token gives the operator these roles.
    Proven(&'a [RoleName]),
    /// Two operators' tokens ask together, past the auditor; these are the roles of the first.
    Two(&'a [RoleName]),
}

impl<'a> Desk<'a> {
    /// The roles that a signed token gives the operator; none without such a token.
    fn roles(self) -> Option<&'a [RoleName]> {
        match self {
            Self::Claimed => None,
            Self::Proven(roles) | Self::Two(roles) => Some(roles),
        }
    }
}

/// What the policy says to a question, with the rule that decided.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Decision {
    /// It may be asked.
    Permitted(RuleId),
    /// A rule forbids it. Also what is said where such a rule cannot be evaluated.
    Forbidden(RuleId),
    /// No rule permits it.
    NotGranted,
}

/// Every rule in force.
pub struct Policy {
    rules: Vec<Rule>,
    /// Of the rules that grant exact answers.
    exact: HashMap<RuleId, ExactGrant>,
    askers: HashMap<CallerId, Asker>,
    schema: String,
    grants: String,
    text: String,
    digest: Digest,
    serials: BTreeMap<String, u64>,
}

struct Asker {
    principal: EntityUid,
    facts: CallerFacts,
    /// What a token can say of an operator's roles: every combination; none without tokens.
    operators: Vec<Option<Vec<RoleName>>>,
    cells: HashMap<PredicateId, Cell>,
}

/// What one caller may ask of one predicate.
struct Cell {
    target: Arc<Target>,
    slice: Arc<Slice>,
    /// Of two operators who ask past the auditor; none where nobody can.
    break_glass: Option<Arc<Slice>>,
    /// Of the others, by purpose, subject kind and case; made with the first question.
    kept: OnceLock<Box<[OnceLock<Decision>]>>,
}

struct Target {
    predicate: Arc<Predicate>,
    /// Of each of its purposes, in their order.
    legal_bases: Vec<LegalBasis>,
    action: EntityUid,
    resource: EntityUid,
}

/// Which of the rules that permit can be about a question.
#[derive(Clone, Copy)]
enum RuleWay {
    /// All but those that are for two operators.
    Usual,
    /// Those that grant exact answers, past the auditor or not.
    Exact { is_break_glass: bool },
}

/// The rules that can be about a question.
struct Slice {
    rules: Vec<usize>,
    set: PolicySet,
    time_use: TimeUse,
    looks_at_operator: bool,
}

/// When a question is asked, as rules see it.
#[derive(Debug, Clone)]
struct Moment {
    at: String,
    hour: i64,
    weekday: i64,
}

/// What a rule sees of a question beside its head.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
struct Asked<'a> {
    purpose: &'a Purpose,
    legal_basis: &'a LegalBasis,
    subject_kind: &'a SubjectKindId,
    has_case: bool,
    channel: Channel,
    operator: Option<&'a [RoleName]>,
}

impl Policy {
    /// Puts the rules of all texts together; `grants` is the Cedar text of the grants. Worth
    /// nothing if it added a mistake.
    pub(crate) fn compile(
        settings: &PolicySettings,
        grants: String,
        catalogue: &Catalogue,
        callers: &BTreeMap<CallerId, CallerFacts>,
        mistakes: &mut Mistakes,
    ) -> Self {
        let schema = schema::schema(catalogue, callers);
        let mut text = format!("{TEXT_FORMAT}\nschema {}\n", Digest::of(schema.as_bytes()));
        let (rules, serials) = read(settings, &grants, &mut text, mistakes);
        let mistakes_before = mistakes.count();
        match Schema::from_cedarschema_str(&schema) {
            Ok((schema, _)) => rules.validate(&schema, mistakes),
            Err(error) => {
                let mend = "rename the caller or predicate that it names";
                mistakes.add("policy", format!("the schema cannot be made: {error}"), mend);
            }
        }
        let rules = rules.rules;
        let askers = askers(&rules, catalogue, callers);
        let digest = Digest::of(text.as_bytes());
        let exact = rules.iter().filter_map(|rule| Some((Arc::clone(&rule.id), rule.exact?)));
        let exact = exact.collect();
        let policy = Self { rules, exact, askers, schema, grants, text, digest, serials };
        if mistakes.count() == mistakes_before {
            policy.check_each_applies(mistakes);
        }
        policy
    }

    /// What the rules say to a question. `now` is asked only if one of them looks at the time.
    pub fn decide(&self, question: &PolicyQuestion<'_>, now: impl FnOnce() -> Zoned) -> Decision {
        let Some((asker, cell)) = self.cell(question) else { return Decision::NotGranted };
        let Some(slice) = cell.slice_for(question.desk) else { return Decision::NotGranted };
        if slice.rules.is_empty() {
            return Decision::NotGranted;
        }
        let Some(place) = cell.place(question) else { return Decision::NotGranted };
        let is_kept = slice.time_use == TimeUse::Never && !slice.looks_at_operator;
        if is_kept && !matches!(question.desk, Desk::Two(_)) {
            let kept =
                cell.kept.get_or_init(|| (0..cell.places()).map(|_| OnceLock::new()).collect());
            let kept = kept.get(place).map(|kept| {
                kept.get_or_init(|| self.evaluate(asker, cell, question, &Moment::any()))
            });
            return kept.cloned().unwrap_or(Decision::NotGranted);
        }
        self.evaluate(asker, cell, question, &Moment::of(&now()))
    }

    fn cell(&self, question: &PolicyQuestion<'_>) -> Option<(&Asker, &Cell)> {
        let asker = self.askers.get(question.caller)?;
        Some((asker, asker.cells.get(question.predicate)?))
    }

    fn evaluate(
        &self,
        asker: &Asker,
        cell: &Cell,
        question: &PolicyQuestion<'_>,
        moment: &Moment,
    ) -> Decision {
        let asked = Asked::of(question, asker, cell);
        let request = asked.and_then(|asked| asker.request(cell, &asked, moment));
        let Some((request, slice)) = request.zip(cell.slice_for(question.desk)) else {
            return Decision::NotGranted;
        };
        self.weigh(&slice.set, &request)
    }

    fn weigh(&self, set: &PolicySet, request: &Request) -> Decision {
        let response = Authorizer::new().is_authorized(request, set, &Entities::empty());
        // A rule that cannot be evaluated counts for Cedar as one that does not apply. Where it
        // forbids, that would let through what nobody knows to be permitted.
        let broken = response
            .diagnostics()
            .errors()
            .map(|AuthorizationError::PolicyEvaluationError(it)| position_of(it.policy_id()));
        let broken = broken.filter_map(|at| self.rules.get(at)).find(|rule| !rule.permits());
        if let Some(rule) = broken {
            return Decision::Forbidden(RuleId::clone(&rule.id));
        }
        let deciding = response.diagnostics().reason().map(position_of).min();
        match (response.decision(), deciding.and_then(|at| self.rules.get(at))) {
            (Cedar::Allow, Some(rule)) => Decision::Permitted(RuleId::clone(&rule.id)),
            (Cedar::Deny, Some(rule)) => Decision::Forbidden(RuleId::clone(&rule.id)),
            (Cedar::Allow | Cedar::Deny, None) => Decision::NotGranted,
        }
    }

    /// What a rule can speak of, as a Cedar schema.
    pub fn schema(&self) -> &str {
        &self.schema
    }

    /// The grants as the Cedar rules they become.
    pub fn grants(&self) -> &str {
        &self.grants
    }

    /// The text that [`digest`](Self::digest) is of: a line for each part of the policy.
    pub fn text(&self) -> &str {
        &self.text
    }

    /// What every entry is bound to (`spec/policy.md`).
    pub fn digest(&self) -> Digest {
        self.digest
    }

    /// What a rule grants of exact answers; none if it grants none.
    pub(crate) fn exact_grant(&self, rule: &str) -> Option<ExactGrant> {
        self.exact.get(rule).copied()
    }

    /// How many rules there are.
    pub fn rules(&self) -> usize {
        self.rules.len()
    }

    /// The version of each department's own rules.
    pub fn serials(&self) -> &BTreeMap<String, u64> {
        &self.serials
    }
}

impl fmt::Debug for Policy {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "Policy({} rules, {})", self.rules.len(), self.digest)
    }
}

impl Decision {
    /// The rule that decided.
    pub fn rule(&self) -> Option<&RuleId> {
        match self {
            Self::Permitted(rule) | Self::Forbidden(rule) => Some(rule),
            Self::NotGranted => None,
        }
    }
}

impl Asker {
    fn request(&self, cell: &Cell, asked: &Asked<'_>, moment: &Moment) -> Option<Request> {
        let Target { action, resource, .. } = &*cell.target;
        let context = context(asked, moment)?;
        Request::new(self.principal.clone(), action.clone(), resource.clone(), context, None).ok()
    }
}

impl Cell {
    fn slice_for(&self, desk: Desk<'_>) -> Option<&Slice> {
        match desk {
            Desk::Claimed | Desk::Proven(_) => Some(&self.slice),
            Desk::Two(_) => self.break_glass.as_deref(),
        }
    }

    /// The rules about questions of either way.
    fn slices(&self) -> impl Iterator<Item = &Slice> {
        std::iter::once(&*self.slice).chain(self.break_glass.as_deref())
    }

    /// How many questions differ for rules that do not look at the time.
    fn places(&self) -> usize {
        let predicate = &self.target.predicate;
        predicate.purposes.len() * predicate.subject_kinds.len() * 2
    }

    /// Which of them it is; none if the predicate is never asked so.
    fn place(&self, question: &PolicyQuestion<'_>) -> Option<usize> {
        let predicate = &self.target.predicate;
        let purpose = predicate.purposes.iter().position(|it| it == question.purpose)?;
        let kind = predicate.subject_kinds.iter().position(|it| it == question.subject_kind)?;
        Some((purpose * predicate.subject_kinds.len() + kind) * 2 + usize::from(question.has_case))
    }
}

impl<'a> Asked<'a> {
    /// None if the predicate is never asked for the question's purpose.
    fn of(question: &PolicyQuestion<'a>, asker: &Asker, cell: &'a Cell) -> Option<Self> {
        let PolicyQuestion { purpose, subject_kind, has_case, desk, .. } = *question;
        let operator = desk.roles();
        let (channel, legal_basis) = (asker.facts.channel, cell.target.legal_basis(purpose)?);
        Some(Self { purpose, legal_basis, subject_kind, has_case, channel, operator })
    }
}

impl Moment {
    fn of(now: &Zoned) -> Self {
        Self {
            at: now.timestamp().strftime("%Y-%m-%dT%H:%M:%S%.3fZ").to_string(),
            hour: now.hour().into(),
            weekday: now.weekday().to_monday_one_offset().into(),
        }
    }

    /// For rules that do not look.
    fn any() -> Self {
        Self { at: "1970-01-01".to_owned(), hour: 0, weekday: 1 }
    }
}

fn context(asked: &Asked<'_>, moment: &Moment) -> Option<Context> {
    use RestrictedExpression as E;
    let entity =
        |name: &str, id: &str| schema::reference(name, id).parse().map(E::new_entity_uid).ok();
    let time = E::new_record([
        ("at".to_owned(), E::new_datetime(moment.at.as_str())),
        ("hour".to_owned(), E::new_long(moment.hour)),
        ("weekday".to_owned(), E::new_long(moment.weekday)),
    ]);
    let roles = asked.operator.unwrap_or_default().iter();
    let roles: Option<Vec<E>> = roles.map(|role| entity(schema::OPERATOR_ROLE, role)).collect();
    let operator = E::new_record([
        ("signed".to_owned(), E::new_bool(asked.operator.is_some())),
        ("roles".to_owned(), E::new_set(roles?)),
    ]);
    let pairs = [
        ("purpose", entity(schema::PURPOSE, asked.purpose.as_str())?),
        ("legal_basis", entity(schema::LEGAL_BASIS, asked.legal_basis.as_str())?),
        ("subject_kind", entity(schema::SUBJECT_KIND, asked.subject_kind.as_str())?),
        ("has_case", E::new_bool(asked.has_case)),
        ("channel", entity(schema::CHANNEL, asked.channel.as_str())?),
        ("operator", operator.ok()?),
        ("time", time.ok()?),
    ];
    Context::from_pairs(pairs.map(|(name, value)| (name.to_owned(), value))).ok()
}

/// The rules of all texts in the order in which they decide, and each department's version. Adds
/// a line for each text to what the digest is of.
fn read(
    settings: &PolicySettings,
    grants: &str,
    text: &mut String,
    mistakes: &mut Mistakes,
) -> (Rules, BTreeMap<String, u64>) {
    let (mut rules, mut serials) = (Rules::default(), BTreeMap::new());
    let mut line = |kind: &str, name: &str, of: &str| {
        writeln!(text, "{kind} {name} {}", Digest::of(of.as_bytes()))
            .expect("writing to a string does not fail");
    };
    let of_grants =
        crate::settings::PolicyFile { name: GRANTS.to_owned(), text: grants.to_owned() };
    rules.add(&of_grants, None, mistakes);
    line("rules", GRANTS, grants);
    for file in &settings.files {
        rules.add(file, None, mistakes);
        line("rules", &file.name, &file.text);
    }
    for (department, signed) in &settings.departments {
        let key = format!("departments.{department}.policy");
        // A name that is none was told already.
        let Ok(id) = department.parse() else { continue };
        let (file, signature) = (&signed.file, &signed.signature);
        match SignedRules::verify(&id, &file.text, signature, &signed.key) {
            Ok(found) => {
                let before = rules.rules.len();
                rules.add(file, Some(department), mistakes);
                for rule in rules.rules.iter().skip(before) {
                    check_department(rule, department, mistakes);
                }
                line("department", &format!("{department} {}", found.serial), &file.text);
                serials.insert(department.clone(), found.serial);
            }
            Err(fault) => {
                let mend = "have the department sign it with `jumpgate policy sign`, and write its \
                            key as it was made";
                mistakes.add(&key, format!("{}: {fault}", file.name), mend);
            }
        }
    }
    (rules, serials)
}

/// Every pair of caller and predicate with the rules that can be about it.
fn askers(
    rules: &[Rule],
    catalogue: &Catalogue,
    callers: &BTreeMap<CallerId, CallerFacts>,
) -> HashMap<CallerId, Asker> {
    // Most pairs share their rules with others.
    let mut slices: BTreeMap<Vec<usize>, Arc<Slice>> = BTreeMap::new();
    let mut slice = |principal: &EntityUid, target: &Target, way: RuleWay| {
        let about = |rule: &Rule| {
            let can = match way {
                RuleWay::Usual => rule.exact.is_none_or(|exact| !exact.is_break_glass),
                RuleWay::Exact { is_break_glass } => {
                    rule.exact.is_some_and(|exact| exact.is_break_glass == is_break_glass)
                }
            };
            (can || !rule.permits()) && rule.is_about(principal, &target.action, &target.resource)
        };
        let of = (0..rules.len()).filter(|&at| about(&rules[at])).collect();
        let make = |of: &Vec<usize>| Arc::new(Slice::of(rules, of.clone()));
        Arc::clone(slices.entry(of).or_insert_with_key(make))
    };
    let targets: Vec<Arc<Target>> =
        catalogue.predicates().filter_map(|it| target(catalogue, it)).collect();
    let of_caller = |(id, facts): (&CallerId, &CallerFacts)| {
        let principal: EntityUid = schema::reference(schema::CALLER, id).parse().ok()?;
        let cells = targets.iter().map(|target| {
            let is_exact = target.predicate.clock == Clock::Exact;
            let exact = |is_break_glass| RuleWay::Exact { is_break_glass };
            let usual = if is_exact { exact(false) } else { RuleWay::Usual };
            // Only people with tokens can be two.
            let can_break = is_exact && facts.operator_roles.is_some();
            let cell = Cell {
                slice: slice(&principal, target, usual),
                break_glass: can_break.then(|| slice(&principal, target, exact(true))),
                target: Arc::clone(target),
                kept: OnceLock::new(),
            };
            (target.predicate.id.clone(), cell)
        });
        let cells = cells.collect();
        let operators = match facts.operator_roles.as_deref() {
            None => vec![None],
            Some(roles) => combinations(roles).map(Some).collect(),
        };
        Some((id.clone(), Asker { principal, facts: facts.clone(), operators, cells }))
    };
    callers.iter().filter_map(of_caller).collect()
}

/// Every set of some of these roles, the smallest first.
fn combinations(roles: &[RoleName]) -> impl Iterator<Item = Vec<RoleName>> {
    let sets = 0_u32..1 << roles.len().min(ROLES_MAX);
    let mut sets: Vec<u32> = sets.collect();
    sets.sort_by_key(|set| set.count_ones());
    sets.into_iter().map(|set| {
        let of_set = roles.iter().enumerate().filter(|(at, _)| set >> at & 1 == 1);
        of_set.map(|(_, role)| RoleName::clone(role)).collect()
    })
}

/// Roles of one issuer that rules can speak of. Each more doubles the questions by which the matrix
/// is made.
pub const ROLES_MAX: usize = 5;

/// None only if an id could not be that of an entity, which the ids' own rules exclude.
fn target(catalogue: &Catalogue, predicate: &Arc<Predicate>) -> Option<Arc<Target>> {
    let action = schema::action(predicate).parse().ok()?;
    let resource = schema::reference(schema::DEPARTMENT, &predicate.department).parse().ok()?;
    let legal_bases = predicate.purposes.iter().map(|it| catalogue.legal_basis_of(it).cloned());
    let legal_bases = legal_bases.collect::<Option<_>>()?;
    Some(Arc::new(Target { predicate: Arc::clone(predicate), legal_bases, action, resource }))
}

impl Target {
    fn legal_basis(&self, purpose: &Purpose) -> Option<&LegalBasis> {
        let place = self.predicate.purposes.iter().position(|it| it == purpose)?;
        self.legal_bases.get(place)
    }
}

impl Slice {
    fn of(all: &[Rule], rules: Vec<usize>) -> Self {
        let set = PolicySet::from_policies(rules.iter().map(|&at| all[at].cedar.clone()));
        let time_use = rules.iter().map(|&at| all[at].time_use).max().unwrap_or(TimeUse::Never);
        let looks_at_operator = rules.iter().any(|&at| all[at].looks_at_operator);
        // Every rule has another name.
        Self { set: set.unwrap_or_default(), rules, time_use, looks_at_operator }
    }
}

/// What the grants are called where files have names.
const GRANTS: &str = "grants";
/// First line of the text the digest is of; changes with its form.
const TEXT_FORMAT: &str = "jumpgate/policy/v2";

#[cfg(test)]
pub(crate) mod tests;
