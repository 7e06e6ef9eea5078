//! What is in force now, and every act that changes it.
//!
//! Owns the [`Gateway`] in force, which is replaced as a whole; the order of an act, entry and
//! effect; and what waits for a second person. A department is switched off before its entry is
//! written, everything else comes into force after its entries are durable. An act that fails
//! leaves in force what was.

use std::os::unix::fs::MetadataExt;
use std::path::PathBuf;
use std::sync::Arc;

use arc_swap::ArcSwap;
use jumpgate_admission::{Admission, DefaultClock};
use jumpgate_catalogue::{DepartmentId, Digest, Notice, Subject};
use jumpgate_querylog::{
    Act, AskMode, Details, Digests, Keys, LogOptions, QueryLog, Recorded, StartDetails,
};
use ring::rand::SystemRandom;
use tokio::sync::Mutex;

use crate::candidate::{Candidate, StartFault, Workshop};
use crate::config::{AskDurability, Config, Mistake, Settings};
use crate::counts::Counting;
use crate::drain::Drain;
use crate::gateway::{Gateway, Now, adapter_digests, unix_ms};
use crate::record::{Kept, Record};
use crate::replay::Replays;
use crate::telemetry::Telemetry;

mod changes;
mod people;
mod persons;
mod state;

use changes::Changes;
pub use people::Person;
use people::{NotApproved, Proposals};
use persons::Corrected;
use state::State;
pub use state::StateFault;

/// The running gateway. Shared by every connection.
pub struct Live {
    gateway: ArcSwap<Gateway>,
    config: PathBuf,
    workshop: Workshop,
    /// Held through an act, so that there is one at a time.
    acting: Mutex<State>,
    proposals: std::sync::Mutex<Proposals<Wanted>>,
    since: jiff::Timestamp,
    /// The first entry that was in no snapshot of counts at the start.
    counted_from: u64,
    /// The user that the gateway runs as.
    own_uid: u32,
}

/// An act that may need two people.
enum Wanted {
    Revive(DepartmentId),
    Reload(Box<Reload>),
    Rectify(Box<Corrected>),
    Erase(Box<Subject>),
}

/// A reload that could come into force.
struct Reload {
    candidate: Candidate,
    changes: Changes,
    /// What it was compared with.
    edition: u64,
    now_off: Vec<DepartmentId>,
}

/// What an act came to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Said {
    /// False if a second person must approve it.
    pub is_done: bool,
    /// In a sentence.
    pub text: String,
    /// What it changes, a line for each.
    pub lines: Vec<String>,
}

/// An act that was not done. What was in force is in force.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ActFault {
    /// Not this person's to do.
    #[error("{0}")]
    NotYours(String),
    /// There is no such department, or nothing waits under the number.
    #[error("{0}")]
    Unknown(String),
    /// It cannot be done as things stand.
    #[error("{0}")]
    Conflict(String),
    /// The query log cannot be written.
    #[error("the query log cannot be written: {0}")]
    Log(String),
}

/// An act that waits for a second person.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Waiting {
    /// The number to approve it by.
    pub id: String,
    /// What it changes, a line for each.
    pub lines: Vec<String>,
    /// When it is forgotten.
    pub until: jiff::Timestamp,
}

