//! The generated protobuf types, private to this crate.
//!
//! Callers see plain structs, so a change of the code generator stays inside these walls.

#![expect(unreachable_pub, reason = "the generator knows only one visibility")]

pub(crate) mod log {
    include!(concat!(env!("OUT_DIR"), "/jaco.log.v1.rs"));
}

pub(crate) mod peer {
    include!(concat!(env!("OUT_DIR"), "/jaco.peer.v1.rs"));
}

pub(crate) mod snapshot {
    include!(concat!(env!("OUT_DIR"), "/jaco.snapshot.v1.rs"));
}
