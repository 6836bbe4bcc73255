//! Hostile files in a state directory: `journal/tests/laws/` says what must hold.

#![no_main]

#[path = "../../journal/tests/laws/mod.rs"]
mod laws;
mod seeds;

use libfuzzer_sys::fuzz_target;

fuzz_target!(
    init: seeds::write(&laws::inputs()),
    |input: &[u8]| {
        laws::check(input);
    }
);
