//! A look at a domain before an order is made.

use crate::dns::wait;
use crate::pebble::Pebble;
use jaco_ingress::acme::{Resolvers, caa_identities, preflight};
use jaco_ingress_core::acme::{CaaWish, PreflightCause, PreflightFailure};
use jaco_lab::{Names, PebbleOptions, loopback};
use serde_json::json;
use std::net::{Ipv4Addr, SocketAddr};

const DOMAIN: &str = "shop.example.test";

struct World {
    names: Names,
    identities: Vec<String>,
    _dir: tempfile::TempDir,
}

impl World {
    fn new() -> World {
        let dir = tempfile::tempdir().unwrap();
        let names = Names::start_here(loopback(), None, &dir.path().join("log")).unwrap();
        World { names, identities: vec!["ca.example".to_owned()], _dir: dir }
    }

    fn caa(&self, host: &str, tag: &str, value: &str) {
        let policies = json!([{ "tag": tag, "value": value }]);
        self.names
            .tell("add-caa", &json!({ "host": format!("{host}."), "policies": policies }))
            .unwrap();
    }

    fn look(&self, domain: &str, method: &str) -> Result<(), PreflightFailure> {
        self.look_by(vec![self.names.server()], domain, method)
    }

    fn look_by(
        &self,
        servers: Vec<SocketAddr>,
        domain: &str,
        method: &str,
    ) -> Result<(), PreflightFailure> {
        let account = Some("https://ca.example/acct/1");
        let is_wildcard = domain.starts_with("*.");
        let wish = CaaWish { is_wildcard, identities: &self.identities, account, method };
        wait(preflight(&Resolvers::Listed(servers), domain, &wish))
    }

    fn refusal(&self, domain: &str, method: &str, cause: PreflightCause) -> String {
        let failure = self.look(domain, method).unwrap_err();
        assert_eq!(failure.cause, cause, "{failure}");
        failure.detail
    }
}

#[test]
fn a_domain_must_lead_somewhere() {
    let world = World::new();
    let detail = world.refusal(DOMAIN, "http-01", PreflightCause::NoAddress);
    assert!(detail.contains("shop.example.test does not resolve"), "{detail}");
    // By DNS it is proven without.
    assert_eq!(world.look(DOMAIN, "dns-01"), Ok(()));
    let six = json!({ "host": format!("{DOMAIN}."), "addresses": ["2001:db8::1"] });
    world.names.tell("add-aaaa", &six).unwrap();
    assert_eq!(world.look(DOMAIN, "http-01"), Ok(()));
    world.names.resolve("other.test", &[Ipv4Addr::new(192, 0, 2, 1)]).unwrap();
    assert_eq!(world.look("other.test", "http-01"), Ok(()));
}

#[test]
fn caa_is_looked_for_up_the_tree() {
    let world = World::new();
    world.caa("test", "issue", ";");
    let detail = world.refusal(DOMAIN, "dns-01", PreflightCause::CaaForbids);
    assert!(detail.contains("CAA records of test forbid"), "{detail}");
    world.caa("example.test", "issue", "ca.example");
    assert_eq!(world.look(DOMAIN, "dns-01"), Ok(()));
    world.caa("shop.example.test", "issue", "other.example");
    let detail = world.refusal(DOMAIN, "dns-01", PreflightCause::CaaForbids);
    assert!(detail.contains("only other.example may issue, not ca.example"), "{detail}");
    assert_eq!(world.look("*.example.test", "dns-01"), Ok(()));
    world.caa("example.test", "issuewild", ";");
    world.refusal("*.example.test", "dns-01", PreflightCause::CaaForbids);
}

#[test]
fn accounts_and_methods_of_caa_count() {
    let world = World::new();
    world.caa("example.test", "issue", "ca.example; accounturi=https://ca.example/acct/2");
    let detail = world.refusal(DOMAIN, "dns-01", PreflightCause::CaaForbids);
    assert!(detail.contains("acct/2"), "{detail}");
    world.caa("shop.example.test", "issue", "ca.example; validationmethods=dns-01");
    assert_eq!(world.look(DOMAIN, "dns-01"), Ok(()));
}

#[test]
fn servers_that_cannot_say_are_a_failure_of_their_own() {
    let world = World::new();
    world.names.tell("set-servfail", &json!({ "host": "example.test." })).unwrap();
    let detail = world.refusal(DOMAIN, "dns-01", PreflightCause::CaaUnknown);
    assert!(detail.contains("SERVFAIL when asked for CAA of example.test"), "{detail}");
    world.names.tell("set-servfail", &json!({ "host": format!("{DOMAIN}.") })).unwrap();
    let detail = world.refusal(DOMAIN, "http-01", PreflightCause::AddressUnknown);
    assert!(detail.contains("SERVFAIL"), "{detail}");
    let nobody = world.look_by(Vec::new(), DOMAIN, "http-01").unwrap_err();
    assert!(nobody.cause.is_transient() && nobody.detail.contains("no name server"), "{nobody}");
    // The second of two is asked when the first is silent.
    world.names.tell("clear-servfail", &json!({ "host": "example.test." })).unwrap();
    world.names.tell("clear-servfail", &json!({ "host": format!("{DOMAIN}.") })).unwrap();
    let servers = vec![SocketAddr::new(loopback().into(), 53), world.names.server()];
    assert_eq!(world.look_by(servers, DOMAIN, "dns-01"), Ok(()));
}

#[test]
fn the_names_of_an_authority_come_from_its_directory() {
    let pebble = Pebble::start_with(PebbleOptions::default());
    let directory = pebble.directory();
    let identities = wait(caa_identities(&directory, Some(&pebble.roots())));
    assert_eq!(identities, Ok(vec!["pebble.letsencrypt.org".to_owned()]));
    let nothing = format!("{directory}/nothing");
    let error = wait(caa_identities(&nothing, Some(&pebble.roots()))).unwrap_err();
    assert!(error.contains("404"), "{error}");
    assert!(wait(caa_identities(&directory, None)).is_err(), "its root is not the host's");
}
