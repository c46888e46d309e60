//! The only place where the daemon draws randomness: seeds, ids and secrets.

use std::io;

/// Draws from the kernel.
#[derive(Clone, Copy, Debug, Default)]
pub struct Seeds;

impl Seeds {
    /// A 64-bit seed for a core's own generator.
    ///
    /// # Errors
    /// When the kernel gives no randomness.
    pub fn seed(self) -> io::Result<u64> {
        Ok(u64::from_le_bytes(self.bytes()?))
    }

    /// 128 random bits, for ids.
    ///
    /// # Errors
    /// When the kernel gives no randomness.
    pub fn id(self) -> io::Result<u128> {
        Ok(u128::from_le_bytes(self.bytes()?))
    }

    /// `N` random bytes, for keys.
    ///
    /// # Errors
    /// When the kernel gives no randomness.
    pub fn bytes<const N: usize>(self) -> io::Result<[u8; N]> {
        let mut bytes = [0; N];
        let mut filled = 0;
        while filled < N {
            let flags = rustix::rand::GetRandomFlags::empty();
            filled += rustix::rand::getrandom(&mut bytes[filled..], flags)?;
        }
        Ok(bytes)
    }
}