impl Live {
    /// Loads adapters, opens the query log and restores what it remembers. Touches no department.
    ///
    /// # Errors
    /// The first part that cannot start.
    pub async fn open(config: Config, now: Now) -> Result<Arc<Self>, StartFault> {
        let (path, accept_clock) = (config.path.clone(), config.accept_clock);
        let zone = config.civil_time_zone.clone();
        let workshop = Workshop::open(&config.settings)?;
        let mut state = State::open(&config.settings.admin.state_file)?;
        let own_uid =
            std::fs::metadata("/proc/self").map(|it| it.uid()).map_err(StartFault::Process)?;
        state.check_rules(config.plan.policy())?;
        let candidate = Candidate::prepare(config, &workshop, None)?;
        let digests = Digests {
            adapter: Digest([0; 32]),
            catalogue: candidate.catalogue.digest(),
            policy: candidate.plan.policy().digest(),
            engine: workshop.runtime.digest(),
        };
        let start = StartDetails {
            version: env!("CARGO_PKG_VERSION").to_owned(),
            config: candidate.digest,
            catalogue: digests.catalogue,
            policy: digests.policy,
            engine: digests.engine,
            accept_clock,
        };
        let (log, replays, is_new) = open_log(&candidate.settings, start, &now)?;
        if state.is_missing() && !is_new {
            tracing::error!("admin.state_file is missing: every department starts switched off");
            candidate.departments.keys().try_for_each(|id| state.switch_off(id, None))?;
        }
        // Written now, so that it is no news in an emergency that it cannot be.
        state.keep_rules(candidate.plan.policy())?;
        let (gateway, counted_from) = first(candidate, digests, log, replays, zone, now.clone())?;
        let live = Self {
            gateway: ArcSwap::from_pointee(gateway),
            config: path,
            workshop,
            acting: Mutex::new(state),
            proposals: std::sync::Mutex::new(Proposals::new()),
            since: now(),
            counted_from,
            own_uid,
        };
        live.announce().await?;
        Ok(Arc::new(live))
    }

    /// What is in force now. A query stays with it to its end.
    pub fn gateway(&self) -> Arc<Gateway> {
        self.gateway.load_full()
    }

    /// When the process started.
    pub fn since(&self) -> jiff::Timestamp {
        self.since
    }

    /// The first entry that was in no snapshot of counts at the start.
    pub(crate) fn counted_from(&self) -> u64 {
        self.counted_from
    }

    /// Who may act and look, by his user id.
    pub fn person(&self, uid: u32) -> Option<Person> {
        Person::of(&self.gateway().settings.admin, uid, self.own_uid)
    }

    /// Ends the query log in order, after the act that is under way; there is none after it.
    ///
    /// # Errors
    /// The last entry cannot be written.
    pub async fn close(&self) -> Result<(), ActFault> {
        let _no_more_acts = self.acting.lock().await;
        let log = self.gateway().record.log().clone();
        log.close().await.map(drop).map_err(|error| ActFault::Log(error.to_string()))
    }

    /// Logs each adapter in force and each department that starts off, and switches those off.
    async fn announce(&self) -> Result<(), StartFault> {
        let state = self.acting.lock().await;
        let gateway = self.gateway();
        let unwritten = |_| StartFault::FirstEntries;
        for department in gateway.departments() {
            let details = changes::named(department.id(), department);
            self.note(Act::Adapter, &details, None).await.map_err(unwritten)?;
        }
        let by_configuration = gateway.settings.departments().filter(|(_, it)| it.switched_off);
        let by_configuration = by_configuration.map(|(id, _)| (id, None, "the configuration"));
        let by_acts = state.switched_off().map(|(id, notice)| (id, notice, "before the start"));
        // Those that acts have switched off come last: what people are shown is theirs.
        for (id, notice, since) in by_configuration.chain(by_acts) {
            // One that was switched off may be configured no more.
            let _known = gateway.admission.kill(&id, notice);
            let details = switched(&id, false).with("since", since);
            self.note(Act::Config, &details, None).await.map_err(unwritten)?;
        }
        Ok(())
    }

