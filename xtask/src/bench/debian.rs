//! Programs of Debian's packages that benchmarks compare with.

pub(crate) use jaco_lab::Program;
