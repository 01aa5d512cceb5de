#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| {
    whitewater_data::fuzz::dcep(data);
    whitewater_data::fuzz::packets(std::time::Instant::now(), data);
});