    /// Switches a department off: at once, then for restarts too, then on record. `notice` is what
    /// people are shown until it is on again.
    ///
    /// # Errors
    /// Not this person's to do; no such department; the entry or the file that keeps it over a
    /// restart cannot be written: it is off all the same, as the text says.
    pub async fn switch_off(
        &self,
        by: &Person,
        id: &DepartmentId,
        notice: Option<Notice>,
    ) -> Result<Said, ActFault> {
        may_act(by)?;
        let changed = self.gateway().admission.kill(id, notice.clone()).map_err(unknown)?;
        let mut state = self.acting.lock().await;
        let is_this = |wanted: &Wanted| matches!(wanted, Wanted::Revive(revived) if revived == id);
        self.proposals().drop_void(is_this);
        let kept = state.switch_off(id, notice.as_ref());
        // A reload or a second person in between may have switched it on.
        let _known = self.gateway().admission.kill(id, notice.clone());
        let mut details = switched(id, false);
        if let Some(Notice { en, zh }) = &notice {
            details = details.with("en", en.clone()).with("zh", zh.clone());
        }
        let noted = self.note(Act::Config, &details, Some(&by.name)).await;
        let failed =
            [kept.map_err(|it| it.to_string()), noted.map(drop).map_err(|it| it.to_string())];
        let failed: Vec<String> = failed.into_iter().filter_map(Result::err).collect();
        if failed.is_empty() {
            return Ok(Said::done(if changed { "done" } else { "it was so already" }));
        }
        Err(ActFault::Conflict(format!(
            "it IS off, but a restart may switch it on: {}; mend that and switch it off again",
            failed.join("; ")
        )))
    }

    /// Switches a department on again, which takes two people.
    ///
    /// # Errors
    /// Not this person's to do; no such department; nothing was switched on.
    pub async fn revive(&self, by: &Person, id: &DepartmentId) -> Result<Said, ActFault> {
        let mut state = self.acting.lock().await;
        let by = self.still(by)?;
        let readings = self.gateway().admission.departments();
        let reading = readings.into_iter().find(|it| it.department == *id);
        match reading {
            None => Err(ActFault::Unknown(format!("the catalogue has no department {id}"))),
            Some(reading) if !reading.killed => Ok(Said::done("it was so already")),
            Some(_) => {
                let lines = vec![format!("{id} is switched on and can be asked again")];
                self.want(&mut state, Wanted::Revive(id.clone()), lines, true, &by).await
            }
        }
    }

    /// Reads the configuration and everything it names again. What differs comes into force as a
    /// whole, at once or, if it may take protection away, when a second person has approved it.
    ///
    /// # Errors
    /// Not this person's to do; every mistake of the configuration; a key that cannot change while
    /// the gateway runs.
    pub async fn reload(self: &Arc<Self>, by: &Person) -> Result<Said, ActFault> {
        may_act(by)?;
        let live = Arc::clone(self);
        let prepared = tokio::task::spawn_blocking(move || live.prepare());
        let reload = prepared.await.map_err(|_| conflict("preparing it panicked"))??;
        let mut state = self.acting.lock().await;
        let by = self.still(by)?;
        self.check(&state, &reload)?;
        let (lines, two) = (reload.changes.lines.clone(), reload.changes.need_two_people);
        self.want(&mut state, Wanted::Reload(Box::new(reload)), lines, two, &by).await
    }

    /// Everything of a reload that takes time, and changes nothing.
    fn prepare(&self) -> Result<Reload, ActFault> {
        let current = self.gateway();
        let config = Config::load(&self.config).map_err(|mistakes| {
            let mistakes: Vec<String> = mistakes.iter().map(Mistake::to_string).collect();
            conflict(format!("{} mistake(s):\n  {}", mistakes.len(), mistakes.join("\n  ")))
        })?;
        let fixed = changes::fixed_keys(&current.settings, &config.settings);
        if !fixed.is_empty() {
            let fixed = fixed.join(", ");
            let text = format!("cannot change while the gateway runs: {fixed}; restart it instead");
            return Err(ActFault::Conflict(text));
        }
        let candidate = Candidate::prepare(config, &self.workshop, Some(&current));
        let candidate = candidate.map_err(|fault| {
            let mut text = fault.to_string();
            let mut cause = std::error::Error::source(&fault);
            while let Some(because) = cause {
                text.push_str(&format!(": {because}"));
                cause = because.source();
            }
            ActFault::Conflict(text)
        })?;
        let now = current.now().to_zoned(current.civil_time_zone.clone());
        let changes = Changes::between(&current, &candidate, &now);
        let was_off = |id: &DepartmentId| {
            let before = current.settings.departments.get(id.as_str());
            before.is_some_and(|before| before.switched_off)
        };
        let off = candidate.settings.departments().filter(|(_, it)| it.switched_off);
        let now_off = off.map(|(id, _)| id).filter(|id| !was_off(id)).collect();
        Ok(Reload { candidate, changes, edition: current.edition, now_off })
    }

