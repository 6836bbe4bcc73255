//! The shell's part: it feeds the core, holds payloads, and sees that effects are what they may be.

use std::{
    collections::{BTreeMap, VecDeque},
    time::Duration,
};

use fractally_proto::{Accepted, Cancel, JobId, Message, StripMeta};

use super::world::{Peer, ToBroker, ToPeer, World};
use crate::{ClientId, ClientSays, Core, Effect, KeptEnding, PayloadId, ToJournal, WorkerId, WorkerSays, kept::UNWANTED};

impl World {
    pub(super) fn broker_receives(&mut self, link: usize, says: ToBroker) {
        if self.now >= self.links[link].broken_at || self.links[link].broker_done {
            return;
        }
        let id = link as u64;
        match says {
            ToBroker::Client(says) => {
                if let ClientSays::Ack(ack) = says
                    && let Some(under_way) = self.under_way.get_mut(&(link, ack.job))
                {
                    under_way.retain(|&(end, _)| end > ack.have);
                }
                let withdrawn = match &says {
                    ClientSays::Cancel(Cancel { job, holder: Some(holder) }) => Some((*job, holder.clone())),
                    _ => None,
                };
                self.effect(|core, now, out| core.on_client(now, ClientId(id), says, out));
                if let Some((job, holder)) = withdrawn {
                    let kept = self.core.kept.jobs.get(&job);
                    assert!(!kept.is_some_and(|kept| kept.holders.has(&holder)), "job {job} is held by {holder}, who withdrew");
                }
            }
            ToBroker::Worker(says) => self.effect(|core, now, out| core.on_worker(now, WorkerId(id), says, out)),
            ToBroker::Tile(tile, content) => {
                self.payloads_ever += 1;
                let payload = PayloadId(self.payloads_ever);
                let bytes = content.strips.iter().map(|strip| u64::from(strip.encoded_len())).sum();
                let fenced = self.core.workers.get(&WorkerId(id)).and_then(|worker| worker.leases.get(&tile.attempt));
                self.tally.stale_tiles += u64::from(fenced.is_some_and(|held| held.fenced));
                self.payloads.insert(payload, content);
                self.effect(|core, now, out| core.on_worker(now, WorkerId(id), WorkerSays::Tile { tile, payload, bytes }, out));
            }
        }
    }

    pub(super) fn effect(&mut self, event: impl FnOnce(&mut Core, Duration, &mut Vec<Effect>)) {
        let mut out = std::mem::take(&mut self.out);
        event(&mut self.core, self.now, &mut out);
        for effect in out.drain(..) {
            self.carry_out(effect);
        }
        self.out = out;
    }

    pub(super) fn link_of(&self, id: u64) -> usize {
        let link = usize::try_from(id).expect("links are few");
        assert!(!self.links[link].broker_done, "the core speaks to {:?}, which is gone", self.links[link].peer);
        link
    }

