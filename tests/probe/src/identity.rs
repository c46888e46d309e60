//! Who this process is: the facts by which a test tells replicas and generations apart.

use std::fs;

/// Host name and an id that is new with every start of the process.
#[derive(Debug, Clone)]
pub(crate) struct Identity {
    pub(crate) hostname: String,
    pub(crate) instance: String,
}

impl Identity {
    /// Reads both from the kernel, since an image of one file has no tools to ask.
    pub(crate) fn read() -> Self {
        Self {
            hostname: line_of("/proc/sys/kernel/hostname"),
            instance: line_of("/proc/sys/kernel/random/uuid"),
        }
    }
}

fn line_of(path: &str) -> String {
    fs::read_to_string(path).map_or_else(|_| "unknown".to_owned(), |text| text.trim().to_owned())
}
