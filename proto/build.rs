//! Generates the code of every protocol, and the descriptors for reflection. It needs no `protoc`.

use std::error::Error;
use std::path::PathBuf;
use std::{env, fs};

use prost::Message as _;

const PROTOCOLS: &[&str] = &[
    "dcp/connect/v1/connect.proto",
    "dcp/control/v1/control.proto",
    "dcp/gateway/v1/gateway.proto",
    "dcp/identity/v1/identity.proto",
    "dcp/runner/v1/runner.proto",
];

fn main() -> Result<(), Box<dyn Error>> {
    println!("cargo::rerun-if-changed=dcp");
    let descriptors = protox::compile(PROTOCOLS, ["."])?;
    let out = PathBuf::from(env::var("OUT_DIR")?);
    fs::write(out.join("descriptors.bin"), descriptors.encode_to_vec())?;
    tonic_prost_build::configure().compile_fds(descriptors)?;
    Ok(())
}
