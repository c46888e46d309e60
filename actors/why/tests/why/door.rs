//! Routes and certificates of the small cluster, and commands that break them.

use crate::world::World;
use jaco_model::entity::{
    AccountFailure, AcmeAccount, AcmeOrder, AcmeStanding, CaKind, Certificate, CertificateFailure,
    ClockSuspicion, Deployment, IssuedCertificate, OrderState, RevisionRecord,
};
use jaco_model::spec::{Challenge, RouteSpec, RouteTarget, SecretText, TlsMode, UpstreamProtocol};
use jaco_model::{DeploymentName, ServiceName, WallMs};
use jaco_state::{State, routes_of_host};
use jaco_why::{Door, Resolved};
use std::collections::BTreeSet;
use std::sync::Arc;

const DAY: u64 = 86_400_000;
const DIRECTORY: &str = "https://ca.test/dir";
/// 2026-01-10T00:00:00Z
const TODAY: u64 = 20_463 * DAY;

/// What a golden file says besides the state and the nodes.
pub(crate) struct DoorFacts {
    pub(crate) resolved: Resolved,
    pub(crate) own_certificate: Option<Result<WallMs, String>>,
    pub(crate) now: WallMs,
}

impl Default for DoorFacts {
    fn default() -> DoorFacts {
        let all = ["192.0.2.1", "192.0.2.2", "192.0.2.3"].map(|at| at.parse().unwrap());
        DoorFacts { resolved: Ok(all.into()), own_certificate: None, now: WallMs(TODAY) }
    }
}

/// The front door of a node that knows what the state says.
pub(crate) fn door(state: &State, host: &str) -> Door {
    let routes = routes_of_host(state, host);
    let targets = routes.iter().filter_map(|(spec, route)| {
        let service = &route.target.as_ref()?.service;
        let ready = state.instances.values().filter(|one| {
            one.deployment == spec.name && one.service == *service && one.status.state.is_ready()
        });
        Some((format!("{}/{service}", spec.name), ready.count()))
    });
    Door {
        http: ["0.0.0.0:80".to_owned()].into(),
        https: ["0.0.0.0:443".to_owned()].into(),
        knows_host: !routes.is_empty(),
        has_certificate: state.certificates.get(host).is_some_and(|known| known.issued.is_some())
            || routes.iter().any(|(_, route)| matches!(route.tls, TlsMode::Own(_))),
        upstreams: targets.collect(),
        orders: Some(true),
        ..Door::default()
    }
}

impl World {
    /// Carries out a command about the front door; whether it is one.
    pub(crate) fn run_door(&mut self, words: &[&str]) -> bool {
        match words {
            // route web.shop shop/web [auto|off|own] [shared with …]
            ["route", domain, to, options @ ..] => self.route(domain, to, options),
            ["resolves", "nothing", why @ ..] => self.door.resolved = Err(why.join(" ")),
            ["resolves", all @ ..] => {
                self.door.resolved = Ok(all.iter().map(|at| at.parse().unwrap()).collect());
            }
            ["own", "until", days] => {
                let end = WallMs(TODAY + days.parse::<u64>().unwrap() * DAY);
                self.door.own_certificate = Some(Ok(end));
            }
            ["own", "broken"] => {
                self.door.own_certificate = Some(Err("it has no certificate".to_owned()));
            }
            ["order", domain, kind, step] => self.order(domain, kind, step),
            ["ordered", domain] => drop(self.state.acme_orders.remove(*domain)),
            ["issued", domain, "from", begin, "to", end] => self.issue(domain, begin, end),
            ["failed", domain, class, times, why @ ..] => {
                let failure = CertificateFailure {
                    stage: "validating".to_owned(),
                    class: (*class).to_owned(),
                    detail: why.join(" "),
                    attempts: times.parse().unwrap(),
                    since: WallMs(TODAY - DAY),
                    retry_at: WallMs(TODAY + 1_800_000),
                };
                self.certificate(domain, |known| known.failure = Some(failure));
            }
            ["held", hours] => self.hold(hours.parse().unwrap()),
            ["clock", minutes] => {
                let late = minutes.parse::<u64>().unwrap() * 60_000;
                let authority = WallMs(TODAY + late);
                let suspicion = ClockSuspicion { authority, cluster: WallMs(TODAY) };
                self.standing(|standing| standing.clock = Some(suspicion));
            }
            ["begun", orders] => {
                let begun = vec![WallMs(TODAY - 600_000); orders.parse().unwrap()];
                self.standing(|standing| standing.orders = begun);
            }
            ["no", "account", why @ ..] => {
                let failure = AccountFailure {
                    detail: why.join(" "),
                    attempts: 2,
                    since: WallMs(TODAY - DAY),
                    retry_at: WallMs(TODAY + 900_000),
                };
                self.standing(|standing| standing.failure = Some(failure));
            }
            ["fine"] => {
                self.state.acme_accounts.clear();
                self.state.acme_standings.clear();
            }
            _ => return false,
        }
        true
    }

