//! The text format of Prometheus: families of samples, with labels.

use jaco_ingress::Durations;
use std::fmt::Write;

/// A page under construction.
#[derive(Debug, Default)]
pub(super) struct Page {
    text: String,
    family: &'static str,
}

impl Page {
    /// Begins the samples of one name.
    pub(super) fn family(&mut self, name: &'static str, kind: &str, help: &str) {
        self.family = name;
        // Writing to a string does not fail.
        let _ = writeln!(self.text, "# HELP {name} {help}\n# TYPE {name} {kind}");
    }

    /// Adds one sample; `suffix` goes behind the family's name.
    pub(super) fn sample(&mut self, suffix: &str, labels: &[(&str, &str)], value: u64) {
        self.line(suffix, labels, &value.to_string());
    }

    /// Adds a histogram in seconds.
    pub(super) fn histogram(&mut self, labels: &[(&str, &str)], durations: &Durations) {
        let mut count = 0;
        let bounds = Durations::bounds().iter().map(|micros| seconds(*micros));
        let bounds = bounds.chain(["+Inf".to_owned()]);
        for (bound, in_bucket) in bounds.zip(&durations.buckets) {
            count += in_bucket;
            let mut labels = labels.to_vec();
            labels.push(("le", &bound));
            self.sample("_bucket", &labels, count);
        }
        self.line("_sum", labels, &seconds(durations.micros));
        self.sample("_count", labels, count);
    }

    fn line(&mut self, suffix: &str, labels: &[(&str, &str)], value: &str) {
        self.text.push_str(self.family);
        self.text.push_str(suffix);
        for (at, (name, label)) in labels.iter().enumerate() {
            let open = if at == 0 { '{' } else { ',' };
            let _ = write!(self.text, "{open}{name}=\"{}\"", escape(label));
        }
        let close = if labels.is_empty() { "" } else { "}" };
        let _ = writeln!(self.text, "{close} {value}");
    }

    /// The page.
    pub(super) fn text(self) -> String {
        self.text
    }
}

fn escape(label: &str) -> String {
    label.replace('\\', "\\\\").replace('"', "\\\"").replace('\n', "\\n")
}

/// Microseconds in seconds, exactly.
fn seconds(micros: u64) -> String {
    let text = format!("{}.{:06}", micros / 1_000_000, micros % 1_000_000);
    text.trim_end_matches('0').trim_end_matches('.').to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_histogram_adds_its_buckets_up() {
        let mut page = Page::default();
        page.family("took_seconds", "histogram", "How long.");
        let mut buckets = vec![0; Durations::bounds().len() + 1];
        (buckets[0], buckets[12]) = (2, 1);
        page.histogram(&[("service", "a\"b")], &Durations { buckets, micros: 12_000_250 });
        let text = page.text();
        for line in [
            "took_seconds_bucket{service=\"a\\\"b\",le=\"0.001\"} 2",
            "took_seconds_bucket{service=\"a\\\"b\",le=\"10\"} 2",
            "took_seconds_bucket{service=\"a\\\"b\",le=\"+Inf\"} 3",
            "took_seconds_sum{service=\"a\\\"b\"} 12.00025",
            "took_seconds_count{service=\"a\\\"b\"} 3",
        ] {
            assert!(text.lines().any(|found| found == line), "{line}\n{text}");
        }
    }
}
