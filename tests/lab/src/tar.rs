//! Tar archives of a few executable files: all that an image from scratch needs.

use anyhow::{Context, Result};

const BLOCK_BYTES: usize = 512;

/// An archive (POSIX ustar) with one file of mode 0755, owned by root and dated 1970.
///
/// A fixed date makes the same binary the same image.
pub(crate) fn single_file(name: &str, content: &[u8]) -> Result<Vec<u8>> {
    files(&[(name, content)])
}

/// An archive of several such files.
pub(crate) fn files(files: &[(&str, &[u8])]) -> Result<Vec<u8>> {
    let mut archive = Vec::new();
    for (name, content) in files {
        archive.extend_from_slice(&header(name, content.len())?);
        archive.extend_from_slice(content);
        archive.resize(archive.len().next_multiple_of(BLOCK_BYTES), 0);
    }
    archive.resize(archive.len() + 2 * BLOCK_BYTES, 0);
    Ok(archive)
}

fn header(name: &str, size: usize) -> Result<[u8; BLOCK_BYTES]> {
    let mut header = [0_u8; BLOCK_BYTES];
    let mut put = |at: usize, field: &[u8]| -> Result<()> {
        let space = header.get_mut(at..at + field.len()).context("tar field is too long")?;
        space.copy_from_slice(field);
        Ok(())
    };
    anyhow::ensure!(name.len() < 100, "the name is too long for a tar header");
    put(0, name.as_bytes())?;
    put(100, b"0000755\0")?;
    put(108, b"0000000\0")?;
    put(116, b"0000000\0")?;
    put(124, format!("{:011o}\0", size).as_bytes())?;
    put(136, b"00000000000\0")?;
    // The checksum counts its own field as spaces.
    put(148, b"        ")?;
    put(156, b"0")?;
    put(257, b"ustar\x0000")?;
    let sum: u32 = header.iter().map(|byte| u32::from(*byte)).sum();
    header[148..156].copy_from_slice(format!("{sum:06o}\0 ").as_bytes());
    Ok(header)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::Write;
    use std::process::{Command, Stdio};

    #[test]
    fn the_systems_tar_reads_the_archive() {
        let archive = single_file("probe", &[b'x'; 700]).unwrap();
        let mut tar = Command::new("tar")
            .args(["-tv", "--numeric-owner"])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        tar.stdin.take().unwrap().write_all(&archive).unwrap();
        let output = tar.wait_with_output().unwrap();
        let listing = String::from_utf8(output.stdout).unwrap();
        assert!(output.status.success());
        assert!(listing.starts_with("-rwxr-xr-x 0/0") && listing.ends_with("probe\n"), "{listing}");
        assert!(listing.contains(" 700 "), "{listing}");
    }
}
