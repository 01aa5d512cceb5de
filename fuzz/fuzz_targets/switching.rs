#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| {
    whitewater_engine::fuzz::switching(std::time::Instant::now(), data);
});
