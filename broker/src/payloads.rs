//! Bytes of tiles that wait for a client, under the numbers by which the core knows them.

use std::{collections::HashMap, ops::Range};

use bytes::Bytes;
use fractally_broker_core::PayloadId;

/// Held payloads. How many and how large is bounded by what the core leases.
#[derive(Default)]
pub(crate) struct Payloads {
    held: HashMap<PayloadId, Bytes>,
    last: u64,
}

impl Payloads {
    /// Keeps `bytes` until they are released.
    pub(crate) fn hold(&mut self, bytes: Bytes) -> PayloadId {
        self.last += 1;
        let id = PayloadId(self.last);
        self.held.insert(id, bytes);
        id
    }

    /// Part of a held payload, without copying.
    pub(crate) fn slice(&self, id: PayloadId, range: Range<usize>) -> Bytes {
        self.held.get(&id).expect("the core names only payloads that it has not released").slice(range)
    }

    pub(crate) fn release(&mut self, id: PayloadId) {
        let held = self.held.remove(&id);
        debug_assert!(held.is_some(), "{id:?} was released twice");
    }
}
