//! Whatever a request asks for: `proto/tests/laws/request.rs` says what must hold.

#![no_main]

#[path = "../../proto/tests/laws/mod.rs"]
#[allow(dead_code, unused_imports, reason = "another target uses the rest")]
mod laws;
mod seeds;

use libfuzzer_sys::fuzz_target;

fuzz_target!(
    init: seeds::write(&laws::request_inputs()),
    |input: &[u8]| {
        laws::check_request(input);
    }
);
