//! How much may be under way to a peer that has not said it arrived. Pure: bytes and time are arguments.

use std::{collections::VecDeque, time::Duration};

use fractally_proto::limits;

/// A peer that acknowledged nothing for so long, while something was under way, is stuck.
const STALL: Duration = Duration::from_secs(10);

/// Messages sent on one connection in one direction, and how many of them the other side has seen.
#[derive(Debug, Default)]
pub struct SendWindow {
    seen: u64,
    /// Sizes of the messages that were sent and not yet seen, oldest first.
    unseen: VecDeque<usize>,
    unseen_bytes: u64,
    progress_at: Duration,
}

/// The peer says that it has seen more than was sent, or less than it said before.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Overrun;

impl SendWindow {
    /// Whether a message of `bytes` may be sent now. One message always may when nothing is under way.
    pub fn has_room(&self, bytes: usize) -> bool {
        self.unseen.is_empty()
            || (self.unseen.len() as u64) < limits::WINDOW_MESSAGES && self.unseen_bytes + bytes as u64 <= limits::WINDOW_BYTES
    }

    /// Messages under way.
    pub fn unseen(&self) -> usize {
        self.unseen.len()
    }

    /// A message of `bytes` was sent.
    pub fn on_sent(&mut self, now: Duration, bytes: usize) {
        if self.unseen.is_empty() {
            self.progress_at = now;
        }
        self.unseen.push_back(bytes);
        self.unseen_bytes += bytes as u64;
    }

    /// The peer has seen this many messages in all.
    ///
    /// # Errors
    /// [`Overrun`] when that cannot be: the peer is broken or hostile.
    pub fn on_seen(&mut self, now: Duration, seen: u64) -> Result<(), Overrun> {
        let fresh = seen.checked_sub(self.seen).and_then(|fresh| usize::try_from(fresh).ok()).ok_or(Overrun)?;
        if fresh > self.unseen.len() {
            return Err(Overrun);
        }
        if fresh > 0 {
            self.progress_at = now;
        }
        self.seen = seen;
        self.unseen_bytes -= self.unseen.drain(..fresh).map(|bytes| bytes as u64).sum::<u64>();
        Ok(())
    }

    /// Whether something is under way and nothing of it has arrived for 10 s.
    pub fn is_stalled(&self, now: Duration) -> bool {
        !self.unseen.is_empty() && now.saturating_sub(self.progress_at) >= STALL
    }
}

/// What was received on one connection, and when that must be said.
#[derive(Debug, Default)]
pub(crate) struct Received {
    pub(crate) messages: u64,
    unsaid_messages: u64,
    unsaid_bytes: u64,
}

impl Received {
    pub(crate) fn on_message(&mut self, bytes: usize) {
        self.messages += 1;
        self.unsaid_messages += 1;
        self.unsaid_bytes += bytes as u64;
    }

    /// Whether so much has arrived that the sender should hear of it before the next regular heartbeat.
    pub(crate) fn is_ack_due(&self) -> bool {
        self.unsaid_messages >= limits::ACK_EVERY_MESSAGES || self.unsaid_bytes >= limits::ACK_EVERY_BYTES
    }

    /// The count to put into a heartbeat that is sent now.
    pub(crate) fn say(&mut self) -> u64 {
        self.unsaid_messages = 0;
        self.unsaid_bytes = 0;
        self.messages
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const T: Duration = Duration::ZERO;

    #[test]
    fn it_closes_at_the_message_bound_and_opens_as_messages_are_seen() {
        let mut window = SendWindow::default();
        for _ in 0..limits::WINDOW_MESSAGES {
            assert!(window.has_room(1));
            window.on_sent(T, 1);
        }
        assert!(!window.has_room(1));
        window.on_seen(T, 1).unwrap();
        assert!(window.has_room(1));
    }

    #[test]
    fn it_closes_at_the_byte_bound_but_never_for_a_single_message() {
        let mut window = SendWindow::default();
        let all = usize::try_from(limits::WINDOW_BYTES).unwrap();
        assert!(window.has_room(2 * all));
        window.on_sent(T, all - 5);
        assert!(window.has_room(5));
        assert!(!window.has_room(6));
    }

    #[test]
    fn a_peer_cannot_see_what_was_not_sent_nor_unsee() {
        let mut window = SendWindow::default();
        window.on_sent(T, 1);
        window.on_sent(T, 1);
        assert_eq!(window.on_seen(T, 3), Err(Overrun));
        window.on_seen(T, 2).unwrap();
        assert_eq!(window.on_seen(T, 1), Err(Overrun));
        assert_eq!(window.on_seen(T, u64::MAX), Err(Overrun));
    }

    #[test]
    fn only_a_peer_that_owes_an_acknowledgement_can_stall() {
        let mut window = SendWindow::default();
        let late = T + 2 * STALL;
        assert!(!window.is_stalled(late));
        window.on_sent(late, 1);
        assert!(!window.is_stalled(late + STALL / 2));
        assert!(window.is_stalled(late + STALL));
        window.on_seen(late + STALL, 1).unwrap();
        assert!(!window.is_stalled(late + 3 * STALL));
    }
}
