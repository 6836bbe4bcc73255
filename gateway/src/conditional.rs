//! What a client's headers ask of an answer: which type he likes, whether he has it already, which part of it (RFC 9110). Pure functions of
//! headers; what is sent then is the handlers' business.

use std::{fmt::Write, ops::Range};

use http::{HeaderMap, HeaderValue, header};

/// A strong ETag of a text. What an ETag may not hold, such as in an engine's name, is written as digits, so that different texts stay
/// different.
pub(crate) fn strong_etag(text: &str) -> HeaderValue {
    let mut etag = String::from("\"");
    for byte in text.bytes() {
        match byte {
            b'%' | b'"' | b',' | b'\\' => write!(etag, "%{byte:02x}"),
            byte if byte.is_ascii_graphic() => etag.write_char(byte.into()),
            byte => write!(etag, "%{byte:02x}"),
        }
        .expect("text takes what is written to it");
    }
    etag.push('"');
    HeaderValue::from_str(&etag).expect("it has visible characters")
}

/// Whether the client has it (RFC 9110, 13.1.2).
pub(crate) fn is_known(headers: &HeaderMap, etag: &HeaderValue) -> bool {
    let values = headers.get_all(header::IF_NONE_MATCH).iter().filter_map(|value| value.to_str().ok());
    let etag = etag.to_str().unwrap_or("");
    values
        .flat_map(|value| value.split(','))
        .map(str::trim)
        .any(|one| one == "*" || one.strip_prefix("W/").unwrap_or(one) == etag)
}

/// What part of a file is wanted.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Wanted {
    /// All of it.
    All,
    /// These bytes, at least one.
    Part(Range<u64>),
    /// Some that it does not have.
    Nothing,
}

/// One range is served; several, or what is no range, are passed over (RFC 9110, 14.2).
pub(crate) fn wanted(headers: &HeaderMap, etag: Option<&HeaderValue>, len: u64) -> Wanted {
    // A part of what the client had is of use only if it is still the same.
    if headers.get(header::IF_RANGE).is_some_and(|known| Some(known) != etag) {
        return Wanted::All;
    }
    let Some(range) = headers.get(header::RANGE).and_then(|range| range.to_str().ok()) else { return Wanted::All };
    let Some((first, last)) = range.strip_prefix("bytes=").and_then(|spec| spec.trim().split_once('-')) else {
        return Wanted::All;
    };
    let number = |text: &str| text.bytes().all(|byte| byte.is_ascii_digit()).then(|| text.parse::<u64>().unwrap_or(u64::MAX));
    match (first, last) {
        ("", "") => Wanted::All,
        ("", count) => match number(count) {
            None => Wanted::All,
            Some(0) => Wanted::Nothing,
            Some(count) => Wanted::Part(len.saturating_sub(count)..len),
        },
        (first, last) => {
            let last = if last.is_empty() { Some(u64::MAX) } else { number(last) };
            match (number(first), last) {
                (Some(first), Some(last)) if first > last => Wanted::All,
                (Some(first), Some(_)) if first >= len => Wanted::Nothing,
                (Some(first), Some(last)) => Wanted::Part(first..last.saturating_add(1).min(len)),
                _ => Wanted::All,
            }
        }
    }
}

/// The quality that an `Accept` header gives a type, in thousandths: the most exact mention counts (RFC 9110, 12.5.1).
pub(crate) fn liking(wishes: &str, media_type: &str) -> u32 {
    let (family, _) = media_type.split_once('/').unwrap_or((media_type, ""));
    let mentions = wishes.split(',').filter_map(|wish| {
        let mut parts = wish.split(';').map(str::trim);
        let range = parts.next()?.to_ascii_lowercase();
        let exactness = match range.as_str() {
            range if range == media_type => 2,
            range if range.strip_suffix("/*") == Some(family) => 1,
            "*/*" => 0,
            _ => return None,
        };
        let quality = parts.find_map(|part| part.strip_prefix("q=")).map_or(Some(1.0), |q| q.parse::<f32>().ok())?;
        #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "it lies between 0 and 1000")]
        let thousandths = (quality.clamp(0.0, 1.0) * 1000.0) as u32;
        Some((exactness, thousandths))
    });
    mentions.max_by_key(|(exactness, _)| *exactness).map_or(0, |(_, quality)| quality)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_range_is_served_and_nonsense_passed_over() {
        let etag = HeaderValue::from_static("\"a\"");
        let wanted = |range: &'static str| {
            let headers = HeaderMap::from_iter([(header::RANGE, HeaderValue::from_static(range))]);
            super::wanted(&headers, Some(&etag), 100)
        };
        assert_eq!(wanted("bytes=0-9"), Wanted::Part(0..10));
        assert_eq!(wanted("bytes=90-"), Wanted::Part(90..100));
        assert_eq!(wanted("bytes=90-1000000000000000000000"), Wanted::Part(90..100));
        assert_eq!(wanted("bytes=-5"), Wanted::Part(95..100));
        assert_eq!(wanted("bytes=-500"), Wanted::Part(0..100));
        for nothing in ["bytes=100-", "bytes=100-200", "bytes=-0"] {
            assert_eq!(wanted(nothing), Wanted::Nothing, "{nothing}");
        }
        for all in ["bytes=9-1", "bytes=a-b", "bytes=-", "rows=0-1", "bytes=0-1,4-5", "bytes=--1", "bytes"] {
            assert_eq!(wanted(all), Wanted::All, "{all}");
        }
        let mut headers = HeaderMap::from_iter([(header::RANGE, HeaderValue::from_static("bytes=0-9"))]);
        headers.insert(header::IF_RANGE, HeaderValue::from_static("\"b\""));
        assert_eq!(super::wanted(&headers, Some(&etag), 100), Wanted::All);
    }

    #[test]
    fn different_texts_have_different_etags_whatever_they_hold() {
        assert_eq!(strong_etag("0af-fractally-2.png"), "\"0af-fractally-2.png\"");
        let odd = ["a\"b", "a\u{7f}b", "a b", "a,b", "aé", "a%22b", "a\nb", "a\\b"];
        let etags: std::collections::BTreeSet<_> =
            odd.iter().map(|text| strong_etag(text).to_str().unwrap().to_owned()).collect();
        assert_eq!(etags.len(), odd.len(), "{etags:?}");
        for text in odd {
            let headers = HeaderMap::from_iter([(header::IF_NONE_MATCH, strong_etag(text))]);
            assert!(is_known(&headers, &strong_etag(text)) && !is_known(&headers, &strong_etag("other")), "{text}");
        }
    }
}
