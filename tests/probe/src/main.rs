//! Static test workload.

fn main() {}
