//! What is in force now, and every act that changes it.
//!
//! Owns the [`Gateway`] in force, which is replaced as a whole; the order of an act, entry and
//! effect; and what waits for a second person. A department is switched off before its entry is
//! written, everything else comes into force after its entries are durable. An act that fails
//! leaves in force what was.

use std::path::PathBuf;
use std::sync::Arc;

use arc_swap::ArcSwap;
use jumpgate_admission::{Admission, DefaultClock};
use jumpgate_catalogue::{DepartmentId, Digest};
use jumpgate_querylog::{
    Act, AskMode, Details, Digests, Keys, LogOptions, QueryLog, Recorded, StartDetails,
};
use ring::rand::SystemRandom;
use tokio::sync::{Mutex, MutexGuard};

use crate::candidate::{Candidate, StartFault, Workshop};
use crate::config::{AskDurability, Config, Mistake, Settings};
use crate::drain::Drain;
use crate::gateway::{Gateway, Now, adapter_digests, unix_ms};
use crate::record::{Kept, Record};
use crate::replay::Replays;
use crate::telemetry::Telemetry;

mod changes;
mod people;
mod state;

use changes::Changes;
pub use people::Person;
use people::{NotApproved, Proposals};
use state::State;
pub use state::StateFault;

/// The running gateway. Shared by every connection.
pub struct Live {
    gateway: ArcSwap<Gateway>,
    config: PathBuf,
    workshop: Workshop,
    acting: Mutex<Acting>,
    since: jiff::Timestamp,
}

/// Held through an act, so that there is one at a time.
struct Acting {
    state: State,
    proposals: Proposals<Wanted>,
}

/// An act that may need two people.
enum Wanted {
    Revive(DepartmentId),
    Reload(Box<Reload>),
}