    pub(super) fn carry_out(&mut self, effect: Effect) {
        match effect {
            Effect::ToClient(ClientId(id), message) | Effect::ToWorker(WorkerId(id), message) => {
                let link = self.link_of(id);
                match &message {
                    // A SUBMIT starts the count anew.
                    Message::Accepted(accepted) => {
                        self.check_hold(link, accepted);
                        self.under_way.insert((link, accepted.job), VecDeque::new());
                        self.told.remove(&(link, accepted.job));
                    }
                    Message::Attached(attached) => {
                        self.under_way.insert((link, attached.job), VecDeque::new());
                        self.told.remove(&(link, attached.job));
                    }
                    Message::Progress(progress) => self.check_pace(link, progress.job),
                    _ => {}
                }
                self.send_to_peer(link, ToPeer::Message(message));
            }
            Effect::Deliver { client, job, engine, first, strips, payload, bytes } => {
                let link = self.link_of(client.0);
                let content = self.payloads.get(&payload).expect("a payload is delivered that is not held");
                let origin = (content.picture, content.engine);
                let skip = (first - content.first) as usize;
                let sum = |strips: &[StripMeta]| strips.iter().map(|strip| strip.encoded_len() as usize).sum::<usize>();
                assert_eq!(strips, content.strips[skip..skip + strips.len()], "strips of the slice");
                let start = sum(&content.strips[..skip]);
                assert_eq!(bytes, start..start + sum(&strips), "bytes of the slice");
                let count = u32::try_from(strips.len()).expect("few strips");
                self.check_window(link, job, (first + count, bytes.len() as u64));
                self.send_to_peer(link, ToPeer::Strips { job, engine, first, count, content: origin });
            }
            Effect::Release(payload) => {
                assert!(self.payloads.remove(&payload).is_some(), "payload {payload} is released twice");
            }
            Effect::DropClient(ClientId(id)) | Effect::DropWorker(WorkerId(id)) => {
                let link = self.link_of(id);
                self.send_to_peer(link, ToPeer::Closed);
                self.links[link].broker_done = true;
            }
            Effect::ToJournal(order) => {
                if let ToJournal::End { end, .. } = &order {
                    self.tally.unwanted += u64::from(end.ending == KeptEnding::Cancelled(UNWANTED.to_owned()));
                }
                self.order_journal(order);
            }
            Effect::Note(_) => {}
        }
    }

    /// Who is told that a job is there holds it.
    fn check_hold(&self, link: usize, accepted: &Accepted) {
        let Peer::Client(client) = self.links[link].peer else { panic!("ACCEPTED for a worker") };
        let job = self.clients[client].jobs.iter().find(|job| job.plan.key == accepted.key && job.plan.is_kept);
        if let Some(holder) = job.and_then(|job| job.plan.holder.as_ref()) {
            let kept = self.core.kept.jobs.get(&accepted.job);
            assert!(kept.is_some_and(|kept| kept.holders.has(holder)), "job {} is not held by {holder}", accepted.job);
        }
    }

    /// No more than the client's window and 64 messages are under way.
    pub(super) fn check_window(&mut self, link: usize, id: JobId, sent: (u32, u64)) {
        let under_way = self.under_way.get_mut(&(link, id)).expect("strips before ACCEPTED");
        under_way.push_back(sent);
        let bytes: u64 = under_way.iter().map(|(_, bytes)| bytes).sum();
        let Peer::Client(client) = self.links[link].peer else { panic!("strips for a worker") };
        let key = self.core.jobs.get(&id).map(|job| job.key);
        // A job that ended in the same step has nothing under way that counts.
        let of = |job: &&super::client::Job| Some(job.plan.key) == key || job.kept == Some(id);
        let Some(job) = self.clients[client].jobs.iter().find(of) else { return };
        assert!(bytes <= job.plan.window_bytes, "job {id}: {bytes} bytes under way, the window is {}", job.plan.window_bytes);
        assert!(under_way.len() <= 64, "job {id}: {} messages under way", under_way.len());
    }

    pub(super) fn check_pace(&mut self, link: usize, job: JobId) {
        let every = self.core.config.progress_every;
        let before = self.told.insert((link, job), self.now);
        assert!(before.is_none_or(|before| self.now >= before + every), "job {job}: PROGRESS comes too often");
    }

    /// What is held for one picture is bounded, whatever its client does.
    pub(super) fn check_held(&self) {
        let mut bounds = BTreeMap::<u64, u64>::new();
        for job in self.core.jobs.values() {
            let reorder = job.reorder_bytes;
            let max = reorder.max(crate::job::Job::window_max(&job.layout, reorder)) + 2 * job.band_bytes_max();
            *bounds.entry(job.request.c[0].to_bits()).or_default() += max;
        }
        for (picture, max) in bounds {
            let tiles = self.payloads.values().filter(|content| content.picture == picture);
            let held: u64 = tiles.map(|content| crate::job::bytes_of(&content.strips)).sum();
            assert!(held <= max, "{held} bytes held for one picture, of which {max} may be");
        }
    }
}
