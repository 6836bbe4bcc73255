//! Detached jobs: those that are kept in a journal, and live without a client.

use fractally_proto::{Attach, Failed, JobList, Keep, Message, Refusal, RefusalCode, Refused};

use crate::{ClientId, Core, Effect};

impl Core {
    /// KEEP: a job that outlives its client and this broker.
    pub(crate) fn on_keep(&mut self, from: ClientId, keep: &Keep, out: &mut Vec<Effect>) {
        let message =
            "this broker keeps no journal, so a job needs its client; render it attached, or start the broker with --state";
        let refusal = Refusal::new(RefusalCode::Invalid, "journal", message);
        out.push(Effect::ToClient(from, Message::Refused(Refused { key: keep.key, refusal })));
    }

    /// ATTACH: somebody wants the strips of a detached job.
    pub(crate) fn on_attach(&mut self, from: ClientId, attach: &Attach, out: &mut Vec<Effect>) {
        let reason = format!("the broker has no detached job {}", attach.job);
        out.push(Effect::ToClient(from, Message::Failed(Failed { job: attach.job, reason })));
    }

    pub(crate) fn on_list_query(&mut self, from: ClientId, out: &mut Vec<Effect>) {
        out.push(Effect::ToClient(from, Message::ListReport(JobList { jobs: Vec::new() }.encode())));
    }
}