    /// What must still be true of a reload when it is proposed and when it comes into force.
    fn check(&self, state: &State, reload: &Reload) -> Result<(), ActFault> {
        if self.gateway().edition != reload.edition {
            return Err(conflict("another reload came into force meanwhile; propose it again"));
        }
        if let Some(id) = self.gateway().admission.ledger().unfollowed(&reload.candidate.plan) {
            return Err(conflict(format!(
                "{id} was not asked about exactly before; restart the gateway, so that it reads \
                 what was released"
            )));
        }
        state.check_rules(reload.candidate.plan.policy()).map_err(conflict)
    }

    /// Approves what another person has proposed, which is then done.
    ///
    /// # Errors
    /// Nothing waits under the number; the same person; nobody of the two answers for security; it
    /// cannot be done as things stand.
    pub async fn approve(&self, by: &Person, id: &str) -> Result<Said, ActFault> {
        let mut state = self.acting.lock().await;
        let by = self.still(by)?;
        let now = self.gateway().now();
        let approved = self.proposals().approve(id, &by, |uid| self.person(uid), now);
        let (proposal, first) = approved.map_err(|why| match why {
            NotApproved::Unknown => ActFault::Unknown(why.to_string()),
            NotApproved::SamePerson | NotApproved::NoSecurity | NotApproved::NoLongerTheirs => {
                ActFault::NotYours(why.to_string())
            }
        })?;
        let names = format!("{}, {}", first.name, by.name);
        self.perform(&mut state, proposal.what, &names, proposal.lines).await
    }

    /// What waits for a second person.
    pub fn waiting(&self) -> Vec<Waiting> {
        let now = self.gateway().now();
        let mut proposals = self.proposals();
        let waiting = proposals.waiting(now).iter();
        waiting
            .map(|it| Waiting { id: it.id.clone(), lines: it.lines.clone(), until: it.until })
            .collect()
    }

    /// The person as he is now: the configuration may have changed since he connected.
    fn still(&self, by: &Person) -> Result<Person, ActFault> {
        let person = self.person(by.uid);
        let person = person.ok_or_else(|| ActFault::NotYours("your account is gone".to_owned()))?;
        may_act(&person)?;
        Ok(person)
    }

