//! Compiles the `.proto` files: no `protoc` is needed.

use std::error::Error;
use std::path::PathBuf;

const FILES: [&str; 6] = [
    "breccia/v1/key_value.proto",
    "breccia/v1/tables.proto",
    "breccia/v1/import.proto",
    "breccia/v1/admin.proto",
    "breccia/v1/sql.proto",
    "breccia/v1/functions.proto",
];

fn main() -> Result<(), Box<dyn Error>> {
    println!("cargo:rerun-if-changed=proto");
    let mut compiler = protox::Compiler::new(["proto"])?;
    compiler.include_imports(true).include_source_info(true).open_files(FILES)?;

    let set = PathBuf::from(std::env::var("OUT_DIR")?).join("breccia.bin");
    std::fs::write(set, compiler.encode_file_descriptor_set())?;
    tonic_prost_build::configure()
        .bytes(".breccia.v1")
        .compile_fds(compiler.file_descriptor_set())?;
    Ok(())
}
