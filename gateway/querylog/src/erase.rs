//! A subject's erasure: his row in the handle table is emptied, and what he was told to be by exact
//! answers is kept under a key.
//!
//! Owns the order: the tombstones and the entry are durable before the row is empty, so that
//! whoever repeats an erasure that was cut off repeats all of it.

use crate::LogUnavailable;
use crate::disk::DiskFault;
use crate::entry::Details;
use crate::handles::{self, HANDLES_FILE, KeptDays};
use crate::kind::Act;
use crate::log::QueryLog;
use crate::queue::locked;
use crate::ticket::{Recorded, SubjectRef};

/// What stays known of an erased subject: the days, since 1 January 1970, from one to before
/// another, among which his date is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct KeptInterval {
    /// The attribute, as releases name it.
    pub attribute: String,
    /// The first day.
    pub from: i32,
    /// The day after the last one.
    pub until: i32,
}

/// A subject is not erased.
#[derive(Debug, thiserror::Error)]
pub enum NotErased {
    /// The entry cannot be written.
    #[error(transparent)]
    Unavailable(#[from] LogUnavailable),
    /// The entry is written and nobody knows whether the row stands: the log has stopped.
    #[error("the subject's row cannot be emptied: mend the disk, start again and erase once more")]
    Disk(#[from] DiskFault),
    /// Emptying the row panicked: the log has stopped.
    #[error("emptying the subject's row panicked: start again and erase once more")]
    Panicked,
}

impl QueryLog {
    /// The number of a subject, if the log knows him. It never adds one.
    pub fn known_subject(&self, subject: &SubjectRef<'_>) -> Option<u64> {
        let shared = self.shared();
        let token = shared.cipher.token(subject.kind.as_str(), subject.identifier);
        locked(&shared.handles).find(&token).map(|row| row.row)
    }

    /// True if the subject of that number is there: not erased.
    pub fn has_subject(&self, number: u64) -> bool {
        locked(&self.shared().handles).handle(number).is_some()
    }

    /// A short name of a subject for two people who talk about him: eight hexadecimal digits of a
    /// keyed token.
    pub fn subject_tag(&self, subject: &SubjectRef<'_>) -> String {
        let token = self.shared().cipher.token(subject.kind.as_str(), subject.identifier);
        hex::encode(&token[..4])
    }

    /// What is kept of an erased subject's attribute; none if there is no tombstone.
    pub fn kept_interval(&self, subject: &SubjectRef<'_>, attribute: &str) -> Option<KeptInterval> {
        let shared = self.shared();
        if !locked(&shared.handles).has_tombstones() {
            return None;
        }
        let token = shared.cipher.token(subject.kind.as_str(), subject.identifier);
        let token = shared.cipher.tombstone_token(&token, attribute);
        let (from, until) = locked(&shared.handles).tombstone(&token)?;
        Some(KeptInterval { attribute: attribute.to_owned(), from, until })
    }

    /// Erases a subject: his sealed fields cannot be read from then on, here and wherever else the
    /// handle table is not. What `keep` has is found again by whoever has his identifier and the
    /// disclosure key. None if the log does not know him.
    ///
    /// # Errors
    /// He is not erased; repeat it.
    pub async fn erase(
        &self,
        subject: &SubjectRef<'_>,
        keep: &[KeptInterval],
        by: &str,
    ) -> Result<Option<Recorded>, NotErased> {
        let shared = self.shared();
        let token = shared.cipher.token(subject.kind.as_str(), subject.identifier);
        let Some(known) = locked(&shared.handles).find(&token) else { return Ok(None) };
        self.bury(subject, keep)?;
        // The rows that wait are durable before the entry is, and so is the subject's own.
        let details = Details::new().with(WHAT, "subject");
        let recorded = self.act_by(Act::Erase, &details, Some(by)).await?;
        let (disk, dir) = shared.finder.place();
        let (disk, path) = (disk.clone(), dir.join(HANDLES_FILE));
        let empty = move || handles::empty(&disk.open_write(&path)?, known.row);
        let emptied = tokio::task::spawn_blocking(empty).await;
        let emptied = emptied.map_err(|_| NotErased::Panicked).and_then(|it| Ok(it?));
        if let Err(fault) = &emptied {
            // Nobody knows what is in the file: no entry may depend on the row any more.
            shared.queue.poison(&fault.to_string().into());
        }
        emptied?;
        locked(&shared.handles).erase(&token);
        Ok(Some(recorded))
    }

    /// Keeps intervals in tombstones, durable with the next entry.
    fn bury(&self, subject: &SubjectRef<'_>, keep: &[KeptInterval]) -> Result<(), LogUnavailable> {
        let shared = self.shared();
        let token = shared.cipher.token(subject.kind.as_str(), subject.identifier);
        let max = shared.options.handles_max;
        for KeptInterval { attribute, from, until } in keep {
            let token = shared.cipher.tombstone_token(&token, attribute);
            let kept: KeptDays = (*from, *until);
            let drawn = shared.cipher.draw_tombstone(token, kept);
            let drawn = drawn.map_err(|_| LogUnavailable::NoRandomness)?;
            if !locked(&shared.handles).bury(&drawn, max) {
                return Err(LogUnavailable::HandlesFull { max });
            }
        }
        Ok(())
    }

    /// Puts on record that a department has corrected a subject's record, so that nothing is known
    /// any more of an attribute: neither what was released nor what a tombstone keeps.
    ///
    /// # Errors
    /// The entry cannot be written.
    pub async fn rectified(
        &self,
        subject: &SubjectRef<'_>,
        department: &str,
        attribute: &str,
        by: &str,
    ) -> Result<Recorded, LogUnavailable> {
        let details = Details::new()
            .with(WHAT, RECTIFIED)
            .with("department", department.to_owned())
            .with(ATTRIBUTE, attribute.to_owned());
        let recorded = self.act_about(Act::Declare, &details, by, subject).await?;
        // A tombstone that is lost with the next batch is only too strict.
        if let Some(kept) = self.kept_interval(subject, attribute) {
            self.bury(subject, &[KeptInterval { from: i32::MIN, until: i32::MAX, ..kept }])?;
        }
        Ok(recorded)
    }
}

/// The attribute of which an entry says that the record was corrected.
pub(crate) fn rectified_attribute<'a>(details: &'a Details<'_>) -> Option<&'a str> {
    details.find(WHAT).filter(|what| *what == RECTIFIED)?;
    details.find(ATTRIBUTE)
}

const WHAT: &str = "what";
const RECTIFIED: &str = "rectified";
const ATTRIBUTE: &str = "attribute";

#[cfg(test)]
mod tests;
