//! A ClientHello, and records after it, each with a length of two bytes: handshakes of emq_coap's DTLS neither panic
//! nor keep more than they may, and nobody gets in who knows no key.
#![no_main]

#[allow(dead_code)]
#[path = "."]
mod dtls {
    #[path = "../../plugins/emq_coap/src/dtls/handshake.rs"]
    pub mod handshake;
    #[path = "../../plugins/emq_coap/src/dtls/message.rs"]
    pub mod message;
    #[path = "../../plugins/emq_coap/src/dtls/psk.rs"]
    pub mod psk;
    #[path = "../../plugins/emq_coap/src/dtls/secrets.rs"]
    pub mod secrets;
    #[path = "../../plugins/emq_coap/src/dtls/signature.rs"]
    pub mod signature;
    #[path = "../../plugins/emq_coap/src/dtls/suite.rs"]
    pub mod suite;

    use handshake::{Handshake, Offer};
    use message::{ClientHello, Reader};
    use psk::Keys;
    use std::sync::{Arc, OnceLock};
    use suite::HEADER;

    pub fn run(input: &[u8]) {
        static OFFER: OnceLock<Arc<Offer>> = OnceLock::new();
        let offer = OFFER.get_or_init(|| {
            let keys = Keys::parse("device:00112233").expect("is a key");
            Arc::new(Offer {
                credentials: None,
                keys: Arc::new(keys),
            })
        });
        let _ = Keys::parse(&String::from_utf8_lossy(input));
        let mut reader = Reader(input);
        let Some(hello) = reader.vec16() else { return };
        let Some((number, fragment, hello)) = ClientHello::of_datagram(hello) else {
            return;
        };
        let Ok(mut handshake) = Handshake::begin(offer, number, &fragment, &hello) else {
            return;
        };
        let flight = handshake.flight();
        assert!(!flight.is_empty() && flight.iter().all(|datagram| datagram.len() <= 1200));
        while let Some(record) = reader.vec16() {
            let mut record = record.to_vec();
            if record.len() < HEADER {
                continue;
            }
            let step = match record[4] {
                0 => handshake.plain(Reader(&record[HEADER..])),
                _ => handshake.secret(&mut record),
            };
            match step {
                Ok(None) => {}
                Ok(Some(_)) => panic!("somebody is in"),
                Err(_) => return,
            }
        }
    }
}

libfuzzer_sys::fuzz_target!(|input: &[u8]| dtls::run(input));
