//! The emqttd-ctl program.

fn main() {}
