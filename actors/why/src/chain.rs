//! A chain under construction: links are added in the order of cause and effect.

use jaco_model::view::{WhyStep, WhyView};
use jaco_model::{Fault, WallMs};

/// The links so far.
#[derive(Debug)]
pub(crate) struct Chain {
    view: WhyView,
}

/// One link that is broken: what scripts branch on, what was found, and what to do.
pub(crate) struct Broken {
    pub(crate) code: String,
    pub(crate) detail: String,
    pub(crate) fix: String,
}

impl Broken {
    pub(crate) fn new(
        code: impl ToString,
        detail: impl Into<String>,
        fix: impl Into<String>,
    ) -> Broken {
        Broken { code: code.to_string(), detail: detail.into(), fix: fix.into() }
    }

    /// A fault with the fix that its code stands for.
    pub(crate) fn of(fault: &Fault, detail: impl Into<String>, fix: impl Into<String>) -> Broken {
        let fix = fault.detail("hint").map_or_else(|| fix.into(), str::to_owned);
        Broken::new(fault.code, detail, fix)
    }
}

/// What a link turned out to be.
pub(crate) type Link = Result<String, Broken>;

impl Chain {
    pub(crate) fn new(kind: &str, subject: String) -> Chain {
        let (kind, ok) = (kind.to_owned(), true);
        Chain { view: WhyView { kind, subject, ok, ..WhyView::default() } }
    }

    /// Adds a link; whether it holds.
    pub(crate) fn add(&mut self, step: &str, source: &str, link: Link) -> bool {
        self.add_since(step, source, None, link)
    }

    /// Adds a link with the moment since which it is so; whether it holds.
    pub(crate) fn add_since(
        &mut self,
        step: &str,
        source: &str,
        since: Option<WallMs>,
        link: Link,
    ) -> bool {
        let ok = link.is_ok();
        let (code, detail) = match link {
            Ok(detail) => (None, detail),
            Err(broken) => {
                if self.view.ok {
                    self.view.ok = false;
                    let verdict = verdict(&broken.code, source);
                    self.view.summary = format!("{verdict} {step}: {}", broken.detail);
                    self.view.hint = Some(broken.fix).filter(|fix| !fix.is_empty());
                }
                (Some(broken.code), broken.detail)
            }
        };
        // A moment of zero is one that nobody has noted.
        let ts = since.filter(|at| at.0 > 0).map(|at| at.to_string());
        let (step, source) = (step.to_owned(), source.to_owned());
        self.view.chain.push(WhyStep { step, ok, ts, code, detail, source });
        ok
    }

    /// Adds a link that, if it is broken, is worse than whatever came before: it is the answer.
    pub(crate) fn add_above_all(&mut self, step: &str, source: &str, link: Link) {
        if link.is_err() {
            self.view.ok = true;
        }
        self.add(step, source, link);
    }

    /// Whether every link so far holds.
    pub(crate) fn holds(&self) -> bool {
        self.view.ok
    }

    /// The whole chain; `well` is said when every link holds.
    pub(crate) fn end(mut self, well: impl Into<String>) -> WhyView {
        if self.view.ok {
            self.view.summary = well.into();
        }
        self.view
    }
}

/// What a broken link means: a rule that denies, a way that is not over, or a defect. Only the
/// state knows rules; what a node misses although the state wants it is a defect.
fn verdict(code: &str, source: &str) -> &'static str {
    match code {
        "cross_scope" | "host" | "control" | "internal" if source == "state" => "denied at",
        "pending" | "pulling" | "starting" | "updating" | "draining" => "not yet past",
        // Its containers may run on, and packets may pass.
        "node_unreachable" => "not known past",
        _ => "broken at",
    }
}

/// A list for people: `a`, `a and b`, `a, b and c`.
pub(crate) fn list<T: ToString>(items: impl IntoIterator<Item = T>) -> String {
    let mut items: Vec<String> = items.into_iter().map(|item| item.to_string()).collect();
    match (items.pop(), items.is_empty()) {
        (None, _) => String::new(),
        (Some(last), true) => last,
        (Some(last), false) => format!("{} and {last}", items.join(", ")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_broken_link_is_the_answer() {
        let mut chain = Chain::new("path", "a to b".to_owned());
        assert!(chain.add("one", "state", Ok("fine".to_owned())));
        assert!(!chain.add("two", "state", Err(Broken::new("x", "not so", "mend it"))));
        assert!(!chain.add("three", "n1", Err(Broken::new("y", "nor this", "other"))));
        let view = chain.end("all is well");
        assert_eq!(view.summary, "broken at two: not so");
        assert_eq!(view.hint.as_deref(), Some("mend it"));
        let codes: Vec<_> = view.chain.iter().map(|step| step.code.as_deref()).collect();
        assert_eq!(codes, [None, Some("x"), Some("y")]);
    }

    #[test]
    fn lists_read_like_sentences() {
        assert_eq!(list::<&str>([]), "");
        assert_eq!(list(["a"]), "a");
        assert_eq!(list(["a", "b", "c"]), "a, b and c");
    }
}
