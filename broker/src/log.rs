//! The core's notes as log lines, with fields.

use fractally_broker_core::{Ending, Note};
use tracing::{error, info, warn};

/// info = lifecycle, warn = recovered, error = a promise that was not kept.
pub(crate) fn note(note: Note) {
    match note {
        Note::ClientJoined { client, agent } => info!(client = client.0, agent, "client joined"),
        Note::ClientGone { client, why } => info!(client = client.0, %why, "client gone"),
        Note::WorkerJoined { worker, name, engine, threads } => info!(worker = worker.0, name, engine, threads, "worker joined"),
        Note::WorkerGone { worker, why, bands } => info!(worker = worker.0, %why, bands, "worker gone"),
        Note::JobAccepted { job, client, strips, have } => info!(%job, client = client.0, strips, have, "job accepted"),
        Note::JobAttached { job, client, have } => info!(%job, client = client.0, have, "job attached"),
        Note::JobAdrift { job } => warn!(%job, "job waits for its client"),
        Note::JobEnded { job, ending } => match ending {
            Ending::Done => info!(%job, "job done"),
            Ending::Cancelled(why) => info!(%job, why, "job cancelled"),
            Ending::Failed(reason) => error!(%job, reason, "job failed"),
        },
        Note::BandRequeued { job, band, worker, attempt, why, blamed } => {
            let (first, strips, worker) = (band.first, band.strips, worker.0);
            warn!(%job, first, strips, worker, %attempt, %why, blamed, "band requeued");
        }
    }
}
