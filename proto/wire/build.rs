//! Generates the protobuf types of this crate from `proto/`.

fn main() -> std::io::Result<()> {
    prost_build::compile_protos(&["proto/log.proto", "proto/snapshot.proto"], &["proto"])
}
