//! Forms and links in the payloads of emq_coap: what is read stays within its bounds, and a link that is written is read as
//! the same topic.
#![no_main]

#[allow(dead_code)]
#[path = "../../plugins/emq_coap/src/form.rs"]
mod form;
#[allow(dead_code)]
#[path = "../../plugins/emq_coap/src/link_format.rs"]
mod link_format;

use libfuzzer_sys::fuzz_target;

fuzz_target!(|input: &[u8]| {
    let fields: Vec<_> = form::fields(input).collect();
    let length: usize = fields
        .iter()
        .map(|(name, value)| name.len() + value.len())
        .sum();
    assert!(fields.len() <= 16 && length <= input.len());
    assert!(form::decode(input).len() <= input.len());
    let Ok(text) = std::str::from_utf8(input) else {
        return;
    };
    if let Some(link) = link_format::parse_one(text) {
        assert!(link.attributes.len() <= 32 && link.target.len() < text.len());
    }
    let mut written = String::new();
    link_format::write_topic(&mut written, text, Some(42));
    let link = link_format::parse_one(&written).expect("a link");
    assert_eq!(link.attribute("ct"), Some("42"));
    let name = link.target.strip_prefix("/ps/").expect("a topic");
    assert_eq!(form::decode(name.as_bytes()), input);
});
