//! "Did you mean": the known name that a mistyped one is closest to.
//!
//! One copy for manifests, the command line and the state machine, so that all of them suggest
//! by the same rule.

/// The candidate nearest to `text`, if it is near enough: within two edits, or a third of the
/// text's length when that is more. Of several equally near the first one given is taken.
pub fn closest<'a>(text: &str, candidates: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
    let limit = (text.chars().count() / 3).max(2);
    let mut best = None;
    for candidate in candidates {
        let distance = edit_distance(text, candidate);
        let nearer = best.is_none_or(|(nearest, _)| distance < nearest);
        // A name that shares nothing with a short text is within its length in edits.
        let shares = distance < candidate.chars().count();
        if distance <= limit && shares && nearer {
            best = Some((distance, candidate));
        }
    }
    best.map(|(_, candidate)| candidate)
}

/// The least number of characters to insert, remove, replace or swap with their neighbour to
/// turn `a` into `b` (optimal string alignment).
pub fn edit_distance(a: &str, b: &str) -> usize {
    let a: Vec<char> = a.chars().collect();
    let b: Vec<char> = b.chars().collect();
    let mut before_last: Vec<usize> = Vec::new();
    let mut last: Vec<usize> = (0..=b.len()).collect();
    for (i, &from) in a.iter().enumerate() {
        let mut row = vec![i + 1];
        for (j, &to) in b.iter().enumerate() {
            let replaced = last[j] + usize::from(from != to);
            let mut cost = replaced.min(last[j + 1] + 1).min(row[j] + 1);
            if i > 0 && j > 0 && from == b[j - 1] && a[i - 1] == to {
                cost = cost.min(before_last[j - 1] + 1);
            }
            row.push(cost);
        }
        before_last = last;
        last = row;
    }
    last[b.len()]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn distances_count_single_edits_and_swaps() {
        for (a, b, distance) in
            [("", "", 0), ("web", "web", 0), ("wbe", "web", 1), ("wb", "web", 1), ("abc", "", 3)]
        {
            assert_eq!(edit_distance(a, b), distance, "{a} {b}");
            assert_eq!(edit_distance(b, a), distance, "{b} {a}");
        }
    }

    #[test]
    fn only_near_names_are_suggested() {
        let services = ["web", "worker", "database"];
        assert_eq!(closest("wbe", services), Some("web"));
        assert_eq!(closest("databse", services), Some("database"));
        assert_eq!(closest("cache", services), None);
        assert_eq!(closest("x", ["db"]), None);
    }
}
