//! Closed key tables: which keys a map may have and what becomes of each.
//!
//! One table per kind of map is the only list of keys: it refuses unknown ones, suggests a near
//! one, and is what `jaco validate -v` prints.

/// What becomes of a field.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Treatment {
    /// Honoured.
    Honoured,
    /// Resolved by the client before anything is sent.
    Client,
    /// Accepted without effect.
    Silent,
    /// Ignored with a warning.
    Ignored,
    /// Honoured behind admission.
    Gated,
    /// Refused.
    Refused,
}

impl Treatment {
    /// The word that `jaco validate -v` prints.
    pub const fn as_str(self) -> &'static str {
        match self {
            Treatment::Honoured => "honoured",
            Treatment::Client => "resolved",
            Treatment::Silent => "no effect",
            Treatment::Ignored => "ignored",
            Treatment::Gated => "privileged",
            Treatment::Refused => "refused",
        }
    }
}

/// One known key of a map.
#[derive(Clone, Copy, Debug)]
pub(super) struct Key {
    pub(super) name: &'static str,
    pub(super) treatment: Treatment,
    /// Why it is ignored or refused and what to do instead; the modern spelling of a legacy key.
    pub(super) note: &'static str,
    pub(super) legacy: bool,
}

/// The keys of one kind of map.
#[derive(Clone, Copy, Debug)]
pub(super) struct Schema {
    pub(super) keys: &'static [Key],
    /// Whether `x-…` keys are allowed, as everywhere in compose files.
    pub(super) extensions: bool,
}

/// A map of a compose file.
pub(super) const fn compose(keys: &'static [Key]) -> Schema {
    Schema { keys, extensions: true }
}

/// A map of jaco.yaml or x-jaco.
pub(super) const fn closed(keys: &'static [Key]) -> Schema {
    Schema { keys, extensions: false }
}

const fn key(name: &'static str, treatment: Treatment, note: &'static str) -> Key {
    Key { name, treatment, note, legacy: false }
}

/// Honoured.
pub(super) const fn h(name: &'static str) -> Key {
    key(name, Treatment::Honoured, "")
}

/// Honoured, with a remark.
pub(super) const fn hn(name: &'static str, note: &'static str) -> Key {
    key(name, Treatment::Honoured, note)
}

/// Resolved by the client.
pub(super) const fn c(name: &'static str) -> Key {
    key(name, Treatment::Client, "")
}

/// Accepted without effect.
pub(super) const fn s(name: &'static str) -> Key {
    key(name, Treatment::Silent, "")
}

/// Ignored with a warning.
pub(super) const fn w(name: &'static str, why: &'static str) -> Key {
    key(name, Treatment::Ignored, why)
}

/// Honoured behind admission.
pub(super) const fn g(name: &'static str) -> Key {
    key(name, Treatment::Gated, "")
}

/// Refused: why, and what to do instead.
pub(super) const fn r(name: &'static str, why: &'static str) -> Key {
    key(name, Treatment::Refused, why)
}

/// A spelling of an old file format and its modern one.
pub(super) const fn legacy(name: &'static str, modern: &'static str) -> Key {
    Key { name, treatment: Treatment::Refused, note: modern, legacy: true }
}

impl Schema {
    pub(super) fn find(&self, name: &str) -> Option<&'static Key> {
        self.keys.iter().find(|key| key.name == name)
    }

    /// The keys that may be written.
    pub(super) fn usable(&self) -> impl Iterator<Item = &'static str> {
        let usable = |key: &&Key| key.treatment != Treatment::Refused;
        self.keys.iter().filter(usable).map(|key| key.name)
    }
}

/// The candidate closest to `word`: within two edits, or within a third of the candidate's
/// length, and never so far that nothing of the word is left.
pub(super) fn nearest<'c>(
    word: &str,
    candidates: impl IntoIterator<Item = &'c str>,
) -> Option<String> {
    let near = |candidate: &'c str| {
        let length = candidate.chars().count();
        let limit = (length / 3).max(2).min(length.saturating_sub(1) / 2 + 1);
        if length.abs_diff(word.chars().count()) > limit {
            return None;
        }
        let edits = distance(word, candidate);
        (edits > 0 && edits <= limit && edits < length.min(word.chars().count()))
            .then_some((edits, candidate))
    };
    candidates.into_iter().filter_map(near).min().map(|(_, candidate)| candidate.to_owned())
}

/// Edits between two words: insert, delete, replace, or swap of two neighbours.
fn distance(a: &str, b: &str) -> usize {
    const LONGEST: usize = 64;
    let a: Vec<char> = a.chars().take(LONGEST).collect();
    let b: Vec<char> = b.chars().take(LONGEST).collect();
    let mut before: Vec<usize> = Vec::new();
    let mut above: Vec<usize> = (0..=b.len()).collect();
    for (i, x) in a.iter().enumerate() {
        let mut row = vec![i + 1];
        for (j, y) in b.iter().enumerate() {
            let replace = above[j] + usize::from(x != y);
            let mut best = replace.min(above[j + 1] + 1).min(row[j] + 1);
            if i > 0 && j > 0 && *x == b[j - 1] && a[i - 1] == *y {
                best = best.min(before[j - 1] + 1);
            }
            row.push(best);
        }
        before = std::mem::replace(&mut above, row);
    }
    above[b.len()]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn near_words_are_found_and_far_ones_are_not() {
        let keys = ["healthcheck", "image", "tty", "ports", "environment"];
        for (word, found) in [
            ("helthcheck", Some("healthcheck")),
            ("imgae", Some("image")),
            ("enviroment", Some("environment")),
            ("port", Some("ports")),
            ("tyt", Some("tty")),
            ("abc", None),
            ("replicas", None),
        ] {
            assert_eq!(nearest(word, keys).as_deref(), found, "{word}");
        }
    }
}
