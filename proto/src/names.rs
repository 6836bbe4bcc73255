//! Names that hold across jobs and processes: of a picture, of who wants it, of what somebody asked. A value of these types is valid.
//!
//! Not here: ids that a broker or a peer gives, which are numbers (`ids`).

use std::{fmt, str::FromStr, sync::Arc};

use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};
use thiserror::Error;

use crate::{Request, limits};

/// The engine of workers that compute nothing: their tiles are no picture. A broker uses them only where it was told to.
pub const NO_OP_ENGINE: &str = "no-op";

/// Why a text is no name of its kind.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
pub enum NameError {
    /// Not a [`ContentId`].
    #[error("a content id is 32 lower-case hexadecimal digits")]
    Content,
    /// Not a [`Holder`]: it has so many bytes.
    #[error("a holder of {0} bytes; give from 1 to {max}", max = limits::HOLDER_BYTES_MAX)]
    Holder(usize),
    /// Not a [`RequestId`].
    #[error("a request id is 1 to {max} letters, digits, points, underscores and hyphens of ASCII", max = limits::REQUEST_ID_BYTES_MAX)]
    RequestId,
}

/// Names a picture, whoever asks for it: the first 16 bytes of SHA-256 over [`Request::canonical`].
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct ContentId(#[serde(with = "serde_bytes")] pub [u8; 16]);

impl fmt::Display for ContentId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

impl fmt::Debug for ContentId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "ContentId({self})")
    }
}

impl FromStr for ContentId {
    type Err = NameError;

    fn from_str(text: &str) -> Result<Self, NameError> {
        let digit = |byte: u8| match byte {
            b'0'..=b'9' => Ok(byte - b'0'),
            b'a'..=b'f' => Ok(byte - b'a' + 10),
            _ => Err(NameError::Content),
        };
        let (pairs, rest) = text.as_bytes().as_chunks::<2>();
        if pairs.len() != 16 || !rest.is_empty() {
            return Err(NameError::Content);
        }
        let mut id = [0; 16];
        for (byte, &[high, low]) in id.iter_mut().zip(pairs) {
            *byte = digit(high)? << 4 | digit(low)?;
        }
        Ok(Self(id))
    }
}

impl Request {
    /// Names what is drawn: two requests have the same content if and only if they are the same to the bit.
    pub fn content(&self) -> ContentId {
        let digest = Sha256::digest(self.canonical());
        let (first, _) = digest.split_first_chunk().expect("a SHA-256 has 32 bytes");
        ContentId(*first)
    }
}

/// Somebody who wants a detached job, and may stop wanting it: a text of 1 to 64 bytes.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Holder(Arc<str>);

/// What one request is called in the logs of all who work on it: 1 to 64 of `A-Z a-z 0-9 . _ -`, so that no log line can be forged by it.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct RequestId(Arc<str>);

impl FromStr for Holder {
    type Err = NameError;

    fn from_str(text: &str) -> Result<Self, NameError> {
        let fits = (1..=limits::HOLDER_BYTES_MAX).contains(&text.len());
        if fits { Ok(Self(text.into())) } else { Err(NameError::Holder(text.len())) }
    }
}

impl FromStr for RequestId {
    type Err = NameError;

    fn from_str(text: &str) -> Result<Self, NameError> {
        let is_fit = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'.' | b'_' | b'-');
        let fits = (1..=limits::REQUEST_ID_BYTES_MAX).contains(&text.len()) && text.bytes().all(is_fit);
        if fits { Ok(Self(text.into())) } else { Err(NameError::RequestId) }
    }
}

macro_rules! texts {
    ($($name:ident),+) => {$(
        impl $name {
            /// The text.
            pub fn as_str(&self) -> &str {
                &self.0
            }
        }

        impl TryFrom<String> for $name {
            type Error = NameError;

            fn try_from(text: String) -> Result<Self, NameError> {
                text.parse()
            }
        }

        impl From<$name> for String {
            fn from(name: $name) -> Self {
                name.as_str().to_owned()
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(&self.0)
            }
        }
    )+};
}

texts!(Holder, RequestId);

#[cfg(test)]
mod tests {
    use super::*;

    /// Whoever names a picture by its content keeps that name: it must not change with the code.
    #[test]
    fn the_content_of_the_default_request_is_what_it_always_was() {
        let content = Request::default().content();
        assert_eq!(content.to_string(), "b9d4061eea9aedf6ce0a03afc149380d");
        assert_eq!(content.to_string().parse(), Ok(content));
        let other = Request { iterations: 257, ..Request::default() };
        assert_ne!(other.content(), content);
        // Equal as numbers, and another picture.
        let [plus, minus] = [0.0, -0.0].map(|re| Request { c: [re, 0.5], ..Request::default() }.content());
        assert_ne!(plus, minus);
    }

    #[test]
    fn a_content_id_is_read_from_32_lower_case_digits_only() {
        let text = "00112233445566778899aabbccddeeff";
        assert_eq!(text.parse::<ContentId>().unwrap().to_string(), text);
        for wrong in ["", &text[1..], &text.to_uppercase(), &format!("{text}0"), &text.replace('f', "g"), &"é".repeat(16)] {
            assert_eq!(wrong.parse::<ContentId>(), Err(NameError::Content), "{wrong}");
        }
    }

    #[test]
    fn names_are_held_to_their_bounds() {
        for len in [1, 64] {
            assert_eq!("h".repeat(len).parse::<Holder>().unwrap().as_str().len(), len);
            assert_eq!("h".repeat(len).parse::<RequestId>().unwrap().as_str().len(), len);
        }
        for len in [0, 65] {
            assert_eq!("h".repeat(len).parse::<Holder>(), Err(NameError::Holder(len)));
            assert_eq!("h".repeat(len).parse::<RequestId>(), Err(NameError::RequestId));
        }
        "any text: é, \n".parse::<Holder>().unwrap();
        "A-z_0.9".parse::<RequestId>().unwrap();
        for wrong in ["a b", "a\n", "é", "a\"", "a=b", "a/b"] {
            assert_eq!(wrong.parse::<RequestId>(), Err(NameError::RequestId), "{wrong}");
        }
    }
}
