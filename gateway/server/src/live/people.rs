//! Who may look and act, and what waits for a second person.

use std::time::Duration;

use jiff::Timestamp;
use ring::rand::{SecureRandom, SystemRandom};

use crate::config::{AdminSettings, Role};

/// Somebody at the admin socket, known by the user id of his process.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Person {
    /// His name, for sealed fields only.
    pub(super) name: String,
    pub(super) uid: u32,
    roles: Vec<Role>,
}

impl Person {
    /// Who a user id is. Where no account is configured, `own_uid`, the gateway's own user, is an
    /// operator.
    pub fn of(settings: &AdminSettings, uid: u32, own_uid: u32) -> Option<Self> {
        let account = settings.accounts.iter().find(|account| account.uid == uid);
        match account {
            Some(account) => {
                Some(Self { name: account.name.clone(), uid, roles: account.roles.clone() })
            }
            None if settings.accounts.is_empty() && uid == own_uid => {
                let name = "the gateway's own user".to_owned();
                Some(Self { name, uid, roles: vec![Role::Operator, Role::Auditor] })
            }
            None => None,
        }
    }

    /// True for roles that do more than look.
    pub fn may_act(&self) -> bool {
        self.roles.iter().any(|role| match role {
            Role::Operator | Role::Security => true,
            Role::Auditor => false,
        })
    }

    /// True for roles that may see what is known of a person.
    pub fn may_audit(&self) -> bool {
        self.roles.iter().any(|role| match role {
            Role::Auditor | Role::Security => true,
            Role::Operator => false,
        })
    }

    fn is_security(&self) -> bool {
        self.roles.contains(&Role::Security)
    }
}

/// Acts that wait for a second person.
pub(super) struct Proposals<T> {
    waiting: Vec<Proposal<T>>,
}

/// An act that one person wants.
pub(super) struct Proposal<T> {
    /// Eight hexadecimal digits, drawn anew for each.
    pub id: String,
    pub what: T,
    /// What it does, a line for each.
    pub lines: Vec<String>,
    /// Whose it is, by his user id: what he may do can change until it is approved.
    pub by: u32,
    pub until: Timestamp,
}

/// Why an act is not approved.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub(super) enum NotApproved {
    #[error("nothing waits under this number; it may be older than 15 minutes")]
    Unknown,
    #[error("another person must approve what you have proposed")]
    SamePerson,
    #[error("one of the two people must have the role security")]
    NoSecurity,
    #[error("whoever proposed it may no longer do so; propose it yourself")]
    NoLongerTheirs,
}

impl<T> Proposals<T> {
    pub fn new() -> Self {
        Self { waiting: Vec::new() }
    }

    /// Takes one more; beyond [`PROPOSALS_MAX`] the oldest is forgotten.
    pub fn add(&mut self, what: T, lines: Vec<String>, by: u32, now: Timestamp) -> &Proposal<T> {
        self.forget(now);
        if self.waiting.len() >= PROPOSALS_MAX {
            self.waiting.remove(0);
        }
        let until = now.saturating_add(PROPOSAL_KEPT).unwrap_or(Timestamp::MAX);
        self.waiting.push(Proposal { id: draw_id(), what, lines, by, until });
        &self.waiting[self.waiting.len() - 1]
    }

    /// Takes out what `person` approves; `known` says who a user id is now.
    pub fn approve(
        &mut self,
        id: &str,
        person: &Person,
        known: impl Fn(u32) -> Option<Person>,
        now: Timestamp,
    ) -> Result<(Proposal<T>, Person), NotApproved> {
        self.forget(now);
        let found = self.waiting.iter().position(|proposal| proposal.id == id);
        let at = found.ok_or(NotApproved::Unknown)?;
        let by = known(self.waiting[at].by).filter(Person::may_act);
        let by = by.ok_or(NotApproved::NoLongerTheirs)?;
        if by.uid == person.uid {
            return Err(NotApproved::SamePerson);
        }
        if !by.is_security() && !person.is_security() {
            return Err(NotApproved::NoSecurity);
        }
        Ok((self.waiting.remove(at), by))
    }

