//! The emqttd program.

fn main() {}