    /// No panic leaves a proposal half made, so a poisoned lock is still good.
    fn proposals(&self) -> std::sync::MutexGuard<'_, Proposals<Wanted>> {
        self.proposals.lock().unwrap_or_else(std::sync::PoisonError::into_inner)
    }

    /// Reads the revocation lists again, and puts them in force if they differ.
    ///
    /// # Errors
    /// A list cannot be used, or the entry cannot be written; the old ones stay in force.
    pub async fn read_lists_again(&self) -> Result<(), ActFault> {
        let _one_at_a_time = self.acting.lock().await;
        let gateway = self.gateway();
        let old = gateway.trust.clone();
        let read = tokio::task::spawn_blocking(move || old.after(&old));
        let trust = read.await.map_err(conflict)?.map_err(conflict)?;
        if trust.may_let_in_again(&gateway.trust) {
            return Err(conflict(OLDER_LISTS));
        }
        let (old, new) = (gateway.trust.revocation_lists(), trust.revocation_lists());
        if old != new {
            let details = changes::of_part("revocation lists", old, new);
            self.note(Act::Config, &details, None).await?;
            self.gateway.store(Arc::new(gateway.with_trust(trust)));
        }
        Ok(())
    }

    async fn want(
        &self,
        state: &mut State,
        wanted: Wanted,
        lines: Vec<String>,
        needs_two_people: bool,
        by: &Person,
    ) -> Result<Said, ActFault> {
        let gateway = self.gateway();
        if !needs_two_people || !gateway.settings.admin.two_people {
            return self.perform(state, wanted, &by.name, lines).await;
        }
        let mut proposals = self.proposals();
        let proposal = proposals.add(wanted, lines, by.uid, gateway.now());
        let text = format!(
            "a second person must approve it within 15 minutes, and one of the two must have the \
             role security: `jumpgate approve` with the number {}",
            proposal.id
        );
        Ok(Said { is_done: false, text, lines: proposal.lines.clone() })
    }

    async fn perform(
        &self,
        state: &mut State,
        wanted: Wanted,
        names: &str,
        lines: Vec<String>,
    ) -> Result<Said, ActFault> {
        let text = match wanted {
            Wanted::Revive(id) => self.switch_on(state, &id, names).await?,
            Wanted::Reload(reload) => self.put_in_force(state, *reload, names).await?,
            Wanted::Rectify(corrected) => self.forget_record(*corrected, names).await?,
            Wanted::Erase(subject) => self.erase_now(&subject, names).await?,
        };
        Ok(Said { is_done: true, text: text.to_owned(), lines })
    }

    async fn switch_on(
        &self,
        state: &mut State,
        id: &DepartmentId,
        names: &str,
    ) -> Result<&'static str, ActFault> {
        self.note(Act::Config, &switched(id, true), Some(names)).await?;
        state.switch_on(id).map_err(conflict)?;
        let changed = self.gateway().admission.revive(id).map_err(unknown)?;
        Ok(if changed { "done" } else { "it was so already" })
    }

    async fn put_in_force(
        &self,
        state: &mut State,
        mut reload: Reload,
        names: &str,
    ) -> Result<&'static str, ActFault> {
        self.check(state, &reload)?;
        let current = self.gateway();
        // The lists may be others than when it was proposed.
        let proposed = reload.candidate.trust.revocation_lists();
        let trust = reload.candidate.trust.after(&current.trust).map_err(conflict)?;
        let (old, new) = (current.trust.revocation_lists(), trust.revocation_lists());
        let is_approved = reload.changes.lists_are_older && new == proposed;
        if trust.may_let_in_again(&current.trust) && !is_approved {
            return Err(conflict(OLDER_LISTS));
        }
        reload.candidate.trust = trust;
        if old != new {
            let details = changes::of_part("revocation lists", old, new);
            self.note(Act::Config, &details, Some(names)).await?;
        }
        for id in &reload.now_off {
            let details = switched(id, false).with("since", "the configuration");
            self.note(Act::Config, &details, Some(names)).await?;
        }
        for (act, details) in &reload.changes.entries {
            self.note(*act, details, Some(names)).await?;
        }
        state.keep_rules(reload.candidate.plan.policy()).map_err(conflict)?;
        self.note(Act::Config, &reload.changes.in_force, Some(names)).await?;
        let next = current.succeed(reload.candidate);
        let now_off = reload.now_off.into_iter().map(|id| (id, None));
        for (id, notice) in now_off.chain(state.switched_off()) {
            // One that was switched off may be configured no more.
            let _known = next.admission.kill(&id, notice);
        }
        self.gateway.store(Arc::new(next));
        // What still waits was compared with what is no longer in force.
        self.proposals().drop_void(|wanted| matches!(wanted, Wanted::Reload(_)));
        Ok("in force")
    }

    async fn note(
        &self,
        act: Act,
        details: &Details<'_>,
        by: Option<&str>,
    ) -> Result<Recorded, ActFault> {
        let gateway = self.gateway();
        gateway.record.log().act_by(act, details, by).await.map_err(|error| {
            tracing::error!(%error, "an act cannot be put on record");
            ActFault::Log(error.to_string())
        })
    }
}

