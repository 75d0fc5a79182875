//! What stands before everything else on a connection from a balancer.
//!
//! A decision must not change when more bytes come, must need no byte behind the header, and must come within the bound.
#![no_main]

// Only this file of the net crate: the rest of it would bring TLS, with its C code, into this build.
#[allow(dead_code)]
#[path = "../../crates/net/src/proxy.rs"]
mod proxy;

use libfuzzer_sys::fuzz_target;
use proxy::{MAX_HEADER, parse};

fuzz_target!(|input: &[u8]| {
    let whole = parse(input);
    match &whole {
        Ok(Some(header)) => {
            assert!(header.consumed <= input.len().min(MAX_HEADER));
            assert_eq!(parse(&input[..header.consumed]), whole);
            assert_eq!(header.source.is_some(), header.destination.is_some());
            for end in [0, header.consumed / 2, header.consumed - 1] {
                assert_eq!(parse(&input[..end]), Ok(None));
            }
        }
        Ok(None) => assert!(input.len() < MAX_HEADER),
        Err(_) => {
            let longer = [input, b"\r\n"].concat();
            assert_eq!(parse(&longer), whole);
        }
    }
});
