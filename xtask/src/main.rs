//! Developer tasks of JACO.

fn main() {}
