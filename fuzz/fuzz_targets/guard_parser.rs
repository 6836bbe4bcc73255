//! Hostile ZMTP in any pieces: `transport/src/guard/laws.rs` says what must hold. The parser is pure, so it is compiled here by itself:
//! nothing of `fractally-transport` becomes public for it, and neither the ZeroMQ library nor a runtime is built.

#![no_main]

#[path = "../../transport/src/guard/laws.rs"]
#[allow(dead_code, reason = "unit tests use the rest")]
mod laws;
#[path = "../../transport/src/guard/parser.rs"]
#[allow(dead_code, reason = "the guard uses the rest")]
mod parser;
mod seeds;
#[path = "../../transport/src/guard/zmtp.rs"]
#[allow(dead_code, reason = "the guard uses the rest")]
mod zmtp;

use libfuzzer_sys::fuzz_target;

fuzz_target!(
    init: seeds::write(&laws::inputs()),
    |input: &[u8]| {
        laws::check_input(input);
    }
);
