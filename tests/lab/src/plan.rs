//! Names, addresses and paths of a lab, all derived from its number.
//!
//! Teardown works from the number alone, so a lab can be removed whatever state its owner left.

use std::net::Ipv4Addr;
use std::ops::RangeInclusive;
use std::path::{Path, PathBuf};

/// Where the state of all labs lives; short, since socket paths are limited to 107 bytes.
pub(crate) const RUN_ROOT: &str = "/run/jaco-lab";

/// Where engines keep images and containers unless the caller says otherwise.
pub(crate) const DATA_ROOT: &str = "/var/lib/jaco-lab";

/// What may be mounted below these is a lab's.
pub(crate) const LAB_DIRECTORIES: [&str; 2] = [RUN_ROOT, DATA_ROOT];

/// Numbers a lab may have; the number is the third byte of its subnet.
pub const NUMBERS: RangeInclusive<u8> = 1..=250;

/// Largest number of hosts: the bridge itself has the address .254.
pub(crate) const HOSTS_MAX: u8 = 99;

/// A lab's number and where its data is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct LabPlan {
    pub(crate) number: u8,
    pub(crate) data_dir: PathBuf,
}

impl LabPlan {
    pub(crate) fn run_dir(&self) -> PathBuf {
        Path::new(RUN_ROOT).join(self.number.to_string())
    }

    /// Name of the bridge; interface names are limited to 15 bytes.
    pub(crate) fn bridge(&self) -> String {
        format!("jacolab{}", self.number)
    }

    pub(crate) fn bridge_address(&self) -> Ipv4Addr {
        Ipv4Addr::new(10, 213, self.number, 254)
    }

    /// Parent of all control groups of the lab's containers.
    pub(crate) fn cgroup(&self) -> String {
        format!("jacolab{}", self.number)
    }

    pub(crate) fn host(&self, index: u8) -> HostPlan {
        let name = format!("node-{index}");
        HostPlan {
            veth: format!("jacolab{}-{index}", self.number),
            address: Ipv4Addr::new(10, 213, self.number, index),
            run_dir: self.run_dir().join(&name),
            data_dir: self.data_dir.join(&name),
            cgroup: self.cgroup(),
            name,
        }
    }
}

/// What one host is called and where its things are.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct HostPlan {
    pub(crate) name: String,
    /// The end of the veth pair that is on the bridge.
    pub(crate) veth: String,
    pub(crate) address: Ipv4Addr,
    pub(crate) run_dir: PathBuf,
    pub(crate) data_dir: PathBuf,
    pub(crate) cgroup: String,
}

impl HostPlan {
    pub(crate) fn net_namespace(&self) -> PathBuf {
        self.run_dir.join("net")
    }

    pub(crate) fn uts_namespace(&self) -> PathBuf {
        self.run_dir.join("uts")
    }

    /// Where the file of the mount namespace is, on a mount of its own.
    pub(crate) fn mount_directory(&self) -> PathBuf {
        self.run_dir.join("mounts")
    }

    /// There only while the host has a mount namespace.
    pub(crate) fn mount_namespace(&self) -> PathBuf {
        self.mount_directory().join("mnt")
    }

    /// There when the engine shall leave its containers running.
    pub(crate) fn live_restore(&self) -> PathBuf {
        self.run_dir.join("live-restore")
    }

    pub(crate) fn docker_socket(&self) -> PathBuf {
        self.run_dir.join("docker.sock")
    }

    pub(crate) fn docker_pid_file(&self) -> PathBuf {
        self.run_dir.join("docker.pid")
    }

    pub(crate) fn containerd_socket(&self) -> PathBuf {
        self.run_dir.join("containerd.sock")
    }

    pub(crate) fn log(&self, daemon: &str) -> PathBuf {
        self.data_dir.join(format!("{daemon}.log"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_longest_names_fit_the_kernel() {
        let plan = LabPlan { number: *NUMBERS.end(), data_dir: DATA_ROOT.into() };
        let host = plan.host(HOSTS_MAX);
        assert!(plan.bridge().len() <= 15);
        assert!(host.veth.len() <= 15);
        assert!(host.docker_socket().as_os_str().len() <= 107);
        assert_eq!(host.address.to_string(), "10.213.250.99");
    }
}
