#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| input_tests::targets::run("car", bytes));