    /// Forgets what `is_void` names.
    pub fn drop_void(&mut self, is_void: impl Fn(&T) -> bool) {
        self.waiting.retain(|proposal| !is_void(&proposal.what));
    }

    /// What waits, oldest first.
    pub fn waiting(&mut self, now: Timestamp) -> &[Proposal<T>] {
        self.forget(now);
        &self.waiting
    }

    fn forget(&mut self, now: Timestamp) {
        self.waiting.retain(|proposal| proposal.until > now);
    }
}

fn draw_id() -> String {
    let mut id = [0; 4];
    // Without randomness the number is 0: still one that has to be typed, and the log, which needs
    // salts, refuses the act.
    let _ = SystemRandom::new().fill(&mut id);
    hex::encode(id)
}

/// Long enough to walk over to a colleague, too short to be forgotten about.
const PROPOSAL_KEPT: Duration = Duration::from_secs(15 * 60);
/// More than two people can have in mind.
const PROPOSALS_MAX: usize = 16;

#[cfg(test)]
mod tests {
    use super::*;

    fn person(uid: u32, roles: &[Role]) -> Person {
        Person { name: format!("person {uid}"), uid, roles: roles.to_vec() }
    }

    #[test]
    fn two_people_one_of_whom_answers_for_security_approve_within_fifteen_minutes() {
        let now: Timestamp = "2026-05-12T04:00:00Z".parse().unwrap();
        let (operator, other) = (person(1, &[Role::Operator]), person(2, &[Role::Operator]));
        let security = person(3, &[Role::Security]);
        let mut proposals = Proposals::new();
        let mut propose = |by: &Person| proposals.add("act", vec![], by.uid, now).id.clone();
        let (first, second, third) = (propose(&operator), propose(&security), propose(&operator));
        let mut approve = |id: &str, by: &Person, after_s: i64| {
            let now = now + jiff::SignedDuration::from_secs(after_s);
            let people = [&operator, &other, &security];
            let known = |uid| people.into_iter().find(|it| it.uid == uid).cloned();
            proposals.approve(id, by, known, now).map(|(proposal, _)| proposal.what)
        };
        assert_eq!(approve("0000", &security, 0), Err(NotApproved::Unknown));
        assert_eq!(approve(&first, &operator, 0), Err(NotApproved::SamePerson));
        assert_eq!(approve(&first, &other, 0), Err(NotApproved::NoSecurity));
        assert_eq!(approve(&first, &security, 0), Ok("act"));
        assert_eq!(approve(&first, &security, 0), Err(NotApproved::Unknown), "once");
        assert_eq!(approve(&second, &security, 0), Err(NotApproved::SamePerson));
        assert_eq!(approve(&second, &other, 899), Ok("act"));
        assert_eq!(approve(&third, &security, 900), Err(NotApproved::Unknown));
    }

    #[test]
    fn who_lost_his_role_since_is_no_first_person() {
        let now = Timestamp::UNIX_EPOCH;
        let mut proposals = Proposals::new();
        let id = proposals.add("act", vec![], 1, now).id.clone();
        let security = person(3, &[Role::Security]);
        for since in [None, Some(person(1, &[Role::Auditor]))] {
            let refused = proposals.approve(&id, &security, |_| since.clone(), now);
            assert_eq!(refused.map(|_| ()), Err(NotApproved::NoLongerTheirs));
        }
        proposals.drop_void(|act| *act == "act");
        assert!(proposals.waiting(now).is_empty());
    }

    #[test]
    fn proposals_have_a_maximum() {
        let mut proposals = Proposals::new();
        for _ in 0..=PROPOSALS_MAX {
            proposals.add((), vec![], 1, Timestamp::UNIX_EPOCH);
        }
        assert_eq!(proposals.waiting(Timestamp::UNIX_EPOCH).len(), PROPOSALS_MAX);
    }
}
