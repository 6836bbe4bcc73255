//! The laws of `laws/` under seeded random inputs, in every `cargo test`. `fuzz/` tries them with inputs that coverage guides.
//!
//! `FRACTALLY_SEED` replays one seed.

#![allow(missing_docs, clippy::missing_panics_doc, clippy::unwrap_used, clippy::cast_possible_truncation, reason = "a test")]

mod common;
mod laws;

use common::{Rng, Seed};

const EXECUTIONS: u64 = 100_000;

fn mutate(rng: &mut Rng, inputs: &[Vec<u8>]) -> Vec<u8> {
    let mut bytes = inputs[rng.below(inputs.len())].clone();
    for _ in 0..1 + rng.below(3) {
        if bytes.is_empty() {
            break;
        }
        let at = rng.below(bytes.len());
        let end = (at + 1 + rng.below(24)).min(bytes.len());
        match rng.below(7) {
            0 => bytes[at] = rng.byte(),
            1 => bytes[at] ^= 1 << rng.below(8),
            // Bytes that mean much in MessagePack.
            2 => bytes[at] = [0x80, 0x81, 0x90, 0xdc, 0xdd, 0xde, 0xdf, 0xca, 0xcb, 0xc6, 0xdb, 0xff, 0xcf][rng.below(13)],
            3 => drop(bytes.drain(at..end)),
            4 => bytes.insert(at, rng.byte()),
            5 => {
                let copied = bytes[at..end].to_vec();
                bytes.splice(at..at, copied);
            }
            _ => bytes.truncate(at),
        }
    }
    bytes
}

#[test]
fn mutated_files_keep_the_laws() {
    let inputs = laws::inputs();
    let (mut sound, mut all) = (0, 0);
    for seed in common::seeds(EXECUTIONS) {
        let _told = Seed(seed);
        sound += u64::from(laws::check(&mutate(&mut Rng(seed), &inputs)));
        all += 1;
    }
    assert!(all == 1 || (all / 20..all * 19 / 20).contains(&sound), "{sound} of {all} are sound");
    println!("{all} executions, {sound} of them sound");
}
