//! The bytes of a file: a head, the strips as they come, a tail.
//!
//! A PNG's image data is one zlib stream. Each strip is a run of deflate blocks that ends on a byte boundary and refers to
//! nothing before itself, so the stream is a zlib head, the strips one after another, an empty last block, and the Adler-32 of
//! all raw bytes, combined from those of the strips. Each strip makes one IDAT chunk: where tiles began leaves no trace.

use std::io::{self, Write};

use fractally_proto::{Encoding, Layout, Request, StripMeta};
use thiserror::Error;

const PNG_SIGNATURE: [u8; 8] = *b"\x89PNG\r\n\x1a\n";
/// Deflate with a window of 32 KiB.
const ZLIB_HEAD: [u8; 2] = [0x78, 0x01];
/// A last block of no bytes.
const DEFLATE_END: [u8; 2] = [0x03, 0x00];
/// Largest prime below 2^16: the modulus of Adler-32 (RFC 1950).
const ADLER_BASE: u64 = 65_521;

/// Why strips do not become a file.
#[derive(Debug, Error)]
pub enum AssembleError {
    /// The file cannot be written.
    #[error("cannot write the picture: {0}")]
    Io(#[from] io::Error),
    /// The strips are not the next ones of this picture.
    #[error("the broker sent strips that do not fit: {0}")]
    Misfit(String),
}

/// Appends strips to a writer and ends up with a whole file.
pub struct Assembler<W: Write> {
    out: W,
    encoding: Encoding,
    layout: Layout,
    have: u32,
    adler32: u32,
}

impl<W: Write> Assembler<W> {
    /// Writes the head of the file for `request`.
    ///
    /// # Errors
    /// The writer's.
    pub fn begin(request: &Request, mut out: W) -> io::Result<Self> {
        write_head(&mut out, request)?;
        Ok(Self { out, encoding: request.encoding, layout: Layout::of(request), have: 0, adler32: 1 })
    }

    /// Strips held so far, counted from the top.
    pub fn have(&self) -> u32 {
        self.have
    }

    /// Where it is written to.
    pub(crate) fn out(&mut self) -> &mut W {
        &mut self.out
    }

    /// The picture's layout.
    pub fn layout(&self) -> &Layout {
        &self.layout
    }

    /// Appends the strips from index `first` on, whose encoded bytes stand one after another in `payload`. Strips that are
    /// held already are passed over.
    ///
    /// # Errors
    /// [`AssembleError`]; after [`AssembleError::Io`] the file is spoilt.
    pub fn append(&mut self, first: u32, strips: &[StripMeta], mut payload: &[u8]) -> Result<(), AssembleError> {
        self.check(first, strips, payload)?;
        for (strip, meta) in (first..).zip(strips) {
            let (encoded, rest) = payload.split_at(meta.encoded_len() as usize);
            payload = rest;
            if strip >= self.have {
                self.append_strip(strip, meta.adler32(), encoded)?;
            }
        }
        Ok(())
    }

    fn check(&self, first: u32, strips: &[StripMeta], payload: &[u8]) -> Result<(), AssembleError> {
        let misfit = |what: String| Err(AssembleError::Misfit(what));
        if first > self.have || strips.len() as u64 > u64::from(self.layout.strips().saturating_sub(first)) {
            return misfit(format!("{} strips from {first} on, where {} are held", strips.len(), self.have));
        }
        for (strip, meta) in (first..).zip(strips) {
            let max = self.layout.encoded_len_max(strip);
            if u64::from(meta.encoded_len()) > max {
                return misfit(format!("strip {strip} has {} bytes; it can have {max}", meta.encoded_len()));
            }
        }
        let sum: u64 = strips.iter().map(|meta| u64::from(meta.encoded_len())).sum();
        if sum != payload.len() as u64 {
            return misfit(format!("a payload of {} bytes for strips of {sum}", payload.len()));
        }
        Ok(())
    }

    fn append_strip(&mut self, strip: u32, adler32: u32, encoded: &[u8]) -> Result<(), AssembleError> {
        match self.encoding {
            Encoding::Counts
                if encoded.len() as u64 != self.layout.raw_len(strip) || simd_adler32::adler32(&encoded) != adler32 =>
            {
                return Err(AssembleError::Misfit(format!("strip {strip} is damaged")));
            }
            Encoding::Counts | Encoding::Png => write_strip(&mut self.out, self.encoding, strip, encoded)?,
        }
        self.adler32 = combine_adler32(self.adler32, adler32, self.layout.raw_len(strip));
        self.have = strip + 1;
        Ok(())
    }

