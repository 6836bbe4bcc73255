//! The laws of `laws/` under seeded random inputs, in every `cargo test`. `fuzz/` tries them with inputs that coverage guides.
//!
//! `FRACTALLY_SEED` replays one seed.

#![allow(missing_docs, clippy::missing_panics_doc, clippy::unwrap_used, reason = "a test")]

mod laws;

use std::{ops::Range, thread};

const EXECUTIONS: u64 = 100_000;

/// SplitMix64.
struct Rng(u64);

impl Rng {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mixed = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }

    fn below(&mut self, bound: usize) -> usize {
        usize::try_from(self.next() % bound as u64).unwrap()
    }

    fn byte(&mut self) -> u8 {
        self.next().to_le_bytes()[0]
    }
}

/// Tells the seed when a law is broken.
struct Seed(u64);

impl Drop for Seed {
    fn drop(&mut self) {
        if thread::panicking() {
            eprintln!("FRACTALLY_SEED={} replays it", self.0);
        }
    }
}

fn seeds() -> Range<u64> {
    let replayed = std::env::var("FRACTALLY_SEED").ok().and_then(|seed| seed.parse().ok());
    replayed.map_or(0..EXECUTIONS, |seed: u64| seed..seed + 1)
}

fn mutate(rng: &mut Rng, inputs: &[Vec<u8>]) -> Vec<u8> {
    let mut bytes = inputs[rng.below(inputs.len())].clone();
    for _ in 0..1 + rng.below(4) {
        if bytes.is_empty() {
            break;
        }
        let at = rng.below(bytes.len());
        let end = (at + 1 + rng.below(12)).min(bytes.len());
        match rng.below(7) {
            0 => bytes[at] = rng.byte(),
            1 => bytes[at] ^= 1 << rng.below(8),
            // Bytes that mean much in MessagePack: small and large lists and maps, floats, long texts, the largest numbers.
            2 => {
                bytes[at] =
                    *[0x80, 0x81, 0x90, 0xdc, 0xdd, 0xde, 0xdf, 0xca, 0xcb, 0xc6, 0xdb, 0xff, 0xcf].get(rng.below(13)).unwrap()
            }
            3 => drop(bytes.drain(at..end)),
            4 => bytes.insert(at, rng.byte()),
            5 => {
                let copied = bytes[at..end].to_vec();
                bytes.splice(at..at, copied);
            }
            _ => {
                let other = &inputs[rng.below(inputs.len())];
                let from = rng.below(other.len());
                bytes.splice(at.., other[from..].iter().copied());
            }
        }
    }
    bytes
}

/// Holds an input for each seed to `check`, which must find both sound and unsound ones often.
fn try_all(check: fn(&[u8]) -> bool, input: impl Fn(&mut Rng) -> Vec<u8>) {
    let (mut sound, mut all) = (0, 0);
    for seed in seeds() {
        let _told = Seed(seed);
        sound += u64::from(check(&input(&mut Rng(seed))));
        all += 1;
    }
    assert!(all == 1 || (all / 20..all * 19 / 20).contains(&sound), "{sound} of {all} are sound");
    println!("{all} executions, {sound} of them sound");
}

#[test]
fn mutated_examples_keep_the_laws_of_messages() {
    let inputs = laws::message_inputs();
    assert!(inputs.iter().all(|input| laws::check_message(input)));
    try_all(laws::check_message, |rng| mutate(rng, &inputs));
}

#[test]
fn random_requests_keep_the_laws_of_strips() {
    assert!(laws::request_inputs().iter().any(|input| laws::check_request(input)));
    try_all(laws::check_request, |rng| (0..rng.below(160)).map(|_| rng.byte()).collect());
}
