//! Compiles the proto files in pure Rust (protox), so that no `protoc` has to be installed.

use std::path::PathBuf;
use std::{env, fs};

use prost::Message as _;

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let files =
        ["objects", "config", "sessions", "stats", "diagnose"].map(|file| format!("sluice/v1/{file}.proto"));
    println!("cargo:rerun-if-changed=proto");
    let descriptors = protox::compile(&files, ["proto"])?;
    // The same descriptors serve reflection.
    let out = PathBuf::from(env::var("OUT_DIR")?);
    fs::write(out.join("sluice.v1.bin"), descriptors.encode_to_vec())?;
    tonic_prost_build::configure().compile_fds(descriptors)?;
    Ok(())
}
