//! As much of ELF as tells a static binary from one that needs a loader.

use anyhow::{Context, Result, ensure};

/// Program header type of the path to a dynamic loader.
const PT_INTERP: u32 = 3;

/// Whether a 64-bit little-endian ELF file asks for a dynamic loader.
pub(crate) fn has_interpreter(file: &[u8]) -> Result<bool> {
    // Magic number, then class 2 (64 bits) and byte order 1 (little).
    ensure!(file.starts_with(b"\x7fELF\x02\x01"), "not a 64-bit little-endian ELF file");
    let table = usize::try_from(u64::from_le_bytes(field(file, 32)?))?;
    let size = usize::from(u16::from_le_bytes(field(file, 54)?));
    let count = usize::from(u16::from_le_bytes(field(file, 56)?));
    for index in 0..count {
        let at = index.checked_mul(size).and_then(|offset| offset.checked_add(table));
        let kind = u32::from_le_bytes(field(file, at.context("wrong program header table")?)?);
        if kind == PT_INTERP {
            return Ok(true);
        }
    }
    Ok(false)
}

fn field<const N: usize>(file: &[u8], at: usize) -> Result<[u8; N]> {
    let bytes = file.get(at..).and_then(|rest| rest.first_chunk());
    bytes.copied().context("ELF file is cut off")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn elf(kinds: &[u32]) -> Vec<u8> {
        let mut file = vec![0; 64];
        file[..6].copy_from_slice(b"\x7fELF\x02\x01");
        file[32] = 64;
        file[54] = 56;
        file[56] = u8::try_from(kinds.len()).unwrap();
        for kind in kinds {
            file.extend_from_slice(&kind.to_le_bytes());
            file.extend_from_slice(&[0; 52]);
        }
        file
    }

    #[test]
    fn an_interpreter_is_seen() {
        assert!(!has_interpreter(&elf(&[1, 2])).unwrap());
        assert!(has_interpreter(&elf(&[6, PT_INTERP, 1])).unwrap());
    }

    #[test]
    fn other_files_are_refused() {
        assert!(has_interpreter(b"#!/bin/sh\n").is_err());
        let file = elf(&[1, 1]);
        assert!(has_interpreter(&file[..80]).is_err());
    }
}
