//! A simulated disk and a scenario to run on it.

pub(crate) mod scenario;
pub(crate) mod sim_disk;
