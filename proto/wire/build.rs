//! Generates the protobuf types of this crate from `proto/`.

fn main() -> std::io::Result<()> {
    let files = ["proto/log.proto", "proto/peer.proto", "proto/snapshot.proto"];
    prost_build::compile_protos(&files, &["proto"])
}
