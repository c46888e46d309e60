//! A cursor over untrusted bytes that cannot run past their end.

use crate::Error;

/// Reads little-endian fields in order; every overrun is a typed error.
pub(crate) struct Reader<'a> {
    bytes: &'a [u8],
    offset: usize,
}

impl<'a> Reader<'a> {
    pub(crate) fn new(bytes: &'a [u8]) -> Reader<'a> {
        Reader { bytes, offset: 0 }
    }

    /// Bytes from the start to the next field.
    pub(crate) fn offset(&self) -> usize {
        self.offset
    }

    pub(crate) fn is_at_end(&self) -> bool {
        self.offset == self.bytes.len()
    }

    /// The next `count` bytes, borrowed, so a hostile length allocates nothing.
    pub(crate) fn take(&mut self, what: &'static str, count: u64) -> Result<&'a [u8], Error> {
        let truncated = Error::Truncated { what, offset: self.offset, len: self.bytes.len() };
        let Some(end) = usize::try_from(count).ok().and_then(|n| self.offset.checked_add(n)) else {
            return Err(truncated);
        };
        let Some(slice) = self.bytes.get(self.offset..end) else { return Err(truncated) };
        self.offset = end;
        Ok(slice)
    }

    pub(crate) fn u16(&mut self, what: &'static str) -> Result<u16, Error> {
        Ok(u16::from_le_bytes(self.array(what)?))
    }

    pub(crate) fn u32(&mut self, what: &'static str) -> Result<u32, Error> {
        Ok(u32::from_le_bytes(self.array(what)?))
    }

    pub(crate) fn u64(&mut self, what: &'static str) -> Result<u64, Error> {
        Ok(u64::from_le_bytes(self.array(what)?))
    }

    fn array<const N: usize>(&mut self, what: &'static str) -> Result<[u8; N], Error> {
        let offset = self.offset;
        let slice = self.take(what, N as u64)?;
        slice.try_into().map_err(|_| Error::Truncated { what, offset, len: self.bytes.len() })
    }
}
