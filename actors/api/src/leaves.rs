//! What the certificates that are served say of themselves, read once each: `status` is asked often,
//! and there may be thousands of them.

use crate::certificate::Leaf;
use jaco_model::entity::Certificate;
use jaco_model::spec::SecretText;
use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};

/// What was read, by domain.
#[derive(Debug, Default)]
pub(crate) struct Leaves {
    known: Mutex<BTreeMap<String, Known>>,
}

#[derive(Debug)]
struct Known {
    source: Source,
    leaf: Result<Arc<Leaf>, String>,
}

/// Of what it was read.
#[derive(Clone, Debug)]
enum Source {
    /// Of a record of the state, which is another one when it has changed.
    Automatic(Arc<Certificate>),
    Own(SecretText),
}

impl Source {
    fn is(&self, other: &Source) -> bool {
        match (self, other) {
            (Source::Automatic(one), Source::Automatic(two)) => Arc::ptr_eq(one, two),
            (Source::Own(one), Source::Own(two)) => one == two,
            _ => false,
        }
    }

    fn chain(&self) -> &str {
        match self {
            Source::Automatic(known) => {
                known.issued.as_ref().map_or("", |issued| issued.chain.as_str())
            }
            Source::Own(text) => text.reveal(),
        }
    }
}

impl Leaves {
    /// The certificate that JACO got.
    ///
    /// # Errors
    /// Says what is wrong with it.
    pub(crate) fn automatic(&self, known: &Arc<Certificate>) -> Result<Arc<Leaf>, String> {
        self.read(&known.domain, Source::Automatic(known.clone()))
    }

    /// The certificate that a user gave for a domain.
    ///
    /// # Errors
    /// Says what is wrong with it.
    pub(crate) fn own(&self, domain: &str, text: &SecretText) -> Result<Arc<Leaf>, String> {
        self.read(domain, Source::Own(text.clone()))
    }

    /// Forgets domains that are gone.
    pub(crate) fn keep(&self, is_there: impl Fn(&str) -> bool) {
        if let Ok(mut known) = self.known.lock() {
            known.retain(|domain, _| is_there(domain));
        }
    }

    fn read(&self, domain: &str, source: Source) -> Result<Arc<Leaf>, String> {
        let read = |source: &Source| Leaf::read(source.chain()).map(Arc::new);
        let Ok(mut known) = self.known.lock() else { return read(&source) };
        if let Some(known) = known.get(domain).filter(|known| known.source.is(&source)) {
            return known.leaf.clone();
        }
        let leaf = read(&source);
        known.insert(domain.to_owned(), Known { source, leaf: leaf.clone() });
        leaf
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pem(name: &str) -> SecretText {
        let made = rcgen::generate_simple_self_signed([name.to_owned()]).unwrap();
        SecretText::new(made.cert.pem())
    }

    #[test]
    fn a_certificate_is_read_once_until_it_is_another_one() {
        let leaves = Leaves::default();
        let (first, second) = (pem("a.test"), pem("b.test"));
        let read = leaves.own("a.test", &first).unwrap();
        let again = leaves.own("a.test", &first).unwrap();
        assert!(Arc::ptr_eq(&read, &again), "it was read twice");
        assert_eq!(read.names, ["a.test"]);
        assert_eq!(leaves.own("a.test", &second).unwrap().names, ["b.test"]);
        assert!(leaves.own("a.test", &SecretText::new("none")).is_err());
        assert!(leaves.automatic(&Arc::new(Certificate::default())).is_err());
    }

    #[test]
    fn a_domain_that_is_gone_is_forgotten() {
        let leaves = Leaves::default();
        leaves.own("a.test", &pem("a.test")).unwrap();
        leaves.own("b.test", &pem("b.test")).unwrap();
        leaves.keep(|domain| domain == "b.test");
        let known = leaves.known.lock().unwrap();
        assert_eq!(known.keys().collect::<Vec<_>>(), ["b.test"]);
    }
}
