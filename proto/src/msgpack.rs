//! A look at MessagePack bytes before they are decoded: exactly one value, nested no deeper than allowed, and no string,
//! array or map that claims to be longer than the bytes that are there. The keys of an outermost map are text. After it, decoding allocates no more than it reads.

use crate::DecodeError;

/// Checks `bytes` without allocating. Time is linear in their number.
pub(crate) fn check(bytes: &[u8], depth_max: usize) -> Result<(), DecodeError> {
    let is_map = matches!(bytes.first(), Some(0x80..=0x8f | 0xde | 0xdf));
    let mut reader = Reader { bytes };
    // How many values are still owed at each open level of nesting.
    let mut owed = [0usize; 16];
    debug_assert!(depth_max < owed.len());
    let mut depth = 0;
    owed[0] = 1;
    loop {
        while owed[depth] == 0 {
            if depth == 0 {
                return if reader.bytes.is_empty() { Ok(()) } else { Err(DecodeError::Header("bytes follow the header")) };
            }
            depth -= 1;
        }
        // Serde would take a number for the field with that index.
        if is_map && depth == 1 && owed[1].is_multiple_of(2) && !matches!(reader.bytes.first(), Some(0xa0..=0xbf | 0xd9..=0xdb)) {
            return Err(DecodeError::Header("a key is not text"));
        }
        owed[depth] -= 1;
        let inner = reader.value()?;
        if inner > 0 {
            if inner > reader.bytes.len() {
                return Err(DecodeError::Header("an array or map is longer than the header"));
            }
            if depth == depth_max {
                return Err(DecodeError::Header("it is nested too deeply"));
            }
            depth += 1;
            owed[depth] = inner;
        }
    }
}

struct Reader<'a> {
    bytes: &'a [u8],
}

impl Reader<'_> {
    /// Passes over one value, or over the head of an array or map: then the number of values that it holds.
    fn value(&mut self) -> Result<usize, DecodeError> {
        let marker = self.uint(1)?;
        let length_of = |bits: usize| marker & bits;
        match marker {
            0x00..=0x7f | 0xe0..=0xff | 0xc0 | 0xc2 | 0xc3 => Ok(0),
            0x80..=0x8f => Ok(2 * length_of(0x0f)),
            0x90..=0x9f => Ok(length_of(0x0f)),
            0xa0..=0xbf => self.skip(length_of(0x1f)),
            0xc4 | 0xd9 => self.counted(1, 0),
            0xc5 | 0xda => self.counted(2, 0),
            0xc6 | 0xdb => self.counted(4, 0),
            0xc7 => self.counted(1, 1),
            0xc8 => self.counted(2, 1),
            0xc9 => self.counted(4, 1),
            0xcc | 0xd0 => self.skip(1),
            0xcd | 0xd1 => self.skip(2),
            0xca | 0xce | 0xd2 => self.skip(4),
            0xcb | 0xcf | 0xd3 => self.skip(8),
            0xd4..=0xd8 => self.skip(1 + (1 << (marker - 0xd4))),
            0xdc => self.uint(2),
            0xdd => self.uint(4),
            0xde => Ok(2 * self.uint(2)?),
            0xdf => Ok(self.uint(4)?.saturating_mul(2)),
            _ => Err(DecodeError::Header("it holds a byte that MessagePack does not know")),
        }
    }

    fn counted(&mut self, width: usize, extra: usize) -> Result<usize, DecodeError> {
        let length = self.uint(width)?;
        self.skip(length.saturating_add(extra))
    }

    fn skip(&mut self, count: usize) -> Result<usize, DecodeError> {
        self.bytes = self.bytes.get(count..).ok_or(DecodeError::Header("it ends too early"))?;
        Ok(0)
    }

    fn uint(&mut self, width: usize) -> Result<usize, DecodeError> {
        let (head, rest) = self.bytes.split_at_checked(width).ok_or(DecodeError::Header("it ends too early"))?;
        self.bytes = rest;
        Ok(head.iter().fold(0, |value, &byte| value << 8 | usize::from(byte)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lies_about_length_and_depth_are_found() {
        let cases: [(&[u8], bool); 16] = [
            (&[0x80], true),
            (&[0x81, 0xa1, b'a', 0x01], true),
            (&[0x81, 0x00, 0x01], false),
            (&[0x82, 0xa1, b'a', 0x01, 0x00, 0x01], false),
            (&[0x81, 0xc4, 0x01, b'a', 0x01], false),
            (&[0x81, 0xa1, b'a', 0x81, 0x00, 0x01], true),
            (&[], false),
            (&[0x80, 0x00], false),
            (&[0x81, 0xa1, b'a'], false),
            (&[0xdd, 0xff, 0xff, 0xff, 0xff], false),
            (&[0xdf, 0xff, 0xff, 0xff, 0xff, 0x00], false),
            (&[0xdb, 0xff, 0xff, 0xff, 0xff], false),
            (&[0xc1], false),
            (&[0x91, 0x91, 0x91, 0x90], true),
            (&[0x91, 0x91, 0x91, 0x91, 0x90], true),
            (&[0x91, 0x91, 0x91, 0x91, 0x91, 0x90], false),
        ];
        for (bytes, good) in cases {
            assert_eq!(check(bytes, 4).is_ok(), good, "{bytes:02x?}");
        }
    }
}
