//! Netlink attributes: type, length, value, padded to four bytes (linux/netlink.h).

/// The attribute holds attributes: `NLA_F_NESTED`.
const NESTED: u16 = 0x8000;

/// The bits of an attribute's type: `NLA_TYPE_MASK`.
const TYPE: u16 = 0x3fff;

/// Bytes in front of an attribute's value.
const HEADER: usize = 4;

/// Attributes in the making.
#[derive(Debug, Default)]
pub(crate) struct Body(pub(crate) Vec<u8>);

impl Body {
    /// Adds an attribute.
    pub(crate) fn bytes(&mut self, kind: u16, value: &[u8]) -> &mut Body {
        self.begin(kind, value.len() + HEADER);
        self.0.extend_from_slice(value);
        self.pad()
    }

    /// Adds a number in network byte order, as nftables wants them.
    pub(crate) fn number(&mut self, kind: u16, value: u32) -> &mut Body {
        self.bytes(kind, &value.to_be_bytes())
    }

    /// Adds a text with a zero at its end.
    pub(crate) fn text(&mut self, kind: u16, value: &str) -> &mut Body {
        let mut bytes = value.as_bytes().to_vec();
        bytes.push(0);
        self.bytes(kind, &bytes)
    }

    /// Adds an attribute that holds others.
    pub(crate) fn nest(&mut self, kind: u16, fill: impl FnOnce(&mut Body)) -> &mut Body {
        let at = self.0.len();
        self.begin(kind | NESTED, HEADER);
        fill(self);
        let len = length(self.0.len() - at).to_ne_bytes();
        for (to, from) in self.0.iter_mut().skip(at).zip(len) {
            *to = from;
        }
        self
    }

    fn begin(&mut self, kind: u16, len: usize) {
        self.0.extend_from_slice(&length(len).to_ne_bytes());
        self.0.extend_from_slice(&kind.to_ne_bytes());
    }

    fn pad(&mut self) -> &mut Body {
        self.0.resize(self.0.len().next_multiple_of(4), 0);
        self
    }
}

/// A length that does not fit is never sent: callers cut long lists. The kernel would refuse it.
fn length(len: usize) -> u16 {
    debug_assert!(len <= usize::from(u16::MAX), "an attribute of {len} bytes");
    u16::try_from(len).unwrap_or(u16::MAX)
}

/// The attributes of a message or of an attribute.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Attributes<'a>(&'a [u8]);

/// Reads attributes; ends at the first that is damaged.
pub(crate) fn attributes(bytes: &[u8]) -> Attributes<'_> {
    Attributes(bytes)
}

impl<'a> Iterator for Attributes<'a> {
    type Item = (u16, &'a [u8]);

    fn next(&mut self) -> Option<(u16, &'a [u8])> {
        let &[a, b, c, d, ..] = self.0 else { return None };
        let len = usize::from(u16::from_ne_bytes([a, b]));
        let value = self.0.get(HEADER..len)?;
        self.0 = self.0.get(len.next_multiple_of(4)..).unwrap_or_default();
        Some((u16::from_ne_bytes([c, d]) & TYPE, value))
    }
}

/// The first attribute of a type.
pub(crate) fn find(bytes: &[u8], kind: u16) -> Option<&[u8]> {
    attributes(bytes).find(|(found, _)| *found == kind).map(|(_, value)| value)
}

/// The number in an attribute's value.
pub(crate) fn number(value: &[u8]) -> Option<u32> {
    value.try_into().ok().map(u32::from_be_bytes)
}

/// The text in an attribute's value.
pub(crate) fn text(value: &[u8]) -> String {
    let end = value.iter().position(|byte| *byte == 0).unwrap_or(value.len());
    String::from_utf8_lossy(value.get(..end).unwrap_or_default()).into_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_written_is_read() {
        let mut body = Body::default();
        body.text(1, "jaco").nest(2, |inner| {
            inner.number(3, 77).bytes(4, &[1, 2, 3]);
        });
        assert_eq!(find(&body.0, 1).map(text).as_deref(), Some("jaco"));
        let inner = find(&body.0, 2).unwrap();
        assert_eq!(find(inner, 3).and_then(number), Some(77));
        assert_eq!(find(inner, 4), Some(&[1, 2, 3][..]));
        assert_eq!(body.0.len() % 4, 0);
    }

    #[test]
    fn damaged_attributes_end_the_list() {
        for bytes in [&[][..], &[1, 0, 0, 0], &[0, 0, 1, 0, 9], &[200, 0, 1, 0, 9], &[8, 0, 1]] {
            assert_eq!(attributes(bytes).count(), 0, "{bytes:?}");
        }
    }
}
