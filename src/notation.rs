//! How people write weights of accounts, amounts of work and addresses.

use std::net::SocketAddr;

use fractally_broker::WEIGHT_MAX;
use fractally_proto::limits;

/// `ada=3`: an account and its weight. An account's name may have an equals sign of its own.
pub(crate) fn weight(text: &str) -> Result<(String, u32), String> {
    let wrong = || format!("{text:?} is not an account and its weight; write NAME=W with W from 1 to {WEIGHT_MAX}, as ada@lab=3");
    let (name, weight) = text.rsplit_once('=').ok_or_else(wrong)?;
    let weight = weight.parse().ok().filter(|weight| (1..=WEIGHT_MAX).contains(weight)).ok_or_else(wrong)?;
    if name.is_empty() || name.len() > limits::TEXT_BYTES_MAX {
        return Err(format!("an account's name has 1 to {} bytes; write NAME=W, as ada@lab=3", limits::TEXT_BYTES_MAX));
    }
    Ok((name.to_owned(), weight))
}

/// `4e18`, `250000000000`: pixels times iterations.
pub(crate) fn work(text: &str) -> Result<u128, String> {
    let wrong = || format!("{text:?} is not a number of pixels times iterations; write one from 1 to 1e30, as 2e15");
    let work = text.parse::<f64>().ok().filter(|work| (1.0..=1e30).contains(work)).ok_or_else(wrong)?;
    #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "it lies in the range")]
    let work = work as u128;
    Ok(work)
}

/// `127.0.0.1:9464`, `[::1]:9464`.
pub(crate) fn socket_address(text: &str) -> Result<SocketAddr, String> {
    text.parse().map_err(|_| format!("{text:?} is not an address and a port; write it as 127.0.0.1:9464"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn weights_and_work_are_read_and_what_is_wrong_is_told() {
        assert_eq!(weight("ada@lab=3"), Ok(("ada@lab".to_owned(), 3)));
        assert_eq!(weight("a=b=1000"), Ok(("a=b".to_owned(), 1000)));
        for text in ["ada", "ada=", "ada=0", "ada=1001", "ada=-1", "ada=1.5"] {
            assert!(weight(text).unwrap_err().contains("NAME=W with W from 1 to 1000"), "{text}");
        }
        assert!(weight("=3").unwrap_err().contains("1 to 256 bytes"));
        assert_eq!((work("4e18"), work("1000")), (Ok(4_000_000_000_000_000_000), Ok(1000)));
        for text in ["", "0", "-1", "nan", "inf", "1e31", "much"] {
            assert!(work(text).is_err(), "{text}");
        }
    }
}
