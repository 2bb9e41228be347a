//! The `dcp` binary.
fn main() {}
