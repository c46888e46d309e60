//! Records of challenges: at a real name server, by a program, by a web service.

use crate::knot::{KEY, KEY_NAME, Knot, OTHER_KEY, ZONE};
use jaco_ingress::acme::Resolvers;
use jaco_ingress::acme::dns::{DnsError, Outside, Publisher, Visibility, challenge_name};
use jaco_kit::Clock;
use jaco_lab::loopback;
use jaco_model::spec::{DnsMethod, DnsProvider, SecretText, TsigAlgorithm};
use std::net::SocketAddr;

const NAME: &str = "_acme-challenge.shop.example.test";

pub(crate) fn wait<T>(future: impl Future<Output = T>) -> T {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    runtime.block_on(future)
}

fn outside(resolver: SocketAddr) -> Outside {
    let resolvers = Resolvers::Listed(vec![resolver]);
    Outside { resolvers, webhook_roots: None, clock: Clock::new() }
}

pub(crate) fn updates(server: SocketAddr, algorithm: TsigAlgorithm) -> DnsProvider {
    DnsProvider::new(DnsMethod::Rfc2136 {
        server: server.to_string(),
        zone: None,
        key_name: KEY_NAME.to_owned(),
        key_secret: "key".to_owned(),
        algorithm,
    })
}

pub(crate) fn publisher(knot: &Knot, provider: &DnsProvider, key: &str) -> Publisher {
    Publisher::new(provider, Some(&SecretText::new(key)), &outside(knot.server())).unwrap()
}

pub(crate) fn is_everywhere(publisher: &Publisher, name: &str, value: &str) -> bool {
    wait(publisher.is_visible(name, value)).unwrap() == Visibility::Everywhere
}

#[test]
fn a_signed_update_adds_and_removes_one_record_of_several() {
    for algorithm in TsigAlgorithm::ALL {
        let knot = Knot::start(algorithm.name());
        let publisher = publisher(&knot, &updates(knot.server(), algorithm), KEY);
        assert!(!is_everywhere(&publisher, NAME, "one"));
        // A domain and its wildcard are proven at the same name, and a step may be done twice.
        for value in ["one", "two", "one"] {
            wait(publisher.publish(NAME, value)).unwrap_or_else(|e| panic!("{e}: {}", knot.log()));
        }
        assert!(is_everywhere(&publisher, NAME, "one") && is_everywhere(&publisher, NAME, "two"));
        wait(publisher.remove(NAME, "one")).unwrap();
        wait(publisher.remove(NAME, "one")).unwrap();
        assert!(!is_everywhere(&publisher, NAME, "one") && is_everywhere(&publisher, NAME, "two"));
    }
}

#[test]
fn an_alias_is_followed_unless_told_otherwise() {
    let knot = Knot::start("hmac-sha256");
    let provider = updates(knot.server(), TsigAlgorithm::HmacSha256);
    let following = publisher(&knot, &provider, KEY);
    let (alias, target) =
        ("_acme-challenge.alias.example.test", "_acme-challenge.target.example.test");
    wait(following.publish(alias, "one")).unwrap();
    assert!(is_everywhere(&following, alias, "one") && is_everywhere(&following, target, "one"));
    let literal = DnsProvider { follow_cname: false, ..provider };
    let literal = publisher(&knot, &literal, KEY);
    // Knot adds nothing beside an alias and says that all is well.
    wait(literal.publish(alias, "two")).unwrap();
    assert!(!is_everywhere(&following, target, "two"));
}

#[test]
fn what_a_server_refuses_is_told() {
    let knot = Knot::start("hmac-sha256");
    let provider = updates(knot.server(), TsigAlgorithm::HmacSha256);
    let refusal = |provider: &DnsProvider, key: &str, name: &str| {
        let error = wait(publisher(&knot, provider, key).publish(name, "one")).unwrap_err();
        assert!(matches!(error, DnsError::Refused(_)), "{error:?}");
        error.to_string()
    };
    let wrong = refusal(&provider, OTHER_KEY, NAME);
    assert!(wrong.contains("knows another key jaco: the signature is wrong"), "{wrong}");
    let stranger = DnsProvider::new(DnsMethod::Rfc2136 {
        server: knot.server().to_string(),
        zone: Some(ZONE.to_owned()),
        key_name: "stranger".to_owned(),
        key_secret: "key".to_owned(),
        algorithm: TsigAlgorithm::HmacSha256,
    });
    let unknown = refusal(&stranger, KEY, NAME);
    assert!(unknown.contains("does not know the key stranger"), "{unknown}");
    let literal = DnsProvider { follow_cname: false, ..provider };
    let elsewhere = refusal(&literal, KEY, "_acme-challenge.a.other.test");
    assert!(elsewhere.contains("has no zone of _acme-challenge.a.other.test"), "{elsewhere}");
    let stranger = DnsProvider { follow_cname: false, ..stranger };
    let odd = wait(publisher(&knot, &stranger, KEY).publish("_acme-challenge.x.org", "one"));
    assert!(matches!(odd, Err(DnsError::Settings(_))), "{odd:?}");
}

#[test]
fn a_server_that_is_away_is_told() {
    let knot = Knot::start("hmac-sha256");
    let provider = updates(SocketAddr::new(loopback().into(), 53), TsigAlgorithm::HmacSha256);
    let error = wait(publisher(&knot, &provider, KEY).publish(NAME, "one")).unwrap_err();
    assert!(error.to_string().contains("does not answer"), "{error}");
    let server = knot.server();
    let publisher = publisher(&knot, &updates(server, TsigAlgorithm::HmacSha256), KEY);
    drop(knot);
    let error = wait(publisher.publish(NAME, "one")).unwrap_err().to_string();
    assert!(error.contains(&server.to_string()) && error.contains("does not answer"), "{error}");
}

#[test]
fn a_record_is_visible_when_the_last_server_of_its_zone_shows_it() {
    let servers = [(); 2].map(|()| SocketAddr::new(loopback().into(), 53));
    let primary = Knot::start_at(servers[0], &servers, "hmac-sha256");
    let second = Knot::start_at(servers[1], &servers, "hmac-sha256");
    let of = |knot: &Knot| publisher(knot, &updates(knot.server(), TsigAlgorithm::HmacSha256), KEY);
    wait(of(&primary).publish(NAME, "one")).unwrap();
    let seen = wait(of(&primary).is_visible(NAME, "one")).unwrap();
    let Visibility::NotYet { detail } = seen else { panic!("the second server knows nothing") };
    assert!(detail.contains(&second.server().to_string()), "{detail}");
    wait(of(&second).publish(NAME, "one")).unwrap();
    assert!(is_everywhere(&of(&primary), NAME, "one"));
    let only_first = of(&primary);
    drop(second);
    assert!(!is_everywhere(&only_first, NAME, "one"), "a silent server shows nothing");
}

#[test]
fn the_name_of_a_wildcard_is_that_of_its_parent() {
    assert_eq!(challenge_name("*.example.test"), "_acme-challenge.example.test");
    assert_eq!(challenge_name("example.test"), "_acme-challenge.example.test");
}
