//! An authority that misbehaves as it is told: ACME by hand over TLS sockets. It looks at no
//! signature and at no challenge; what it proves is what the client makes of its answers.

mod answer;
mod pki;
mod wire;

pub(crate) use wire::http_date;

use answer::Ledger;
use jaco_lab::{Names, loopback};
use pki::Pki;
use std::net::{SocketAddr, TcpListener};
use std::path::PathBuf;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};

/// What a request is about.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Kind {
    Directory,
    Nonce,
    Account,
    NewOrder,
    Order,
    Authorization,
    Challenge,
    Finalize,
    Certificate,
    Advice,
}

impl Kind {
    pub(crate) const ALL: [Kind; 9] = [
        Kind::Directory,
        Kind::Nonce,
        Kind::Account,
        Kind::NewOrder,
        Kind::Order,
        Kind::Authorization,
        Kind::Challenge,
        Kind::Finalize,
        Kind::Certificate,
    ];
}

/// What is done instead of a right answer.
#[derive(Clone, Debug)]
pub(crate) enum Fault {
    /// A problem document with this status, kind and headers.
    Problem(u16, &'static str, Vec<(&'static str, String)>),
    /// A status with a body that is no JSON.
    Plain(u16),
    /// The connection is reset before the request is looked at.
    Reset,
    /// The request is carried out and the connection reset then.
    ResetAfter,
    /// The order is invalid from now on, for this reason.
    Invalid(&'static str),
    /// The certificate is of another key.
    WrongKey,
}

/// A fault that happens to some requests of a kind.
#[derive(Clone, Debug)]
struct Rule {
    kind: Kind,
    left: u32,
    fault: Fault,
}

/// What an authority and its test share.
#[derive(Debug, Default)]
struct Shared {
    rules: Mutex<Vec<Rule>>,
    ledger: Mutex<Ledger>,
    /// Milliseconds by which the test's time is ahead.
    ahead: Arc<AtomicU64>,
}

/// A running authority. Its threads end with the process.
#[derive(Debug)]
pub(crate) struct Authority {
    shared: Arc<Shared>,
    address: SocketAddr,
    names: Names,
    dir: tempfile::TempDir,
}

impl Authority {
    pub(crate) fn start() -> Authority {
        let dir = tempfile::tempdir().unwrap();
        let pki = Pki::new(dir.path());
        let somewhere = loopback();
        let log = dir.path().join("names.log");
        let names = Names::start_here(somewhere, Some(somewhere), &log).unwrap();
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let shared = Arc::new(Shared::default());
        wire::serve(listener, Arc::new(pki), shared.clone());
        Authority { shared, address, names, dir }
    }

    pub(crate) fn directory(&self) -> String {
        format!("https://localhost:{}/directory", self.address.port())
    }

    /// A name server for which all names lead somewhere.
    pub(crate) fn names(&self) -> &Names {
        &self.names
    }

    pub(crate) fn roots(&self) -> PathBuf {
        self.dir.path().join("root.pem")
    }

    /// By how much the test's time is ahead of the machine's, to be shared with it.
    pub(crate) fn ahead(&self) -> Arc<AtomicU64> {
        self.shared.ahead.clone()
    }

    /// The next requests of a kind go wrong.
    pub(crate) fn fail(&self, kind: Kind, times: u32, fault: Fault) {
        self.shared.rules.lock().unwrap().push(Rule { kind, left: times, fault });
    }

    /// Nothing goes wrong from now on.
    pub(crate) fn behave(&self) {
        self.shared.rules.lock().unwrap().clear();
    }

    /// Orders that replace a certificate are refused: it was replaced already.
    pub(crate) fn refuse_replacements(&self) {
        self.shared.ledger.lock().unwrap().refuses_replacements = true;
    }

    /// What is said about when to renew (RFC 9773 §4.2): the body of each answer. Without it there
    /// is no such resource.
    pub(crate) fn advise(&self, body: impl Fn(u64) -> String + Send + Sync + 'static) {
        self.shared.ledger.lock().unwrap().advice = Some(Arc::new(body));
    }

    /// How often something was asked.
    pub(crate) fn count(&self, kind: Kind) -> usize {
        let ledger = self.shared.ledger.lock().unwrap();
        ledger.requests.iter().filter(|seen| **seen == kind).count()
    }

    /// The payloads of all requests for an order that were taken.
    pub(crate) fn orders(&self) -> Vec<serde_json::Value> {
        self.shared.ledger.lock().unwrap().wishes.clone()
    }

    /// How many certificates were handed out.
    pub(crate) fn n_issued(&self) -> usize {
        self.shared.ledger.lock().unwrap().n_issued
    }

    /// Milliseconds since 1970, in the test's time.
    pub(crate) fn now(&self) -> u64 {
        self.shared.now()
    }
}

impl Shared {
    fn now(&self) -> u64 {
        jaco_kit::Clock::new().wall().0 + self.ahead.load(Ordering::SeqCst)
    }

    /// The fault for a request, used up once.
    fn fault(&self, kind: Kind) -> Option<Fault> {
        let mut rules = self.rules.lock().unwrap();
        let rule = rules.iter_mut().find(|rule| rule.kind == kind && rule.left > 0)?;
        rule.left -= 1;
        Some(rule.fault.clone())
    }
}
