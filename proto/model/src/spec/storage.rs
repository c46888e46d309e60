//! Volumes of a deployment and what a container mounts.

use crate::Millis;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// One named volume of a deployment.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct VolumeSpec {
    /// The engine's name for it; already `jaco_<deployment>_<key>` unless the user chose one.
    pub name: String,
    /// Must exist; never created or removed.
    pub external: bool,
    /// Driver; `local` is Docker's own.
    pub driver: String,
    /// Driver options.
    pub driver_opts: BTreeMap<String, String>,
    /// User labels.
    pub labels: BTreeMap<String, String>,
    /// One volume for each replica index, with the suffix `_<index>`.
    pub per_replica: bool,
    /// Whether a lost node's volume is replaced by an empty one, after this grace.
    pub recreate_after: Option<Millis>,
}

impl VolumeSpec {
    /// Whether the data lives on one node: the local driver without a network file system.
    pub fn is_node_local(&self) -> bool {
        let network = matches!(
            self.driver_opts.get("type").map(String::as_str),
            Some("nfs" | "nfs4" | "cifs")
        );
        self.driver == "local" && !network
    }
}

/// One mount of a container.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Mount {
    /// What is mounted.
    pub kind: MountKind,
    /// Absolute path in the container.
    pub target: String,
    /// No writes.
    pub read_only: bool,
}

/// What a mount shows.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", tag = "kind")]
pub enum MountKind {
    /// A named volume of the deployment.
    Volume {
        /// Compose key of the volume.
        volume: String,
        /// Do not copy the image's files into an empty volume.
        no_copy: bool,
        /// Only this directory of the volume.
        subpath: Option<String>,
    },
    /// A volume of this replica alone, removed with it.
    Anonymous,
    /// A path of the host.
    Bind {
        /// Absolute path on the host.
        source: String,
        /// Make the directory when it is missing.
        create_host_path: bool,
        /// Mount propagation.
        propagation: Option<String>,
        /// Whether mounts below the source are not shown (`disabled`), or read-only as well.
        recursive: Option<String>,
        /// SELinux relabelling: `z` or `Z`.
        selinux: Option<String>,
    },
    /// Memory.
    Tmpfs {
        /// Size in bytes.
        size: Option<i64>,
        /// Permission bits.
        mode: Option<u32>,
    },
    /// The files of an image (engine API 1.48 and later).
    Image {
        /// Image reference.
        image: String,
        /// Only this directory of the image.
        subpath: Option<String>,
    },
}
