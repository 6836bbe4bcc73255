//! The core's notes as log lines, with fields.

use fractally_broker_core::{Ending, Note, Why};
use fractally_proto::RequestId;
use tracing::{
    debug, error,
    field::{DisplayValue, display},
    info, warn,
};

/// info = lifecycle, warn = recovered, error = a promise that was not kept.
pub(crate) fn note(note: Note) {
    match note {
        Note::ClientJoined { client, agent } => info!(client = client.0, agent, "client joined"),
        Note::ClientGone { client, why } => info!(client = client.0, %why, "client gone"),
        Note::WorkerJoined { worker, name, engine, threads } => info!(worker = worker.0, name, engine, threads, "worker joined"),
        Note::WorkerGone { worker, why, bands } => info!(worker = worker.0, %why, bands, "worker gone"),
        Note::JobAccepted { job, client, strips, have, request_id } => {
            info!(%job, client = client.0, strips, have, request_id = shown(request_id), "job accepted");
        }
        Note::JobAttached { job, client, have, request_id } => {
            info!(%job, client = client.0, have, request_id = shown(request_id), "job attached");
        }
        Note::JobJoined { job, client, is_done, request_id } => {
            info!(%job, client = client.0, is_done, request_id = shown(request_id), "job joined");
        }
        Note::JobAdrift { job } => warn!(%job, "job waits for its client"),
        Note::JobEnded { job, ending, lasted: _, request_id } => match ending {
            Ending::Done => info!(%job, request_id = shown(request_id), "job done"),
            Ending::Cancelled(why) => info!(%job, why, request_id = shown(request_id), "job cancelled"),
            Ending::Failed(reason) => error!(%job, reason, request_id = shown(request_id), "job failed"),
        },
        Note::JobKept { job, account, strips, request_id } => {
            info!(%job, account, strips, request_id = shown(request_id), "job on disk");
        }
        Note::JobResumed { job, have, strips } => info!(%job, have, strips, "job goes on"),
        Note::JobDamaged { job, strip, what } => {
            warn!(%job, strip, what, "what is on disk is not what was written; the job goes on from there");
        }
        Note::JobForgotten { job, why } => info!(%job, why, "job forgotten"),
        Note::JournalTrouble(Some(trouble)) => error!(trouble, "the journal cannot be written; it is tried again"),
        Note::JournalTrouble(None) => info!("the journal can be written again"),
        Note::WorkerBenched { worker, lasts } => {
            warn!(worker = worker.0, seconds = lasts.as_secs(), "worker benched: it failed at one band after another");
        }
        Note::BandLeased { job, band, worker, attempt, is_backup, request_id } => {
            let (first, strips, worker) = (band.first, band.strips, worker.0);
            debug!(%job, first, strips, worker, %attempt, is_backup, request_id = shown(request_id), "band leased");
        }
        Note::BandRendered { job, band, worker, attempt, took, request_id } => {
            let (first, strips, worker, took_us) = (band.first, band.strips, worker.0, took.as_micros());
            debug!(%job, first, strips, worker, %attempt, took_us, request_id = shown(request_id), "band rendered");
        }
        Note::BandRequeued { job, band, worker, attempt, why, blamed, request_id } => {
            let (first, strips, worker) = (band.first, band.strips, worker.0);
            match why {
                // Asked back for somebody who has nothing to do, or is better: nothing went wrong.
                Why::GivenBack => {
                    debug!(%job, first, strips, worker, %attempt, %why, request_id = shown(request_id), "band requeued")
                }
                why => {
                    warn!(%job, first, strips, worker, %attempt, %why, blamed, request_id = shown(request_id), "band requeued")
                }
            }
        }
    }
}

/// A field where there is an id, and none where there is not.
fn shown(request_id: Option<RequestId>) -> Option<DisplayValue<RequestId>> {
    request_id.map(display)
}
