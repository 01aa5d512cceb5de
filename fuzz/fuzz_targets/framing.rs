#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| whitewater_rtp::fuzz::framing(data));
