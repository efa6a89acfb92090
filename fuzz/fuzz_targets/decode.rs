#![no_main]

libfuzzer_sys::fuzz_target!(|input: &[u8]| trailhose_fuzz::oracle::decode::check(input));
