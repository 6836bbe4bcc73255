//! What went wrong lately, for who watches the broker: of each kind the latest few, each with who, and why.
//!
//! Bounded by kind, so that a client that is refused all day does not hide that workers die.

use std::{
    collections::{BTreeMap, VecDeque},
    time::Duration,
};

use fractally_proto::{Fault, FaultKind, JobId, JobKey, Message, Refusal, Refused, limits};

use crate::{ClientId, Core, Effect, millis};

/// Faults of one kind that are remembered.
const OF_A_KIND_MAX: usize = 8;

/// The latest of each kind, the earliest first.
#[derive(Debug, Default)]
pub(crate) struct Faults(BTreeMap<FaultKind, VecDeque<Remembered>>);

#[derive(Debug)]
struct Remembered {
    at: Duration,
    who: String,
    job: Option<JobId>,
    why: String,
}

impl Faults {
    pub(crate) fn remember(&mut self, at: Duration, kind: FaultKind, who: &str, job: Option<JobId>, why: &str) {
        let of_a_kind = self.0.entry(kind).or_default();
        if of_a_kind.len() == OF_A_KIND_MAX {
            of_a_kind.pop_front();
        }
        of_a_kind.push_back(Remembered { at, who: clipped(who), job, why: clipped(why) });
    }

    /// The latest first.
    pub(crate) fn report(&self, now: Duration) -> Vec<Fault> {
        let all = self.0.iter().flat_map(|(&kind, of_a_kind)| of_a_kind.iter().map(move |fault| (kind, fault)));
        let told = |(kind, Remembered { at, who, job, why }): (_, &Remembered)| {
            let ago_ms = millis(now.saturating_sub(*at));
            Fault { ago_ms, kind, who: who.clone(), job: *job, why: why.clone() }
        };
        let mut faults: Vec<_> = all.map(told).collect();
        faults.sort_by_key(|fault| fault.ago_ms);
        faults
    }
}

impl Core {
    /// A client's request is not taken: it is told, and so is who watches.
    pub(crate) fn refuse(&mut self, now: Duration, client: ClientId, key: JobKey, refusal: Refusal, out: &mut Vec<Effect>) {
        self.tally.refused += 1;
        let account = self.clients.get(&client).map_or("", |client| client.account.as_str());
        self.faults.remember(now, FaultKind::Refused, account, None, &refusal.to_string());
        out.push(Effect::ToClient(client, Message::Refused(Refused { key, refusal })));
    }
}

/// A text, cut at the limit for texts.
pub(crate) fn clipped(text: &str) -> String {
    text[..text.floor_char_boundary(limits::TEXT_BYTES_MAX)].to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_flood_of_one_kind_hides_no_other() {
        let mut faults = Faults::default();
        let at = Duration::from_secs;
        faults.remember(at(1), FaultKind::WorkerLost, "w", Some(JobId(3)), "silent");
        (2..1000).for_each(|n| faults.remember(at(n), FaultKind::Refused, "a", None, &"é".repeat(200)));
        let told = faults.report(at(1000));
        assert_eq!(told.len(), OF_A_KIND_MAX + 1);
        assert_eq!((told[0].ago_ms, told[0].kind, told[0].why.len()), (1000, FaultKind::Refused, limits::TEXT_BYTES_MAX));
        let lost = told.last().expect("there are some");
        assert_eq!((lost.kind, lost.who.as_str(), lost.job, lost.ago_ms), (FaultKind::WorkerLost, "w", Some(JobId(3)), 999_000));
    }
}