/// A reload that could come into force.
struct Reload {
    candidate: Candidate,
    changes: Changes,
    /// What it was compared with.
    edition: u64,
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
    #[error("the query log cannot be written")]
    Log,
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
        state.keep_rules(candidate.plan.policy())?;
        let (log, replays) = open_log(&candidate.settings, start, &now)?;
        let gateway = first(candidate, digests, log, replays, zone, now.clone());
        let live = Self {
            gateway: ArcSwap::from_pointee(gateway),
            config: path,
            workshop,
            acting: Mutex::new(Acting { state, proposals: Proposals::new() }),
            since: now(),
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

    /// Who may act and look, by his user id.
    pub fn person(&self, uid: u32, own_uid: u32) -> Option<Person> {
        Person::of(&self.gateway().settings.admin, uid, own_uid)
    }

    /// Logs each adapter in force, and switches off what was off or starts off.
    async fn announce(&self) -> Result<(), StartFault> {
        let acting = self.acting.lock().await;
        let gateway = self.gateway();
        let unwritten = |_| StartFault::FirstEntries;
        for department in gateway.departments() {
            let details = changes::named(department.id(), department);
            self.note(Act::Adapter, &details, None).await.map_err(unwritten)?;
        }
        for id in acting.state.switched_off() {
            let details = switched(&id, false).with("since", "before the start");
            self.note(Act::Config, &details, None).await.map_err(unwritten)?;
        }
        switch_off_what_is_off(&gateway, &acting.state);
        Ok(())
    }

    /// Switches a department off: at once, then on record, then for restarts too.
    ///
    /// # Errors
    /// Not this person's to do; no such department; the entry or the file that keeps it over a
    /// restart cannot be written: it is off all the same.
    pub async fn switch_off(&self, by: &Person, id: &DepartmentId) -> Result<Said, ActFault> {
        may_act(by)?;
        let changed = self.gateway().admission.kill(id).map_err(unknown)?;
        let mut acting = self.acting.lock().await;
        // A reload in between may have made the department anew.
        self.gateway().admission.kill(id).map_err(unknown)?;
        let kept = acting.state.switch(id, false);
        self.note(Act::Config, &switched(id, false), Some(&by.name)).await?;
        kept.map_err(|fault| {
            ActFault::Conflict(format!("it is off, and a restart would switch it on: {fault}"))
        })?;
        Ok(Said::done(if changed { "done" } else { "it was so already" }))
    }

    /// Switches a department on again, which takes two people.
    ///
    /// # Errors
    /// Not this person's to do; no such department; nothing was switched on.
    pub async fn revive(&self, by: &Person, id: &DepartmentId) -> Result<Said, ActFault> {
        may_act(by)?;
        let known =
            self.gateway().admission.departments().into_iter().any(|it| it.department == *id);
        if !known {
            return Err(ActFault::Unknown(format!("the catalogue has no department {id}")));
        }
        let acting = self.acting.lock().await;
        let lines = vec![format!("{id} is switched on and can be asked again")];
        self.want(acting, Wanted::Revive(id.clone()), lines, true, by).await
    }

    /// Reads the configuration and everything it names again. What differs comes into force as a
    /// whole, at once or, if it may take protection away, when a second person has approved it.
    ///
    /// # Errors
    /// Not this person's to do; every mistake of the configuration; a key that cannot change while
    /// the gateway runs.
    pub async fn reload(self: &Arc<Self>, by: &Person) -> Result<Said, ActFault> {
        may_act(by)?;
        let current = self.gateway();
        let live = Arc::clone(self);
        let prepared = tokio::task::spawn_blocking(move || live.prepare());
        let candidate = prepared.await.map_err(|_| conflict("preparing it panicked"))??;
        let acting = self.acting.lock().await;
        if self.gateway().edition != current.edition {
            return Err(conflict("another reload came into force meanwhile; try again"));
        }
        let fixed = changes::fixed_keys(&current.settings, &candidate.settings);
        if !fixed.is_empty() {
            let fixed = fixed.join(", ");
            let text = format!("cannot change while the gateway runs: {fixed}; restart it instead");
            return Err(ActFault::Conflict(text));
        }
        acting.state.check_rules(candidate.plan.policy()).map_err(conflict)?;
        let now = current.now().to_zoned(current.civil_time_zone.clone());
        let changes = Changes::between(&current, &candidate, &now);
        let (lines, two) = (changes.lines.clone(), changes.need_two_people);
        let edition = current.edition;
        let reload = Wanted::Reload(Box::new(Reload { candidate, changes, edition }));
        self.want(acting, reload, lines, two, by).await
    }

    fn prepare(&self) -> Result<Candidate, ActFault> {
        let config = Config::load(&self.config).map_err(|mistakes| {
            let mistakes: Vec<String> = mistakes.iter().map(Mistake::to_string).collect();
            ActFault::Conflict(format!(
                "{} mistake(s):\n  {}",
                mistakes.len(),
                mistakes.join("\n  ")
            ))
        })?;
        Candidate::prepare(config, &self.workshop, Some(&self.gateway())).map_err(|fault| {
            let mut text = fault.to_string();
            let mut cause = std::error::Error::source(&fault);
            while let Some(because) = cause {
                text.push_str(&format!(": {because}"));
                cause = because.source();
            }
            ActFault::Conflict(text)
        })
    }

    /// Approves what another person has proposed, which is then done.
    ///
    /// # Errors
    /// Nothing waits under the number; the same person; nobody of the two answers for security; it
    /// cannot be done as things stand.
    pub async fn approve(&self, by: &Person, id: &str) -> Result<Said, ActFault> {
        may_act(by)?;
        let mut acting = self.acting.lock().await;
        let now = self.gateway().now();
        let approved = acting.proposals.approve(id, by, now).map_err(|why| match why {
            NotApproved::Unknown => ActFault::Unknown(why.to_string()),
            NotApproved::SamePerson | NotApproved::NoSecurity => {
                ActFault::NotYours(why.to_string())
            }
        })?;
        let names = format!("{}, {}", approved.by.name, by.name);
        self.perform(&mut acting, approved.what, &names, approved.lines).await
    }

    /// What waits for a second person.
    pub async fn waiting(&self) -> Vec<Waiting> {
        let now = self.gateway().now();
        let mut acting = self.acting.lock().await;
        let waiting = acting.proposals.waiting(now).iter();
        waiting
            .map(|it| Waiting { id: it.id.clone(), lines: it.lines.clone(), until: it.until })
            .collect()
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
        let (old, new) = (gateway.trust.revocation_lists(), trust.revocation_lists());
        if old != new {
            let details = Details::new()
                .with("part", "revocation lists")
                .with("old", old.to_string())
                .with("new", new.to_string());
            self.note(Act::Config, &details, None).await?;
            self.gateway.store(Arc::new(gateway.with_trust(trust)));
        }
        Ok(())
    }

    async fn want(
        &self,
        mut acting: MutexGuard<'_, Acting>,
        wanted: Wanted,
        lines: Vec<String>,
        needs_two_people: bool,
        by: &Person,
    ) -> Result<Said, ActFault> {
        let gateway = self.gateway();
        if !needs_two_people || !gateway.settings.admin.two_people {
            return self.perform(&mut acting, wanted, &by.name, lines).await;
        }
        let proposal = acting.proposals.add(wanted, lines, by.clone(), gateway.now());
        let text = format!(
            "a second person must approve it within 15 minutes, and one of the two must have the \
             role security: `jumpgate approve` with the number {}",
            proposal.id
        );
        Ok(Said { is_done: false, text, lines: proposal.lines.clone() })
    }

    async fn perform(
        &self,
        acting: &mut Acting,
        wanted: Wanted,
        names: &str,
        lines: Vec<String>,
    ) -> Result<Said, ActFault> {
        let text = match wanted {
            Wanted::Revive(id) => self.switch_on(acting, &id, names).await?,
            Wanted::Reload(reload) => self.put_in_force(acting, *reload, names).await?,
        };
        Ok(Said { is_done: true, text: text.to_owned(), lines })
    }

    async fn switch_on(
        &self,
        acting: &mut Acting,
        id: &DepartmentId,
        names: &str,
    ) -> Result<&'static str, ActFault> {
        self.note(Act::Config, &switched(id, true), Some(names)).await?;
        acting.state.switch(id, true).map_err(conflict)?;
        let changed = self.gateway().admission.revive(id).map_err(unknown)?;
        Ok(if changed { "done" } else { "it was so already" })
    }

