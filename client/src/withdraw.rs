//! A holder of a detached job wants it no longer.

use fractally_proto::{Cancel, ContentId, Holder, JobId, JobList, JobState, ListQuery, ListedJob, Message, limits};
use fractally_transport::LinkError;
use tracing::debug;

use crate::{
    detached::is_over,
    question::{Question, over},
    session::{ANSWER_WITHIN, Broker, LOOK_AGAIN, Session, SessionError},
};

/// What came of a holder's CANCEL.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Withdrawn {
    /// Nobody else wanted the job: it has ended, and that is on disk.
    Ended,
    /// The holder is none of the job's any more, or never was; others hold it or follow it.
    HeldByOthers,
    /// The job was over before, or came to its end meanwhile.
    Over,
    /// The broker knows of no such detached job.
    Unknown,
}

/// Withdraws `holder` from a detached job, which ends if nobody else wants it; returns when that is on the broker's disk. With `content`,
/// what the job draws, the broker need not tell of all its jobs.
///
/// # Errors
/// [`SessionError`] when the broker does not answer; the holder may be withdrawn all the same.
pub async fn withdraw(
    broker: &Broker,
    job: JobId,
    holder: &Holder,
    content: Option<ContentId>,
) -> Result<Withdrawn, SessionError> {
    let query = Message::ListQuery(ListQuery { contents: content.map(|content| vec![content]) });
    let cancel = Message::Cancel(Cancel { job, holder: Some(holder.clone()) });
    over(broker, ANSWER_WITHIN, Withdrawal { job, query, cancel }).await
}

struct Withdrawal {
    job: JobId,
    query: Message,
    cancel: Message,
}

impl Question for Withdrawal {
    type Answer = Withdrawn;

    async fn ask(&mut self, session: &mut Session) -> Result<Withdrawn, SessionError> {
        // To this CANCEL there may be no answer; what it did is seen between two lists.
        for message in [&self.query, &self.cancel, &self.query] {
            session.send(message).await?;
        }
        let before = next_list(session, self.job).await?;
        loop {
            let now = next_list(session, self.job).await?;
            if let Some(withdrawn) = judge(before, now) {
                if withdrawn != Withdrawn::Ended {
                    session.settle(self.job);
                }
                return Ok(withdrawn);
            }
            // It is ending. FAILED tells when that is on disk, and so does the list.
            await_end(session, self.job).await?;
            session.send(&self.query).await?;
        }
    }
}

/// How a list tells of a job.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Standing {
    /// It is not there.
    Absent,
    /// It is not there, but the list is full.
    Untold,
    /// It lives, and somebody holds or follows it.
    Wanted,
    /// It lives, and nobody holds or follows it.
    Unwanted,
    /// It is over: whether with a picture.
    Over(bool),
}

impl Standing {
    fn of(job: JobId, list: &[ListedJob]) -> Self {
        match list.iter().find(|listed| listed.job == job) {
            Some(listed) if is_over(listed.state) => Self::Over(listed.state == JobState::Done),
            Some(listed) if listed.holders == 0 && listed.followers == 0 => Self::Unwanted,
            Some(_) => Self::Wanted,
            None if list.len() >= limits::LIST_JOBS_MAX => Self::Untold,
            None => Self::Absent,
        }
    }
}

/// What came of the CANCEL between two lists; nothing where that is still to be seen.
fn judge(before: Standing, now: Standing) -> Option<Withdrawn> {
    match (before, now) {
        (Standing::Over(_), _) | (_, Standing::Over(true)) => Some(Withdrawn::Over),
        (Standing::Absent, _) => Some(Withdrawn::Unknown),
        (_, Standing::Over(false) | Standing::Absent) => Some(Withdrawn::Ended),
        (_, Standing::Wanted) => Some(Withdrawn::HeldByOthers),
        (_, Standing::Unwanted | Standing::Untold) => None,
    }
}

async fn next_list(session: &mut Session, job: JobId) -> Result<Standing, SessionError> {
    loop {
        match session.next().await? {
            Message::ListReport(payload) => {
                let list = JobList::decode(&payload).map_err(LinkError::Malformed)?;
                return Ok(Standing::of(job, &list.jobs));
            }
            other => debug!(message = other.name(), "passed over"),
        }
    }
}

/// Waits for FAILED, for a while.
async fn await_end(session: &mut Session, job: JobId) -> Result<(), SessionError> {
    let end = async {
        loop {
            match session.next().await? {
                Message::Failed(failed) if failed.job == job => return Ok(()),
                other => debug!(message = other.name(), "passed over"),
            }
        }
    };
    tokio::time::timeout(LOOK_AGAIN, end).await.unwrap_or(Ok(()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_became_of_a_job_is_told_by_the_lists_before_and_after() {
        use Standing::{Absent, Over, Untold, Unwanted, Wanted};
        for (before, now, told) in [
            (Wanted, Over(false), Some(Withdrawn::Ended)),
            (Wanted, Absent, Some(Withdrawn::Ended)),
            (Wanted, Unwanted, None),
            (Wanted, Wanted, Some(Withdrawn::HeldByOthers)),
            (Wanted, Over(true), Some(Withdrawn::Over)),
            (Unwanted, Over(false), Some(Withdrawn::Ended)),
            (Over(true), Over(true), Some(Withdrawn::Over)),
            (Over(false), Over(false), Some(Withdrawn::Over)),
            (Over(false), Absent, Some(Withdrawn::Over)),
            (Absent, Absent, Some(Withdrawn::Unknown)),
            (Untold, Untold, None),
            (Untold, Over(false), Some(Withdrawn::Ended)),
        ] {
            assert_eq!(judge(before, now), told, "{before:?} and then {now:?}");
        }
    }
}
