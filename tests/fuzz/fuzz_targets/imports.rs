#![no_main]

use dieselwatch_fuzz::targets;

libfuzzer_sys::fuzz_target!(|data: &[u8]| targets::imports(data));
