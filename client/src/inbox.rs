//! Strips that have come and wait until the file's sink has room: at most a window of them.

use std::collections::VecDeque;

use bytes::Bytes;
use fractally_proto::{StripMeta, Strips};

use crate::assemble::AssembleError;

/// One encoded strip.
pub(crate) struct Strip {
    pub(crate) index: u32,
    pub(crate) meta: StripMeta,
    pub(crate) encoded: Bytes,
}

/// Strips in the order in which they came.
#[derive(Default)]
pub(crate) struct Inbox {
    strips: VecDeque<Strip>,
    bytes: u64,
}

impl Inbox {
    pub(crate) fn is_empty(&self) -> bool {
        self.strips.is_empty()
    }

    pub(crate) fn clear(&mut self) {
        *self = Self::default();
    }

    /// Takes the strips of one message apart.
    ///
    /// # Errors
    /// They are not what their lengths say, or more than `window_bytes` would wait.
    pub(crate) fn put(&mut self, strips: &Strips, mut payload: Bytes, window_bytes: u64) -> Result<(), AssembleError> {
        let misfit = |what: String| Err(AssembleError::Misfit(what));
        let sum: u64 = strips.strips.iter().map(|meta| u64::from(meta.encoded_len())).sum();
        if sum != payload.len() as u64 {
            return misfit(format!("a payload of {} bytes for strips of {sum}", payload.len()));
        }
        if self.bytes + sum > window_bytes {
            return misfit(format!("{sum} bytes where {} of {window_bytes} wait", self.bytes));
        }
        self.bytes += sum;
        for (index, &meta) in (u64::from(strips.first)..).zip(&strips.strips) {
            let Ok(index) = u32::try_from(index) else { return misfit(format!("strip {index}")) };
            self.strips.push_back(Strip { index, meta, encoded: payload.split_to(meta.encoded_len() as usize) });
        }
        Ok(())
    }

    /// The one that came first.
    pub(crate) fn take(&mut self) -> Option<Strip> {
        let strip = self.strips.pop_front()?;
        self.bytes -= strip.encoded.len() as u64;
        Some(strip)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use fractally_proto::JobId;

    fn strips(first: u32, lengths: &[u32]) -> Strips {
        let strips = lengths.iter().map(|&length| StripMeta(length, 0)).collect();
        Strips { job: JobId(1), engine: "e".to_owned(), first, strips }
    }

    #[test]
    fn strips_come_out_one_by_one_as_they_went_in() {
        let mut inbox = Inbox::default();
        inbox.put(&strips(3, &[1, 2]), Bytes::from_static(b"abb"), 10).unwrap();
        inbox.put(&strips(5, &[3]), Bytes::from_static(b"ccc"), 10).unwrap();
        let all: Vec<_> = std::iter::from_fn(|| inbox.take()).map(|strip| (strip.index, strip.encoded)).collect();
        assert_eq!(all, [(3, "a".into()), (4, "bb".into()), (5, "ccc".into())]);
        assert!(inbox.is_empty());
    }

    #[test]
    fn what_does_not_fit_is_refused() {
        let mut inbox = Inbox::default();
        assert!(inbox.put(&strips(0, &[2]), Bytes::from_static(b"abb"), 10).is_err(), "other lengths");
        assert!(inbox.put(&strips(u32::MAX, &[1, 1]), Bytes::from_static(b"ab"), 10).is_err(), "no such strip");
        inbox.clear();
        inbox.put(&strips(0, &[6]), Bytes::from_static(b"aaaaaa"), 10).unwrap();
        assert!(inbox.put(&strips(1, &[5]), Bytes::from_static(b"aaaaa"), 10).is_err(), "more than the window");
        inbox.take();
        inbox.put(&strips(1, &[5]), Bytes::from_static(b"aaaaa"), 10).unwrap();
    }
}
