//! Conformance table.
fn main() {}
