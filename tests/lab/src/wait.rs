//! Waiting with a deadline: the only clock and the only sleep of this crate.

use std::time::{Duration, Instant};

use anyhow::{Result, bail};

/// Pause between two looks.
const POLL: Duration = Duration::from_millis(10);

/// Looks until `look` returns a value; an error of `look` ends the wait at once.
///
/// # Errors
/// Those of `look`, and one that names `what` when `limit` has passed.
#[expect(clippy::disallowed_methods, reason = "a test waits for real processes in real time")]
pub fn until<T>(
    what: &str,
    limit: Duration,
    mut look: impl FnMut() -> Result<Option<T>>,
) -> Result<T> {
    let start = Instant::now();
    loop {
        if let Some(value) = look()? {
            return Ok(value);
        }
        if start.elapsed() > limit {
            bail!("{what}: not within {} ms", limit.as_millis());
        }
        std::thread::sleep(POLL);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_value_ends_the_wait_and_the_limit_names_what_is_missing() {
        let mut looks = 0;
        let value = until("third look", Duration::from_secs(5), || {
            looks += 1;
            Ok((looks == 3).then_some("seen"))
        });
        assert_eq!(value.unwrap(), "seen");
        let error = until("never", Duration::ZERO, || Ok(None::<()>)).unwrap_err();
        assert!(error.to_string().starts_with("never: "));
    }
}
