//! Names as they are looked up: labels with their lengths, in lower case, without the root.
//!
//! A text of dots would be ambiguous, since a label of a query may contain any byte. So keys are
//! in the form of RFC 1035 §3.1: `web.shop` is `\x03web\x04shop`.

/// Bytes of the longest name without the root's zero.
const LONGEST: usize = 254;
/// Bytes of the longest label.
const LABEL_MAX: usize = 63;
/// More labels than any name can have.
const LABELS_MAX: usize = 128;

/// A name of a table.
pub(crate) type Key = Box<[u8]>;

/// The key of a dotted text; `None` for what cannot be a name of DNS.
pub(crate) fn key(text: &str) -> Option<Key> {
    let mut bytes = Vec::with_capacity(text.len() + 1);
    for label in text.split('.') {
        if label.is_empty() || label.len() > LABEL_MAX {
            return None;
        }
        bytes.push(label.len() as u8);
        bytes.extend(label.bytes().map(|byte| byte.to_ascii_lowercase()));
    }
    (bytes.len() <= LONGEST).then(|| bytes.into_boxed_slice())
}

/// The name of a question, in lower case.
#[derive(Clone)]
pub struct QueryName {
    bytes: [u8; LONGEST],
    len: usize,
    /// Where each label begins.
    starts: [u8; LABELS_MAX],
    labels: usize,
}

impl QueryName {
    /// Reads a name from the start of `wire`. Returns it and how many bytes it took, the root's
    /// zero included; `None` for a name that is too long, cut off or compressed.
    pub(crate) fn read(wire: &[u8]) -> Option<(QueryName, usize)> {
        let mut name =
            QueryName { bytes: [0; LONGEST], len: 0, starts: [0; LABELS_MAX], labels: 0 };
        loop {
            let length = usize::from(*wire.get(name.len)?);
            if length == 0 {
                break;
            }
            let end = name.len + 1 + length;
            if length > LABEL_MAX || end > LONGEST {
                return None;
            }
            let label = wire.get(name.len..end)?;
            let target = &mut name.bytes[name.len..end];
            target.copy_from_slice(label);
            // The length is below 64 and no letter, so it stays as it is.
            target.make_ascii_lowercase();
            name.starts[name.labels] = name.len as u8;
            name.labels += 1;
            name.len = end;
        }
        let taken = name.len + 1;
        Some((name, taken))
    }

    /// The name of a dotted text.
    pub fn from_text(text: &str) -> Option<QueryName> {
        let text = text.strip_suffix('.').unwrap_or(text);
        let mut wire = if text.is_empty() { Vec::new() } else { key(text)?.into_vec() };
        wire.push(0);
        QueryName::read(&wire).map(|(name, _)| name)
    }

    /// The key to look up.
    pub(crate) fn as_key(&self) -> &[u8] {
        &self.bytes[..self.len]
    }

    /// How many labels it has; 0 is the root.
    pub(crate) fn labels(&self) -> usize {
        self.labels
    }

    /// Where the last `count` labels begin, from the start of the name.
    pub(crate) fn tail_start(&self, count: usize) -> usize {
        match count.min(self.labels) {
            0 => self.len,
            count => usize::from(self.starts[self.labels - count]),
        }
    }

    /// The last `count` labels as a key.
    pub(crate) fn tail(&self, count: usize) -> &[u8] {
        &self.as_key()[self.tail_start(count)..]
    }

    /// One label, counted from the left, without its length.
    pub(crate) fn label(&self, at: usize) -> &[u8] {
        if at >= self.labels {
            return &[];
        }
        let start = usize::from(self.starts[at]);
        let end = start + 1 + usize::from(self.bytes[start]);
        &self.bytes[start + 1..end]
    }
}

impl std::fmt::Debug for QueryName {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        for at in 0..self.labels {
            let dot = if at == 0 { "" } else { "." };
            write!(f, "{dot}{}", self.label(at).escape_ascii())?;
        }
        if self.labels == 0 { f.write_str(".") } else { Ok(()) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_is_read_in_lower_case_with_its_labels() {
        let (name, taken) = QueryName::read(b"\x03WeB\x04Shop\0rest").unwrap();
        assert_eq!(name.as_key(), b"\x03web\x04shop");
        assert_eq!(taken, 10);
        assert_eq!(name.labels(), 2);
        assert_eq!(name.tail(1), b"\x04shop");
        assert_eq!(
            (name.label(0), name.label(1), name.label(2)),
            (&b"web"[..], &b"shop"[..], &b""[..])
        );
        assert_eq!(*name.as_key(), *key("web.shop").unwrap());
    }

    #[test]
    fn what_is_no_name_is_refused() {
        let long_label = [&[64][..], &[b'a'; 64], &[0]].concat();
        let pointer = vec![0xc0, 12];
        let cut = b"\x03we".to_vec();
        let endless = b"\x01a".repeat(200);
        for wire in [long_label, pointer, cut, endless, Vec::new()] {
            assert!(QueryName::read(&wire).is_none(), "{wire:?}");
        }
        for text in ["", "a..b", ".a", &"a".repeat(64), &"abc.".repeat(70)] {
            assert!(key(text).is_none(), "{text}");
        }
    }

    #[test]
    fn the_longest_name_is_read() {
        let mut wire = b"\x3e".to_vec();
        wire.extend([b'a'; 62]);
        for _ in 0..3 {
            wire.push(63);
            wire.extend([b'b'; 63]);
        }
        assert_eq!(wire.len(), 255);
        wire[0] = 61;
        wire.remove(1);
        wire.push(0);
        let (name, taken) = QueryName::read(&wire).unwrap();
        assert_eq!((name.labels(), taken), (4, 255));
        assert_eq!(QueryName::from_text(".").unwrap().labels(), 0);
    }
}
