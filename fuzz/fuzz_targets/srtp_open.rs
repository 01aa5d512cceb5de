#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| whitewater_srtp::fuzz::srtp_open(data));
