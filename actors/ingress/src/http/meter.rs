//! What is counted of each route while it serves: atomics that are there before the request comes,
//! but for those of a method that the route was never asked with. Nothing is locked for a request.

use hyper::{Method, StatusCode};
use std::sync::OnceLock;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

/// Methods that are counted by their own; the last stands for all others.
const METHODS: [&str; 8] = ["GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS", "other"];

/// Codes that are counted by their own, ascending. Others count as `2xx` and so on.
const CODES: [u16; 31] = [
    101, 200, 201, 202, 204, 206, 301, 302, 303, 304, 307, 308, 400, 401, 403, 404, 405, 408, 409,
    413, 414, 421, 422, 429, 431, 499, 500, 501, 502, 503, 504,
];

/// For the codes without a place of their own, by their first digit.
const CLASSES: [&str; 5] = ["1xx", "2xx", "3xx", "4xx", "5xx"];

const SLOTS: usize = CODES.len() + CLASSES.len();

/// Upper bounds of the buckets of durations, in microseconds.
const BOUNDS: [u64; 12] = [
    1_000, 2_500, 5_000, 10_000, 25_000, 50_000, 100_000, 250_000, 500_000, 1_000_000, 2_500_000,
    10_000_000,
];

/// Requests of one route, and how long they took.
#[derive(Debug, Default)]
pub(super) struct Requests {
    /// Few routes are asked with more than two methods.
    by_method: [OnceLock<Box<Answers>>; METHODS.len()],
    took: Histogram,
    upstream: Histogram,
}

/// Answers to one method, by code.
#[derive(Debug)]
struct Answers([AtomicU64; SLOTS]);

impl Default for Answers {
    fn default() -> Answers {
        Answers([const { AtomicU64::new(0) }; SLOTS])
    }
}

impl Requests {
    /// Counts one request that is over. `upstream` is how long a replica took to begin its answer.
    pub(super) fn count(
        &self,
        method: &Method,
        status: StatusCode,
        took: Duration,
        upstream: Option<Duration>,
    ) {
        let name = method.as_str();
        let at = METHODS.iter().position(|known| *known == name).unwrap_or(METHODS.len() - 1);
        let answers = self.by_method[at].get_or_init(Box::default);
        if let Some(counter) = answers.0.get(slot(status.as_u16())) {
            counter.fetch_add(1, Ordering::Relaxed);
        }
        self.took.count(took);
        if let Some(upstream) = upstream {
            self.upstream.count(upstream);
        }
    }

    pub(super) fn read(&self) -> RequestCounts {
        let mut counts = RequestCounts {
            answers: Vec::new(),
            took: self.took.read(),
            upstream: self.upstream.read(),
        };
        for (method, answers) in METHODS.into_iter().zip(&self.by_method) {
            let answers = answers.get().into_iter().flat_map(|answers| answers.0.iter());
            for (at, counter) in answers.enumerate() {
                let count = counter.load(Ordering::Relaxed);
                if count > 0 {
                    counts.answers.push((method, code(at), count));
                }
            }
        }
        counts
    }
}

/// Where a code is counted.
fn slot(status: u16) -> usize {
    let class = || CODES.len() + usize::from(status / 100).clamp(1, CLASSES.len()) - 1;
    CODES.binary_search(&status).unwrap_or_else(|_| class())
}

/// The code that is counted in a slot.
fn code(at: usize) -> String {
    match CODES.get(at) {
        Some(code) => code.to_string(),
        None => CLASSES[at - CODES.len()].to_owned(),
    }
}

/// Durations in buckets.
#[derive(Debug, Default)]
struct Histogram {
    /// The last one has no upper bound.
    buckets: [AtomicU64; BOUNDS.len() + 1],
    micros: AtomicU64,
}

impl Histogram {
    fn count(&self, took: Duration) {
        let micros = u64::try_from(took.as_micros()).unwrap_or(u64::MAX);
        let at = BOUNDS.partition_point(|bound| *bound < micros);
        self.buckets[at].fetch_add(1, Ordering::Relaxed);
        self.micros.fetch_add(micros, Ordering::Relaxed);
    }

    fn read(&self) -> Durations {
        let read = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
        Durations { buckets: self.buckets.iter().map(read).collect(), micros: read(&self.micros) }
    }
}

/// What was counted of one route so far.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct RequestCounts {
    /// Method, code or class of codes, and how often; never zero.
    pub answers: Vec<(&'static str, String, u64)>,
    /// From the request's header to the answer's last byte.
    pub took: Durations,
    /// From there to the header of a replica's answer.
    pub upstream: Durations,
}

/// Durations by bucket.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Durations {
    /// How many fell into each bucket of [`Durations::bounds`], and then those above all.
    pub buckets: Vec<u64>,
    /// All of them added up, in microseconds.
    pub micros: u64,
}

impl Durations {
    /// Upper bounds of the buckets, in microseconds.
    pub fn bounds() -> &'static [u64] {
        &BOUNDS
    }

    /// Adds those of another route.
    pub fn add(&mut self, other: &Durations) {
        self.buckets.resize(BOUNDS.len() + 1, 0);
        for (own, other) in self.buckets.iter_mut().zip(&other.buckets) {
            *own += other;
        }
        self.micros += other.micros;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_code_and_method_has_its_place() {
        let requests = Requests::default();
        let took = Duration::from_micros(2_500);
        for (method, status) in
            [("GET", 200), ("GET", 200), ("PURGE", 200), ("POST", 418), ("GET", 504), ("GET", 999)]
        {
            let method = Method::from_bytes(method.as_bytes()).unwrap();
            requests.count(&method, StatusCode::from_u16(status).unwrap(), took, None);
        }
        let counts = requests.read();
        let answers: Vec<_> =
            counts.answers.iter().map(|(method, code, n)| (*method, code.as_str(), *n)).collect();
        assert_eq!(
            answers,
            [
                ("GET", "200", 2),
                ("GET", "504", 1),
                ("GET", "5xx", 1),
                ("POST", "4xx", 1),
                ("other", "200", 1),
            ]
        );
        assert_eq!((counts.took.buckets[1], counts.took.micros), (6, 15_000));
        assert_eq!(counts.upstream.buckets.iter().sum::<u64>(), 0);
    }

    #[test]
    fn a_duration_falls_into_the_first_bucket_that_holds_it() {
        let histogram = Histogram::default();
        for micros in [0, 1_000, 1_001, 10_000_001] {
            histogram.count(Duration::from_micros(micros));
        }
        let read = histogram.read();
        assert_eq!((read.buckets[0], read.buckets[1], read.buckets[12]), (2, 1, 1));
        let mut sum = Durations::default();
        sum.add(&read);
        sum.add(&read);
        assert_eq!((sum.buckets[0], sum.micros), (4, 2 * read.micros));
        assert!(CODES.is_sorted() && BOUNDS.is_sorted());
    }
}
