//! The test image as a file that an engine loads: equal bytes, so every engine gives it equal ids.
//!
//! An import would not do: the engine then writes the image's configuration, with the time in it.

use std::path::Path;
use std::thread;

use anyhow::{Result, bail};
use serde_json::json;
use sha2::{Digest, Sha256};

use crate::lab::Lab;
use crate::tar;

/// The archive of an image from scratch whose only file is `/probe`, also its entrypoint.
pub(crate) fn archive(binary: &[u8], tag: &str) -> Result<Vec<u8>> {
    archive_of(&[("probe", binary)], tag)
}

/// As [`archive`], with these files.
fn archive_of(files: &[(&str, &[u8])], tag: &str) -> Result<Vec<u8>> {
    let layer = tar::files(files)?;
    let config = json!({
        "architecture": "amd64",
        "os": "linux",
        "created": "1970-01-01T00:00:00Z",
        "config": { "Entrypoint": ["/probe"] },
        "rootfs": { "type": "layers", "diff_ids": [format!("sha256:{}", hex(&layer))] },
        "history": [{ "created": "1970-01-01T00:00:00Z", "created_by": "jaco lab" }],
    })
    .to_string();
    let config_name = format!("{}.json", hex(config.as_bytes()));
    let tag = if tag.contains(':') { tag.to_owned() } else { format!("{tag}:latest") };
    let manifest =
        json!([{ "Config": config_name, "RepoTags": [tag], "Layers": ["layer.tar"] }]).to_string();
    tar::files(&[
        ("manifest.json", manifest.as_bytes()),
        (&config_name, config.as_bytes()),
        ("layer.tar", &layer),
    ])
}

fn hex(content: &[u8]) -> String {
    Sha256::digest(content).iter().map(|byte| format!("{byte:02x}")).collect()
}

impl Lab {
    /// Gives every host's engine the static binary at `path` as the image `tag`, under the same id
    /// everywhere. The binary is `/probe`, which is also the entrypoint.
    ///
    /// # Errors
    /// When the file cannot be read or an engine refuses the image.
    pub fn import_probe_everywhere(&self, path: &Path, tag: &str) -> Result<()> {
        self.load_everywhere(&archive(&std::fs::read(path)?, tag)?)
    }

    /// As [`Lab::import_probe_everywhere`], with these files by path, of which one is `probe`.
    ///
    /// # Errors
    /// When an engine refuses the image.
    pub fn import_files_everywhere(&self, files: &[(String, Vec<u8>)], tag: &str) -> Result<()> {
        let files: Vec<(&str, &[u8])> =
            files.iter().map(|(path, content)| (path.as_str(), content.as_slice())).collect();
        self.load_everywhere(&archive_of(&files, tag)?)
    }

    fn load_everywhere(&self, archive: &[u8]) -> Result<()> {
        thread::scope(|scope| {
            let load = |host: &crate::Host| host.engine().load(archive);
            let loads: Vec<_> =
                self.hosts().iter().map(|host| scope.spawn(move || load(host))).collect();
            loads.into_iter().try_for_each(|load| match load.join() {
                Ok(outcome) => outcome,
                Err(_) => bail!("loading an image panicked"),
            })
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn equal_binaries_are_equal_archives() {
        let text = |binary: &[u8], tag| {
            String::from_utf8_lossy(&archive(binary, tag).unwrap()).into_owned()
        };
        assert_eq!(text(b"x", "a:b"), text(b"x", "a:b"));
        assert_ne!(text(b"x", "a:b"), text(b"y", "a:b"));
        assert!(text(b"x", "name").contains(r#""RepoTags":["name:latest"]"#));
        assert_eq!(hex(b""), "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855");
    }
}
