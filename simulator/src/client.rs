//! The client: submits, takes strips in row order, acknowledges them as the real one does.

use fractally_broker_core::ClientSays;
use fractally_proto::{Ack, Epoch, Hello, JobId, JobKey, Message, Priority, StripMeta, Submit};

use crate::{
    Error, ns,
    world::{Happening, ToBroker, ToClient, World},
};

/// Bytes of strips that it takes without having acknowledged them.
const WINDOW_BYTES: u64 = 16 << 20;
/// It acknowledges after so many bytes,
const ACK_BYTES: u64 = WINDOW_BYTES / 16;
/// or so long after it last did, nanoseconds. It looks at this when strips come, and has no timer.
const ACK_EVERY: u64 = 50_000_000;

#[derive(Debug, Default)]
pub(crate) struct Client {
    /// Jobs submitted so far.
    jobs: usize,
    job: Option<JobId>,
    pub(crate) submitted_at: u64,
    /// When it last heard of a strip, or submitted.
    pub(crate) heard_at: u64,
    have: u32,
    unsaid_bytes: u64,
    unsaid_messages: u32,
    said_at: u64,
    /// When its connection has carried what was sent so far.
    link_free_at: u64,
}

impl Client {
    /// Which of the jobs it waits for.
    pub(crate) fn work(&self) -> Option<usize> {
        self.jobs.checked_sub(1)
    }

    pub(crate) fn have(&self) -> u32 {
        self.have
    }
}

impl World<'_> {
    pub(crate) fn client_connects(&mut self) {
        let hello = Hello { agent: "simulator".to_owned(), epoch: Epoch(1), account: None, worker: None };
        self.send_to_broker(ToBroker::Client(ClientSays::Hello(hello)));
        self.after(1_000_000_000, Happening::ClientBeat);
    }

    pub(crate) fn client_beats(&mut self) {
        self.send_to_broker(ToBroker::Client(ClientSays::Heartbeat));
        self.after(1_000_000_000, Happening::ClientBeat);
    }

    pub(crate) fn client_submits(&mut self) {
        let index = self.client.jobs;
        let work = &self.works[index];
        let submit = Submit {
            key: JobKey([u8::try_from(index).unwrap_or(u8::MAX); 16]),
            priority: Priority::Interactive,
            have: 0,
            engine: None,
            window_bytes: WINDOW_BYTES.max(work.layout.strip_len_max()),
            request_id: None,
            request: work.request,
        };
        let link_free_at = self.client.link_free_at;
        (self.client, self.client.link_free_at) =
            (Client { jobs: index + 1, submitted_at: self.now, heard_at: self.now, ..Client::default() }, link_free_at);
        if self.client.jobs == self.works.len() {
            self.begin_to_count();
        }
        self.send_to_broker(ToBroker::Client(ClientSays::Submit(Box::new(submit))));
    }

    /// When the client's connection has carried `bytes` more, which are sent after `wait`.
    pub(crate) fn client_link_is_free(&mut self, wait: u64, bytes: usize) -> u64 {
        let takes = self.scenario.client_bytes_per_s.map_or(0, |rate| ns(bytes as f64 / rate));
        self.client.link_free_at = (self.now + wait).max(self.client.link_free_at) + takes;
        self.client.link_free_at
    }

    pub(crate) fn client_hears(&mut self, message: ToClient) {
        match message {
            ToClient::Strips { first, strips } => self.client_takes(first, &strips),
            ToClient::Says(Message::Accepted(accepted)) => self.client.job = Some(accepted.job),
            ToClient::Says(Message::Refused(refused)) => self.ends(Err(Error::Refused(refused.refusal.to_string()))),
            ToClient::Says(Message::Failed(failed)) => {
                let seconds = self.seconds_of_job();
                self.ends(Err(Error::Failed { seconds, reason: failed.reason }));
            }
            ToClient::Says(Message::Done(_)) => self.client_is_done(),
            ToClient::Says(_) => {}
            ToClient::Dropped => self.ends(Err(Error::Refused("it ended the client's connection".to_owned()))),
        }
    }

    fn client_takes(&mut self, first: u32, strips: &[StripMeta]) {
        if first != self.client.have || self.client.work().is_none() {
            let have = self.client.have;
            return self.ends(Err(Error::RowsLost(format!("strip {first} came where {have} was expected"))));
        }
        for (meta, strip) in strips.iter().zip(first..) {
            // The checksum of a simulated strip is its number.
            if meta.adler32() != strip {
                let message = format!("strip {} came in place of strip {strip}", meta.adler32());
                return self.ends(Err(Error::RowsLost(message)));
            }
            self.client.unsaid_bytes += u64::from(meta.encoded_len());
            self.client.have += 1;
        }
        self.client.heard_at = self.now;
        self.tally.first_strip.get_or_insert(self.now);
        let strips_all = self.client.work().map_or(0, |work| self.works[work].layout.strips());
        let is_last = self.client.have == strips_all;
        self.client.unsaid_messages += 1;
        let is_late = self.now >= self.client.said_at.saturating_add(ACK_EVERY);
        let are_many = self.scenario.ack_messages.is_some_and(|max| self.client.unsaid_messages >= max);
        if is_last || is_late || are_many || self.client.unsaid_bytes >= ACK_BYTES {
            self.client_acknowledges();
        }
    }

    fn client_acknowledges(&mut self) {
        let Some(job) = self.client.job else { return };
        (self.client.said_at, self.client.unsaid_bytes, self.client.unsaid_messages) = (self.now, 0, 0);
        self.send_to_broker(ToBroker::Client(ClientSays::Ack(Ack { job, have: self.client.have })));
    }

    fn client_is_done(&mut self) {
        let strips_all = self.client.work().map_or(0, |work| self.works[work].layout.strips());
        if self.client.have != strips_all {
            let message = format!("the job is done after {} of {strips_all} strips", self.client.have);
            return self.ends(Err(Error::RowsLost(message)));
        }
        if self.client.jobs == self.works.len() {
            self.ends(Ok(()));
        } else {
            self.after(self.latency, Happening::Submit);
        }
    }

    fn ends(&mut self, result: Result<(), Error>) {
        #[cfg(test)]
        self.broker.check();
        self.result.get_or_insert(result);
    }
}
