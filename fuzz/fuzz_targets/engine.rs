#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| {
    whitewater_engine::fuzz::engine(std::time::Instant::now(), data);
});