    /// Writes the tail and gives the writer back.
    ///
    /// # Errors
    /// [`AssembleError::Misfit`] while strips are missing; the writer's errors.
    pub fn finish(mut self) -> Result<W, AssembleError> {
        if self.have != self.layout.strips() {
            return Err(AssembleError::Misfit(format!("{} of {} strips have come", self.have, self.layout.strips())));
        }
        write_tail(&mut self.out, self.encoding, self.adler32)?;
        self.out.flush()?;
        Ok(self.out)
    }
}

/// Bytes of the whole file for a valid `request` whose encoded strips have `strip_bytes` bytes together.
pub fn file_len(request: &Request, strip_bytes: u64) -> u64 {
    let written = |write: &dyn Fn(&mut Length) -> io::Result<()>| {
        let mut length = Length(0);
        write(&mut length).expect("counting cannot fail");
        length.0
    };
    let strips = u64::from(Layout::of(request).strips());
    let head = written(&|out| write_head(out, request));
    let tail = written(&|out| write_tail(out, request.encoding, 0));
    let [first, other] = [0, 1].map(|strip| written(&|out| write_strip(out, request.encoding, strip, &[])));
    head + first + strips.saturating_sub(1) * other + strip_bytes + tail
}

/// Counts bytes.
struct Length(u64);

impl Write for Length {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0 += bytes.len() as u64;
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

fn write_head(out: &mut impl Write, request: &Request) -> io::Result<()> {
    let (w, h) = (request.window.w, request.window.h);
    match request.encoding {
        Encoding::Png => {
            out.write_all(&PNG_SIGNATURE)?;
            let [w, h] = [w.to_be_bytes(), h.to_be_bytes()];
            // 8 bits a sample, RGB, deflate, adaptive filters, not interlaced.
            write_chunk(out, *b"IHDR", &[&w, &h, &[8, 2, 0, 0, 0]])
        }
        Encoding::Counts => out.write_all(&npy_head(w, h)),
    }
}

fn write_strip(out: &mut impl Write, encoding: Encoding, strip: u32, encoded: &[u8]) -> io::Result<()> {
    match encoding {
        Encoding::Png if strip == 0 => write_chunk(out, *b"IDAT", &[&ZLIB_HEAD, encoded]),
        Encoding::Png => write_chunk(out, *b"IDAT", &[encoded]),
        Encoding::Counts => out.write_all(encoded),
    }
}

/// `adler32` is that of all raw bytes.
fn write_tail(out: &mut impl Write, encoding: Encoding, adler32: u32) -> io::Result<()> {
    if encoding == Encoding::Png {
        write_chunk(out, *b"IDAT", &[&DEFLATE_END, &adler32.to_be_bytes()])?;
        write_chunk(out, *b"IEND", &[])?;
    }
    Ok(())
}

/// A PNG chunk: length, kind, data, CRC-32 of kind and data.
fn write_chunk(out: &mut impl Write, kind: [u8; 4], parts: &[&[u8]]) -> io::Result<()> {
    let len: usize = parts.iter().map(|part| part.len()).sum();
    let len = u32::try_from(len).map_err(|_| io::Error::other("a PNG chunk over 4 GiB"))?;
    let mut crc = crc32fast::Hasher::new();
    out.write_all(&len.to_be_bytes())?;
    for part in [&kind[..]].iter().chain(parts) {
        crc.update(part);
        out.write_all(part)?;
    }
    out.write_all(&crc.finalize().to_be_bytes())
}

/// The head of an NPY file, version 1.0: u32 little-endian, C order, height x width, padded to a multiple of 64 bytes.
fn npy_head(w: u32, h: u32) -> Vec<u8> {
    const FIXED: usize = 10;
    let mut dict = format!("{{'descr': '<u4', 'fortran_order': False, 'shape': ({h}, {w}), }}");
    let padded = (FIXED + dict.len() + 1).next_multiple_of(64) - FIXED;
    dict.extend(std::iter::repeat_n(' ', padded - 1 - dict.len()));
    dict.push('\n');
    let mut head = b"\x93NUMPY\x01\x00".to_vec();
    head.extend_from_slice(&u16::try_from(padded).expect("the dictionary has some 80 bytes").to_le_bytes());
    head.extend_from_slice(dict.as_bytes());
    head
}

/// Adler-32 of two runs of bytes one after another, from those of each and the length of the second.
///
/// Adler-32 holds two sums modulo 65521: `a`, one more than the sum of the bytes, and `b`, the sum of all values that `a` took
/// (RFC 1950). Behind a first run, each of the `len` later values of `a` is greater by the first run's `a - 1`.
fn combine_adler32(first: u32, second: u32, len: u64) -> u32 {
    let halves = |adler: u32| (u64::from(adler & 0xffff), u64::from(adler >> 16));
    let ((a1, b1), (a2, b2)) = (halves(first), halves(second));
    let before = (a1 + ADLER_BASE - 1) % ADLER_BASE;
    let a = (before + a2) % ADLER_BASE;
    let b = (b1 + b2 + before * (len % ADLER_BASE)) % ADLER_BASE;
    u32::try_from(b << 16 | a).expect("both halves are below 2^16")
}

#[cfg(test)]
mod tests {
    use super::*;
    use fractally_proto::{Size, Window};