    async fn put_in_force(
        &self,
        acting: &mut Acting,
        reload: Reload,
        names: &str,
    ) -> Result<&'static str, ActFault> {
        let Reload { mut candidate, changes, edition } = reload;
        let current = self.gateway();
        if current.edition != edition {
            return Err(conflict("another reload came into force meanwhile; propose it again"));
        }
        acting.state.check_rules(candidate.plan.policy()).map_err(conflict)?;
        // The lists may be newer than when it was proposed.
        candidate.trust = candidate.trust.after(&current.trust).map_err(conflict)?;
        acting.state.keep_rules(candidate.plan.policy()).map_err(conflict)?;
        for (act, details) in &changes.entries {
            self.note(*act, details, Some(names)).await?;
        }
        let next = current.succeed(candidate);
        switch_off_what_is_off(&next, &acting.state);
        self.gateway.store(Arc::new(next));
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
            ActFault::Log
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

/// By an act, or by the configuration.
fn switch_off_what_is_off(gateway: &Gateway, state: &State) {
    let by_configuration = gateway.settings.departments().filter(|(_, it)| it.switched_off);
    let off = by_configuration.map(|(id, _)| id).chain(state.switched_off());
    // One that was switched off may be configured no more.
    off.for_each(|id| drop(gateway.admission.kill(&id)));
}

fn first(
    candidate: Candidate,
    digests: Digests,
    log: QueryLog,
    replays: Arc<Replays>,
    civil_time_zone: jiff::tz::TimeZone,
    now: Now,
) -> Gateway {
    let civil_now = {
        let (now, zone) = (now.clone(), civil_time_zone.clone());
        Arc::new(move || now().to_zoned(zone.clone()))
    };
    let telemetry = Arc::new(Telemetry::default());
    let adapters = adapter_digests(&candidate.departments);
    Gateway {
        record: Record::new(log, digests, adapters, telemetry.clone()),
        catalogue: Arc::new(candidate.catalogue),
        admission: Arc::new(Admission::new(candidate.plan, DefaultClock::default(), civil_now)),
        trust: Arc::new(candidate.trust),
        telemetry,
        drain: Drain::default(),
        settings: Arc::new(candidate.settings),
        config_digest: candidate.digest,
        departments: Arc::new(candidate.departments),
        edition: 0,
        digests,
        replays,
        civil_time_zone,
        now,
        random: SystemRandom::new(),
    }
}

fn open_log(
    settings: &Settings,
    start: StartDetails,
    now: &Now,
) -> Result<(QueryLog, Arc<Replays>), StartFault> {
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
    Ok((log_open, replays))
}