    /// Puts a certificate there; its dates are days from today.
    fn issue(&mut self, domain: &str, begin: &str, end: &str) {
        let day = |text: &str| {
            WallMs(TODAY.wrapping_add_signed(text.parse::<i64>().unwrap() * DAY as i64))
        };
        let (not_before, not_after) = (day(begin), day(end));
        self.certificate(domain, |known| {
            known.issued = Some(IssuedCertificate {
                chain: "chain".to_owned(),
                key: SecretText::new("key"),
                not_before,
                not_after,
                issued_at: not_before,
                environment: CaKind::Production,
                directory: DIRECTORY.to_owned(),
            });
        });
    }

    fn hold(&mut self, hours: u64) {
        let account = AcmeAccount {
            directory: DIRECTORY.to_owned(),
            contact: String::new(),
            url: "https://ca.test/acct/1".to_owned(),
            credentials: SecretText::new("key"),
            held_until: Some(WallMs(TODAY + hours * 3_600_000)),
            term: 1,
        };
        let key = (account.directory.clone(), account.contact.clone());
        self.state.acme_accounts.insert(key, Arc::new(account));
    }

    /// Adds a route behind the back of the checks: some goldens are of what they keep out.
    fn route(&mut self, domain: &str, to: &str, options: &[&str]) {
        let (domain, path) = match domain.split_once('/') {
            Some((domain, path)) => (domain, format!("/{path}")),
            None => (domain, String::new()),
        };
        let (deployment, service) = to.split_once('/').unwrap();
        let deployment = DeploymentName::from(deployment);
        let target = RouteTarget {
            service: ServiceName::from(service),
            port: 8080,
            protocol: UpstreamProtocol::Http,
            verify: false,
        };
        let tls = match options.first() {
            Some(&"off") => TlsMode::Off,
            Some(&"own") => TlsMode::Own("door".to_owned()),
            _ => TlsMode::Auto,
        };
        let shared = options.iter().skip_while(|word| **word != "with").skip(1);
        let route = RouteSpec {
            domain: domain.to_owned(),
            path,
            target: Some(target),
            tls,
            challenge: Challenge::Http,
            shared_with: shared.map(|name| DeploymentName::from(*name)).collect::<BTreeSet<_>>(),
            options: Default::default(),
        };
        let Deployment { name, revision, .. } = self.state.deployments[&deployment].as_ref();
        let key = (name.clone(), *revision);
        let mut record = RevisionRecord::clone(&self.state.revisions[&key]);
        let mut spec = (*record.spec).clone();
        spec.routes.push(route);
        record.spec = Arc::new(spec);
        self.state.revisions.insert(key, Arc::new(record));
    }

    fn order(&mut self, domain: &str, kind: &str, step: &str) {
        let kind = if kind == "staging" { CaKind::Staging } else { CaKind::Production };
        let state = match step {
            "ordering" => OrderState::Ordering,
            "challenge_ready" => OrderState::ChallengeReady,
            "validating" => OrderState::Validating,
            _ => OrderState::Finalizing { key: SecretText::new("key") },
        };
        let order = AcmeOrder {
            domain: domain.to_owned(),
            directory: DIRECTORY.to_owned(),
            contact: String::new(),
            kind,
            challenge: Challenge::Http,
            replaces: None,
            counted: true,
            state,
            url: None,
            challenge_url: None,
            token: None,
            not_before: None,
            attempt: 1,
            started_at: WallMs(TODAY),
            term: 1,
        };
        self.state.acme_orders.insert(domain.to_owned(), Arc::new(order));
    }

    /// How we stand with the authority.
    fn standing(&mut self, change: impl FnOnce(&mut AcmeStanding)) {
        let key = (DIRECTORY.to_owned(), String::new());
        let known = self.state.acme_standings.get(&key);
        let mut standing = known.map_or_else(
            || AcmeStanding { directory: DIRECTORY.to_owned(), ..AcmeStanding::default() },
            |known| known.as_ref().clone(),
        );
        change(&mut standing);
        self.state.acme_standings.insert(key, Arc::new(standing));
    }

    fn certificate(&mut self, domain: &str, change: impl FnOnce(&mut Certificate)) {
        let known = self.state.certificates.get(domain);
        let mut known = known.map_or_else(
            || Certificate { domain: domain.to_owned(), ..Certificate::default() },
            |known| known.as_ref().clone(),
        );
        change(&mut known);
        self.state.certificates.insert(domain.to_owned(), Arc::new(known));
    }
}