    fn counts_request(w: u32, h: u32) -> Request {
        let size = Size { w, h };
        Request { size, window: Window::whole(size), encoding: Encoding::Counts, ..Request::default() }
    }

    fn meta(bytes: &[u8]) -> StripMeta {
        StripMeta(u32::try_from(bytes.len()).unwrap(), simd_adler32::adler32(&bytes))
    }

    #[test]
    fn adler_of_parts_combines_to_adler_of_the_whole() {
        let bytes: Vec<u8> = (0..200_000u32).map(|i| (i.wrapping_mul(2_654_435_761) >> 24) as u8).collect();
        for cut in [0, 1, 5552, 65_521, 65_522, 199_999, 200_000] {
            let (head, tail) = bytes.split_at(cut);
            let combined = combine_adler32(simd_adler32::adler32(&head), simd_adler32::adler32(&tail), tail.len() as u64);
            assert_eq!(combined, simd_adler32::adler32(&bytes.as_slice()), "{cut}");
        }
    }

    #[test]
    fn an_npy_head_is_padded_to_64_bytes_and_tells_height_before_width() {
        for (w, h) in [(1, 1), (4000, 2000), (1_000_000, 1_000_000)] {
            let head = npy_head(w, h);
            assert_eq!(head.len() % 64, 0);
            assert_eq!(usize::from(u16::from_le_bytes([head[8], head[9]])) + 10, head.len());
            assert!(String::from_utf8_lossy(&head).contains(&format!("'shape': ({h}, {w})")));
        }
    }

    #[test]
    fn strips_that_come_twice_are_written_once() {
        let request = counts_request(65_536, 2);
        let mut file = Assembler::begin(&request, Vec::new()).unwrap();
        let (one, two) = (vec![1; 262_144], vec![2; 262_144]);
        file.append(0, &[meta(&one)], &one).unwrap();
        let both = [one.clone(), two.clone()].concat();
        file.append(0, &[meta(&one), meta(&two)], &both).unwrap();
        let bytes = file.finish().unwrap();
        assert!(bytes.ends_with(&both));
        assert_eq!(bytes.len(), npy_head(65_536, 2).len() + both.len());
    }

    #[test]
    fn the_length_of_a_file_is_known_from_that_of_its_strips() {
        for (encoding, w, h) in [(Encoding::Counts, 65_536, 5), (Encoding::Png, 65_536, 5), (Encoding::Png, 100, 1)] {
            let request = Request { encoding, ..counts_request(w, h) };
            let mut file = Assembler::begin(&request, Vec::new()).unwrap();
            let mut strip_bytes = 0;
            for strip in 0..file.layout().strips() {
                let len = match encoding {
                    Encoding::Counts => usize::try_from(file.layout().raw_len(strip)).unwrap(),
                    Encoding::Png => 10 + strip as usize,
                };
                let encoded = vec![1; len];
                file.append(strip, &[meta(&encoded)], &encoded).unwrap();
                strip_bytes += len as u64;
            }
            assert_eq!(file_len(&request, strip_bytes), file.finish().unwrap().len() as u64, "{encoding:?} {w} x {h}");
        }
    }

    #[test]
    fn what_does_not_fit_is_refused() {
        let request = counts_request(65_536, 3);
        let strip = vec![1; 262_144];
        let good = meta(&strip);
        let mut file = Assembler::begin(&request, Vec::new()).unwrap();
        let misfit = |result: Result<(), AssembleError>| assert!(matches!(result, Err(AssembleError::Misfit(_))));
        misfit(file.append(1, &[good], &strip));
        misfit(file.append(0, &[good], &strip[1..]));
        misfit(file.append(0, &[good; 4], &strip.repeat(4)));
        misfit(file.append(0, &[StripMeta(good.0, good.1 ^ 1)], &strip));
        misfit(file.append(0, &[StripMeta(262_145, 1)], &[0; 262_145]));
        assert_eq!(file.have(), 0);
        assert!(file.finish().is_err());
    }
}
