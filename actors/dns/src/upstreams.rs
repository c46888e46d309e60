//! Who is asked about names of the world outside, unless a service names its own.

use crate::exchange;
use jaco_dns_core::{Query, Zones, usable};
use jaco_kit::{Clock, Seeds};
use jaco_kit_core::{Mono, name_servers};
use std::cell::{Cell, RefCell};
use std::collections::BTreeSet;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

/// Time between two looks at the file, made only when somebody asks.
const LOOK_EVERY: Duration = Duration::from_secs(1);
/// How long a question of the loop test may take to come back.
const TEST_FOR: Duration = Duration::from_secs(5);

/// The node's own choice: the configured list, else the host's file.
pub(crate) struct Upstreams {
    configured: Arc<[SocketAddr]>,
    file: PathBuf,
    clock: Clock,
    looked_at: Cell<Option<Mono>>,
    seen: Cell<Option<(SystemTime, u64)>>,
    from_file: RefCell<Arc<[SocketAddr]>>,
    /// Upstreams whose questions came back here.
    loops: RefCell<BTreeSet<SocketAddr>>,
    /// Names under way in the loop test.
    tests: RefCell<Vec<Test>>,
    /// The list that was tested last.
    tested: RefCell<Vec<SocketAddr>>,
    has_warned: Cell<bool>,
}

struct Test {
    token: String,
    upstream: SocketAddr,
    until: Mono,
}

impl Upstreams {
    pub(crate) fn new(configured: Vec<SocketAddr>, file: PathBuf, clock: Clock) -> Upstreams {
        Upstreams {
            configured: configured.into(),
            file,
            clock,
            looked_at: Cell::new(None),
            seen: Cell::new(None),
            from_file: RefCell::new(Arc::from([])),
            loops: RefCell::default(),
            tests: RefCell::default(),
            tested: RefCell::default(),
            has_warned: Cell::new(false),
        }
    }

    /// Those of a list that can be asked: no circles.
    pub(crate) fn usable(
        &self,
        wanted: Option<&Arc<[SocketAddr]>>,
        zones: &Zones,
        own: &[SocketAddr],
    ) -> Arc<[SocketAddr]> {
        let list = wanted.cloned().unwrap_or_else(|| self.chosen());
        let loops = self.loops.borrow();
        let is_fine = |upstream: &&SocketAddr| {
            usable(**upstream, zones, own).is_ok() && !loops.contains(upstream)
        };
        let fine: Arc<[SocketAddr]> = match list.iter().all(|upstream| is_fine(&upstream)) {
            true => list.clone(),
            false => list.iter().filter(is_fine).copied().collect(),
        };
        if wanted.is_none() {
            self.warn(&list, &fine);
        }
        fine
    }

    /// One warning while there is none left.
    fn warn(&self, list: &[SocketAddr], fine: &[SocketAddr]) {
        if self.has_warned.replace(fine.is_empty()) || !fine.is_empty() {
            return;
        }
        tracing::warn!(found = ?list, "no upstream for names of the outside, they fail");
    }

    fn chosen(&self) -> Arc<[SocketAddr]> {
        if !self.configured.is_empty() {
            return self.configured.clone();
        }
        let now = self.clock.mono();
        let is_due = self.looked_at.get().is_none_or(|at| now.since(at) >= LOOK_EVERY);
        if is_due {
            self.looked_at.set(Some(now));
            self.look();
        }
        self.from_file.borrow().clone()
    }

    /// Reads the file again if it changed. One that cannot be read leaves what was read before.
    fn look(&self) {
        let Ok(facts) = std::fs::metadata(&self.file) else { return };
        let version = facts.modified().ok().map(|at| (at, facts.len()));
        if version.is_some() && self.seen.get() == version {
            return;
        }
        if let Ok(text) = std::fs::read_to_string(&self.file) {
            self.seen.set(version);
            *self.from_file.borrow_mut() = name_servers(&text).into();
        }
    }

    /// Sends a name to each upstream that nobody else asks for, unless the list was tested
    /// already. Who sees it here again closes a circle.
    pub(crate) async fn test(&self, zones: &Zones, own: &[SocketAddr]) {
        let chosen = self.chosen();
        if *self.tested.borrow() == *chosen {
            return;
        }
        *self.tested.borrow_mut() = chosen.to_vec();
        self.loops.borrow_mut().clear();
        let list = self.usable(None, zones, own);
        for upstream in list.iter().copied() {
            let Ok(random) = Seeds.id() else { continue };
            let token = format!("{random:032x}");
            let name = format!("{token}.loop.jaco.internal");
            let Some(query) = Query::probe(&name, random as u16) else { continue };
            let until = self.clock.mono().plus(TEST_FOR);
            self.tests.borrow_mut().push(Test { token, upstream, until });
            if let Err(error) = exchange::tell(upstream, &query).await {
                tracing::debug!(%upstream, %error, "loop test not sent");
            }
        }
    }

    /// Looks for a name of the test in a message that came in.
    pub(crate) fn notice(&self, packet: &[u8]) {
        if self.tests.borrow().is_empty() {
            return;
        }
        let now = self.clock.mono();
        let mut tests = self.tests.borrow_mut();
        tests.retain(|test| now < test.until);
        let lower = packet.to_ascii_lowercase();
        let is_in = |token: &str| lower.windows(token.len()).any(|part| part == token.as_bytes());
        for test in tests.iter().filter(|test| is_in(&test.token)) {
            if self.loops.borrow_mut().insert(test.upstream) {
                let upstream = test.upstream;
                tracing::warn!(%upstream, "upstream sends its questions back here, not used");
            }
        }
    }

    /// The node's choice as it was last read, and which of them are circles.
    pub(crate) fn known(&self) -> Vec<(SocketAddr, bool)> {
        let list = match self.configured.is_empty() {
            true => self.from_file.borrow().clone(),
            false => self.configured.clone(),
        };
        let loops = self.loops.borrow();
        list.iter().map(|upstream| (*upstream, loops.contains(upstream))).collect()
    }
}
