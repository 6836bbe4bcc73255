//! The envelope of small files: who wrote it in which version, how long it is, and a checksum over all of it.

use thiserror::Error;

/// Bytes in front of the body.
const HEAD: usize = 16;
/// Bytes behind it.
const TAIL: usize = 4;
/// Bytes of a body at the most.
pub(crate) const BODY_BYTES_MAX: usize = 4096;
/// Bytes of a sealed file at the most.
pub(crate) const SEALED_BYTES_MAX: usize = HEAD + BODY_BYTES_MAX + TAIL;

/// Why bytes are not the file that they should be.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum Damage {
    /// More or fewer bytes than there should be.
    #[error("it has {found} bytes, and should have {expected}")]
    Length {
        /// Bytes that are there.
        found: u64,
        /// What should be there.
        expected: String,
    },
    /// The first bytes are not those of this kind of file.
    #[error("it does not begin as such a file does")]
    Magic,
    /// Written by another version.
    #[error("it has version {0}, which is not read here")]
    Version(u32),
    /// The checksum does not fit the bytes.
    #[error("its checksum is wrong")]
    Checksum,
    /// The checksum fits, the content makes no sense.
    #[error("{0}")]
    Content(String),
}

impl Damage {
    pub(crate) fn length(found: usize, expected: impl Into<String>) -> Self {
        Self::Length { found: found as u64, expected: expected.into() }
    }
}

/// The first four bytes of `bytes`, little-endian. There must be so many.
pub(crate) fn u32_at(bytes: &[u8], at: usize) -> u32 {
    u32::from_le_bytes(bytes[at..at + 4].try_into().expect("four bytes were cut out"))
}

/// As [`u32_at`], with eight bytes.
pub(crate) fn u64_at(bytes: &[u8], at: usize) -> u64 {
    u64::from_le_bytes(bytes[at..at + 8].try_into().expect("eight bytes were cut out"))
}

/// `body` as a sealed file.
pub(crate) fn seal(magic: &[u8; 8], version: u32, body: &[u8]) -> Vec<u8> {
    debug_assert!(body.len() <= BODY_BYTES_MAX);
    let length = u32::try_from(body.len()).expect("a body is short");
    let mut sealed = [&magic[..], &version.to_le_bytes(), &length.to_le_bytes(), body].concat();
    let sum = crc32fast::hash(&sealed);
    sealed.extend(sum.to_le_bytes());
    sealed
}

/// The body of a sealed file.
pub(crate) fn unseal<'a>(magic: &[u8; 8], version: u32, sealed: &'a [u8]) -> Result<&'a [u8], Damage> {
    if sealed.len() < HEAD + TAIL || sealed.len() > SEALED_BYTES_MAX {
        return Err(Damage::length(sealed.len(), format!("{} to {SEALED_BYTES_MAX}", HEAD + TAIL)));
    }
    if sealed[..8] != magic[..] {
        return Err(Damage::Magic);
    }
    let (covered, sum) = sealed.split_at(sealed.len() - TAIL);
    let body = &covered[HEAD..];
    if u32_at(sealed, 12) as usize != body.len() {
        return Err(Damage::length(sealed.len(), format!("{}", u64::from(u32_at(sealed, 12)) + (HEAD + TAIL) as u64)));
    }
    if crc32fast::hash(covered) != u32_at(sum, 0) {
        return Err(Damage::Checksum);
    }
    // After the checksum: a flipped bit is damage and no other version.
    if u32_at(sealed, 8) != version {
        return Err(Damage::Version(u32_at(sealed, 8)));
    }
    Ok(body)
}
