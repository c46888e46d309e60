//! An archive that the kernel unpacks as its first file system: cpio in the "newc" form, as in the
//! kernel's `Documentation/driver-api/early-userspace/buffer-format.rst`.

use std::collections::BTreeSet;
use std::io::{self, Write};
use std::path::{Component, Path, PathBuf};

const DIRECTORY: u32 = 0o040_755;
const PROGRAM: u32 = 0o100_755;
const LINK: u32 = 0o120_777;

/// An archive that is written entry by entry. Directories come by themselves.
#[derive(Debug)]
pub(super) struct Archive<W> {
    to: W,
    entries: u32,
    directories: BTreeSet<PathBuf>,
}

impl<W: Write> Archive<W> {
    pub(super) fn new(to: W) -> Archive<W> {
        Archive { to, entries: 0, directories: BTreeSet::new() }
    }

    /// A directory and those above it; does nothing when they are there.
    pub(super) fn directory(&mut self, path: &str) -> io::Result<()> {
        let mut at = PathBuf::new();
        for part in Path::new(path).components() {
            if let Component::Normal(part) = part {
                at.push(part);
                if self.directories.insert(at.clone()) {
                    self.entry(&at.to_string_lossy(), DIRECTORY, &[])?;
                }
            }
        }
        Ok(())
    }

    /// A file that can be executed: the mode of all files in a guest.
    pub(super) fn file(&mut self, path: &str, content: &[u8]) -> io::Result<()> {
        self.parent(path)?;
        self.entry(path, PROGRAM, content)
    }

    /// A symbolic link.
    pub(super) fn link(&mut self, path: &str, to: &str) -> io::Result<()> {
        self.parent(path)?;
        self.entry(path, LINK, to.as_bytes())
    }

    /// Ends the archive.
    pub(super) fn finish(mut self) -> io::Result<()> {
        self.entry("TRAILER!!!", 0, &[])?;
        self.to.flush()
    }

    fn parent(&mut self, path: &str) -> io::Result<()> {
        match Path::new(path).parent() {
            Some(parent) => self.directory(&parent.to_string_lossy()),
            None => Ok(()),
        }
    }

    fn entry(&mut self, path: &str, mode: u32, content: &[u8]) -> io::Result<()> {
        self.entries += 1;
        let size = u32::try_from(content.len()).map_err(io::Error::other)?;
        let name = path.trim_start_matches('/');
        let name_size = u32::try_from(name.len() + 1).map_err(io::Error::other)?;
        // Number, mode, user, group, links, time, size, two devices of two numbers, name, sum.
        let fields = [self.entries, mode, 0, 0, 1, 0, size, 0, 0, 0, 0, name_size, 0];
        self.to.write_all(b"070701")?;
        for field in fields {
            write!(self.to, "{field:08x}")?;
        }
        self.to.write_all(name.as_bytes())?;
        self.to.write_all(b"\0")?;
        self.pad(110 + name.len() + 1)?;
        self.to.write_all(content)?;
        self.pad(content.len())
    }

    /// Names and contents begin at multiples of four bytes.
    fn pad(&mut self, length: usize) -> io::Result<()> {
        let zeros = [0; 3];
        self.to.write_all(&zeros[..length.next_multiple_of(4) - length])
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Names and contents, read by the length fields.
    fn read(mut bytes: &[u8]) -> Vec<(String, String)> {
        let mut entries = Vec::new();
        while !bytes.is_empty() {
            assert!(bytes.starts_with(b"070701"));
            let field = |at: usize| {
                let digits = std::str::from_utf8(&bytes[6 + at * 8..14 + at * 8]).unwrap();
                usize::from_str_radix(digits, 16).unwrap()
            };
            let (size, name_size) = (field(6), field(11));
            let name = String::from_utf8(bytes[110..110 + name_size - 1].to_vec()).unwrap();
            let start = (110 + name_size).next_multiple_of(4);
            let content = String::from_utf8(bytes[start..start + size].to_vec()).unwrap();
            entries.push((name, content));
            bytes = &bytes[(start + size).next_multiple_of(4)..];
        }
        entries
    }

    #[test]
    fn entries_are_aligned_and_directories_come_once() {
        let mut bytes = Vec::new();
        let mut archive = Archive::new(&mut bytes);
        archive.file("/bin/a", b"12345").unwrap();
        archive.link("bin/b", "a").unwrap();
        archive.directory("x/y").unwrap();
        archive.finish().unwrap();
        let entry = |name: &str, content: &str| (name.to_owned(), content.to_owned());
        let wanted = [
            entry("bin", ""),
            entry("bin/a", "12345"),
            entry("bin/b", "a"),
            entry("x", ""),
            entry("x/y", ""),
            entry("TRAILER!!!", ""),
        ];
        assert_eq!(read(&bytes), wanted);
    }
}