impl Said {
    fn done(text: &str) -> Self {
        Self { is_done: true, text: text.to_owned(), lines: Vec::new() }
    }
}

fn may_act(person: &Person) -> Result<(), ActFault> {
    if person.may_act() {
        return Ok(());
    }
    Err(ActFault::NotYours("your role looks only; ask an operator".to_owned()))
}

fn conflict(why: impl std::fmt::Display) -> ActFault {
    ActFault::Conflict(why.to_string())
}

fn unknown(why: impl std::fmt::Display) -> ActFault {
    ActFault::Unknown(why.to_string())
}

fn switched(id: &DepartmentId, on: bool) -> Details<'static> {
    let switched = if on { "on" } else { "off" };
    Details::new().with("department", id.to_string()).with("switched", switched)
}

const OLDER_LISTS: &str = "a revocation list is gone or older than the one in force, and who is \
                           revoked there could ask again; put the newest there, or have two people \
                           reload it";

fn first(
    candidate: Candidate,
    digests: Digests,
    log: QueryLog,
    replays: Arc<Replays>,
    civil_time_zone: jiff::tz::TimeZone,
    now: Now,
) -> Result<(Gateway, u64), StartFault> {
    let civil_now = {
        let (now, zone) = (now.clone(), civil_time_zone.clone());
        Arc::new(move || now().to_zoned(zone.clone()))
    };
    let telemetry = Arc::new(Telemetry::default());
    let adapters = adapter_digests(&candidate.departments);
    let catalogue = Arc::new(candidate.catalogue);
    let counting = Counting {
        log: log.clone(),
        catalogue: Arc::clone(&catalogue),
        zone: civil_time_zone.clone(),
        now: now.clone(),
    };
    let (ledger, counted_from) = counting.ledger()?;
    let admission = Admission::new(candidate.plan, DefaultClock::default(), civil_now, ledger);
    let gateway = Gateway {
        record: Record::new(log, digests, adapters, telemetry.clone()),
        catalogue,
        admission: Arc::new(admission),
        trust: Arc::new(candidate.trust),
        telemetry,
        drain: Drain::default(),
        settings: Arc::new(candidate.settings),
        config_digest: candidate.digest,
        departments: Arc::new(candidate.departments),
        endpoint_files: Arc::new(candidate.endpoint_files),
        issuers: Arc::new(candidate.issuers),
        edition: 0,
        digests,
        replays,
        civil_time_zone,
        now,
        random: SystemRandom::new(),
    };
    Ok((gateway, counted_from))
}

fn open_log(
    settings: &Settings,
    start: StartDetails,
    now: &Now,
) -> Result<(QueryLog, Arc<Replays>, bool), StartFault> {
    let log = &settings.log;
    let keys = Keys::open(&log.keys_dir)?;
    let options = LogOptions {
        ask: match log.ask {
            AskDurability::Durable => AskMode::Durable,
            AskDurability::Written => AskMode::Written,
        },
        segment_bytes: log.segment_bytes,
        headroom_bytes_min: log.headroom_bytes_min,
        ballast_bytes: log.ballast_bytes,
        idempotency_entries_max: log.replays_max,
        ..LogOptions::default()
    };
    let clock = now.clone();
    let now_ms = Arc::new(move || unix_ms(clock()));
    let (log_open, opened) = QueryLog::open(&log.dir, &keys, options, start, now_ms)?;
    let replays = Replays::new(log.replays_max);
    // Newest first from the log; the memory forgets its oldest first.
    for past in opened.outcomes.iter().rev() {
        let kept = Kept::restored(past);
        replays.restore(past.caller.clone(), past.query_id, past.request_token, kept);
    }
    // Of a new log the only entry is the start that was written now.
    Ok((log_open, replays, opened.entries == 1))
}
