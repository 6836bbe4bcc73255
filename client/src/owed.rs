//! What a broker still owes a session: answers that were asked for and have not come.
//!
//! A session to which nothing is owed hears nothing more of what was asked over it, so somebody else may have it.

use fractally_proto::{JobId, JobKey, Message};

/// Questions of one session without an answer.
#[derive(Debug, Default)]
pub(crate) struct Owed {
    /// Reports of whatever kind.
    reports: u32,
    /// SUBMIT and KEEP without ACCEPTED or REFUSED, and whether strips follow.
    keys: Vec<(JobKey, bool)>,
    /// Jobs whose strips come or whose end is told. There is no word for leaving one but BYE.
    jobs: Vec<JobId>,
    /// One side has said BYE or ERROR: nothing is answered any more.
    is_over: bool,
}

impl Owed {
    /// Whether every question has its answer, and others may be asked.
    pub(crate) fn is_nothing(&self) -> bool {
        !self.is_over && self.reports == 0 && self.keys.is_empty() && self.jobs.is_empty()
    }

    /// The broker does not owe the end of a job any more, as something else that it said tells.
    pub(crate) fn settle(&mut self, job: JobId) {
        self.jobs.retain(|&owed| owed != job);
    }

    /// Something is said to the broker.
    pub(crate) fn on_said(&mut self, message: &Message) {
        match message {
            Message::Submit(submit) => self.keys.push((submit.key, true)),
            Message::Keep(keep) => self.keys.push((keep.key, false)),
            Message::Attach(attach) => self.owe(attach.job),
            Message::Cancel(cancel) => self.owe(cancel.job),
            Message::StatusQuery | Message::JobQuery(_) | Message::ListQuery(_) => self.reports += 1,
            Message::Bye(_) | Message::Error(_) => self.is_over = true,
            other => debug_assert!(
                matches!(other, Message::Hello(_) | Message::Heartbeat(_) | Message::Ack(_)),
                "{} is not a client's to say",
                other.name()
            ),
        }
    }

    /// The broker has said something.
    pub(crate) fn on_heard(&mut self, message: &Message) {
        match message {
            Message::Accepted(accepted) => {
                if self.answer(accepted.key) {
                    self.owe(accepted.job);
                }
            }
            Message::Refused(refused) => {
                self.answer(refused.key);
            }
            Message::Done(done) => self.settle(done.job),
            Message::Failed(failed) => self.settle(failed.job),
            Message::StatusReport(_) | Message::JobReport(_) | Message::ListReport(_) => {
                self.reports = self.reports.saturating_sub(1);
            }
            Message::Bye(_) | Message::ByeOk(_) | Message::Error(_) => self.is_over = true,
            // The rest of what a broker says answers nothing, and what it may not say at all is nobody's answer either.
            other => tracing::trace!(message = other.name(), "answers nothing"),
        }
    }

    fn owe(&mut self, job: JobId) {
        if !self.jobs.contains(&job) {
            self.jobs.push(job);
        }
    }

    /// Whether strips follow this answer.
    fn answer(&mut self, key: JobKey) -> bool {
        let Some(at) = self.keys.iter().position(|(asked, _)| *asked == key) else { return false };
        self.keys.remove(at).1
    }
}

#[cfg(test)]
mod tests {
    use fractally_proto::{
        Accepted, Attach, Bye, Cancel, Done, Failed, Keep, ListQuery, Priority, Refusal, RefusalCode, Refused, Request, Submit,
    };

    use super::*;

    const KEY: JobKey = JobKey([1; 16]);
    const JOB: JobId = JobId(7);

    fn submit() -> Message {
        let (priority, request) = (Priority::Normal, Request::default());
        Message::Submit(Submit { key: KEY, priority, have: 0, engine: None, window_bytes: 1, request_id: None, request })
    }

    fn keep() -> Message {
        let (priority, request) = (Priority::Normal, Request::default());
        Message::Keep(Keep { key: KEY, priority, holder: None, request_id: None, request })
    }

    fn accepted() -> Message {
        Message::Accepted(Accepted { key: KEY, job: JOB, strips: 1, rows_per_strip: 1, cached: false })
    }

    fn refused() -> Message {
        Message::Refused(Refused { key: KEY, refusal: Refusal::new(RefusalCode::Busy, "jobs", "too many") })
    }

    fn failed(job: JobId) -> Message {
        Message::Failed(Failed { job, reason: String::new() })
    }

    fn done() -> Message {
        let engine = String::new();
        Message::Done(Done { job: JOB, engine, iterations: 0, compute_ns: 0, elapsed_ms: 0, bands: 0, attempts: 0, workers: 0 })
    }

    fn attach() -> Message {
        Message::Attach(Attach { job: JOB, have: 0, engine: None, window_bytes: 1 })
    }

    /// Whether nothing is owed after each of these.
    fn after(said: &[Message], heard: &[Message]) -> Vec<bool> {
        let mut owed = Owed::default();
        said.iter().for_each(|message| owed.on_said(message));
        let then = heard.iter().map(|message| {
            owed.on_heard(message);
            owed.is_nothing()
        });
        then.collect()
    }

    #[test]
    fn a_job_that_is_followed_is_owed_until_its_end() {
        assert_eq!(after(&[submit()], &[accepted(), done()]), [false, true]);
        assert_eq!(after(&[submit()], &[accepted(), failed(JobId(8)), failed(JOB)]), [false, false, true]);
        assert_eq!(after(&[submit()], &[refused()]), [true]);
        assert_eq!(after(&[attach()], &[failed(JOB)]), [true]);
        assert_eq!(after(&[keep()], &[accepted()]), [true], "nobody follows it");
    }

    #[test]
    fn a_cancel_that_crosses_the_end_is_answered_by_it() {
        let cancel = Message::Cancel(Cancel { job: JOB, holder: None });
        assert_eq!(after(&[submit(), cancel], &[accepted(), done()]), [false, true]);
    }

    #[test]
    fn every_question_has_its_report() {
        let query = || Message::ListQuery(ListQuery::default());
        let report = || Message::ListReport(bytes::Bytes::new());
        assert_eq!(after(&[query(), query()], &[report(), report()]), [false, true]);
    }

    #[test]
    fn after_bye_nothing_is_clean() {
        let bye = Message::Bye(Bye { reason: String::new() });
        assert_eq!(after(&[Message::StatusQuery], &[Message::StatusReport(bytes::Bytes::new()), bye]), [true, false]);
    }
}
