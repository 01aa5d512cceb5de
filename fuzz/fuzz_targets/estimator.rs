#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| {
    whitewater_bwe::fuzz::estimator(std::time::Instant::now(), data);
});
