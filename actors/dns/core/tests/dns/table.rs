//! Every row of the table of the specification.

use crate::world::{DB, DEV, LEDGER, WEB, ask, container, description, service, zones};
use jaco_dns_core::{Told, Zones, tell};
use std::net::Ipv4Addr;

const SOA_ZONE: &str = "SOA jaco.internal. serial=77 min=1 ttl=1";

fn check(source: Ipv4Addr, rows: &[(&str, String)]) {
    let zones = zones();
    for (question, expected) in rows {
        assert_eq!(ask(&zones, source, question), *expected, "{question}");
    }
}

fn addresses(addresses: &[&str]) -> String {
    let records = addresses.iter().map(|address| format!(" | {address} ttl=5"));
    format!("NOERROR{}", records.collect::<String>())
}

fn empty(apex: &str) -> String {
    format!("NOERROR | SOA {apex}. serial=77 min=1 ttl=1")
}

fn missing(apex: &str) -> String {
    format!("NXDOMAIN | SOA {apex}. serial=77 min=1 ttl=1")
}

#[test]
fn services_by_all_their_names() {
    // Both networks are shared; `web-2` is not ready and `web-3` does not run.
    let web = addresses(&["10.80.1.2", "10.80.1.66", "10.80.2.2", "10.80.2.66"]);
    let names = ["web", "WEB", "web.webshop", "web.jaco.internal", "Web.WebShop.Jaco.Internal"];
    check(WEB, &names.map(|name| (name, web.clone())).map(|(name, web)| (leak(name, "A"), web)));
    // The database is on one of the networks, and sees no other address.
    check(DB, &[("web A", addresses(&["10.80.2.2", "10.80.2.66"]))]);
    check(
        WEB,
        &[
            ("db A", addresses(&["10.80.2.3"])),
            ("postgres A", addresses(&["10.80.2.3"])),
            ("postgres.webshop A", addresses(&["10.80.2.3"])),
            ("db.main A", addresses(&["10.80.2.3"])),
            ("db.main.jaco.internal A", addresses(&["10.80.2.3"])),
            ("a.b A", addresses(&["10.80.1.9"])),
            ("a.b.webshop.jaco.internal A", addresses(&["10.80.1.9"])),
        ],
    );
}

fn leak(name: &str, kind: &str) -> &'static str {
    Box::leak(format!("{name} {kind}").into_boxed_str())
}

#[test]
fn replicas_and_tasks() {
    let tasks = addresses(&["10.80.1.2", "10.80.1.66", "10.80.1.67", "10.80.2.2", "10.80.2.66"]);
    let names = [
        "tasks.web",
        "tasks.web.webshop",
        "tasks.web.jaco.internal",
        "tasks.web.webshop.jaco.internal",
    ];
    check(WEB, &names.map(|name| (leak(name, "A"), tasks.clone())));
    check(
        WEB,
        &[
            ("webshop-web-1 A", addresses(&["10.80.1.66", "10.80.2.66"])),
            ("webshop-web-1.webshop A", addresses(&["10.80.1.66", "10.80.2.66"])),
            ("webshop-web-2.webshop.jaco.internal A", addresses(&["10.80.1.67"])),
            ("webshop-web-3 A", empty("webshop-web-3")),
            ("webshop-web-9 A", missing("webshop-web-9")),
            ("tasks.idle A", empty("idle")),
        ],
    );
}

#[test]
fn ports_by_name() {
    let target = |replica: &str| format!("0 1 8080 {replica}.webshop.jaco.internal. ttl=5");
    let extra =
        |replica: &str, address: &str| format!("{replica}.webshop.jaco.internal. {address} ttl=5");
    let srv = [
        "NOERROR".to_owned(),
        target("webshop-web-0"),
        target("webshop-web-1"),
        extra("webshop-web-0", "10.80.2.2"),
        extra("webshop-web-1", "10.80.2.66"),
    ]
    .join(" | ");
    let names = [
        "_http._tcp.web",
        "_HTTP._tcp.web.webshop",
        "_http._tcp.web.jaco.internal",
        "_http._tcp.web.webshop.jaco.internal",
    ];
    check(DB, &names.map(|name| (leak(name, "SRV"), srv.clone())));
    check(
        DB,
        &[
            ("_http._tcp.web A", empty("web")),
            ("_http._udp.web SRV", missing("web")),
            ("_nope._tcp.web SRV", missing("web")),
            ("_nope._tcp.web.webshop SRV", missing("webshop")),
            ("_http._tcp.db SRV", missing("db")),
            ("_sip._tcp.example.com SRV", "forward".to_owned()),
        ],
    );
}

#[test]
fn reverse_names() {
    check(
        WEB,
        &[
            (
                "66.1.80.10.in-addr.arpa PTR",
                "NOERROR | webshop-web-1.webshop.jaco.internal. ttl=5".into(),
            ),
            ("66.1.80.10.IN-ADDR.ARPA A", empty("80.10.IN-ADDR.ARPA")),
            // Not running, of another deployment, of nobody.
            ("68.1.80.10.in-addr.arpa PTR", missing("80.10.in-addr.arpa")),
            ("9.3.80.10.in-addr.arpa PTR", missing("80.10.in-addr.arpa")),
            ("1.2.95.10.in-addr.arpa PTR", missing("95.10.in-addr.arpa")),
            ("x.1.2.95.10.in-addr.arpa PTR", missing("95.10.in-addr.arpa")),
            ("80.10.in-addr.arpa NS", empty("80.10.in-addr.arpa")),
            // Not ours alone, or not ours at all.
            ("10.in-addr.arpa NS", "forward".into()),
            ("1.0.96.10.in-addr.arpa PTR", "forward".into()),
            ("1.0.0.127.in-addr.arpa PTR", "forward".into()),
            ("066.1.80.10.in-addr.arpa PTR", "forward".into()),
            ("x.in-addr.arpa PTR", "forward".into()),
        ],
    );
    // An address of the deployment in a network that the asker is not in.
    check(DB, &[("2.1.80.10.in-addr.arpa PTR", missing("80.10.in-addr.arpa"))]);
}

#[test]
fn names_that_exist_have_no_other_records() {
    for kind in ["AAAA", "MX", "TXT", "SRV", "HTTPS", "NS", "SOA", "PTR", "TYPE1000", "DS", "CNAME"]
    {
        check(
            WEB,
            &[
                (leak("web", kind), empty("web")),
                (leak("web.webshop", kind), empty("webshop")),
                (leak("web.webshop.jaco.internal", kind), format!("NOERROR | {SOA_ZONE}")),
            ],
        );
    }
    check(
        WEB,
        &[
            ("idle A", empty("idle")),
            ("idle.webshop AAAA", empty("webshop")),
            ("jaco.internal A", format!("NOERROR | {SOA_ZONE}")),
            ("webshop.jaco.internal A", format!("NOERROR | {SOA_ZONE}")),
            ("jaco.internal SOA", "NOERROR | SOA jaco.internal. serial=77 min=1 ttl=5".into()),
            ("web ANY", "NOERROR | HINFO RFC8482 ttl=5".into()),
            ("example.com ANY", "NOERROR | HINFO RFC8482 ttl=5".into()),
            ("web AXFR", "REFUSED".into()),
            ("jaco.internal TYPE251", "REFUSED".into()),
            ("example.com AXFR", "REFUSED".into()),
            (". NS", "REFUSED".into()),
        ],
    );
}

#[test]
fn names_that_do_not_exist() {
    check(
        WEB,
        &[
            ("nope A", missing("nope")),
            ("nope ANY", missing("nope")),
            ("localhost A", missing("localhost")),
            ("webshop A", missing("webshop")),
            ("nope.jaco.internal A", format!("NXDOMAIN | {SOA_ZONE}")),
            ("nope.webshop.jaco.internal A", format!("NXDOMAIN | {SOA_ZONE}")),
            ("nope.webshop A", missing("webshop")),
            // Of other deployments, in every spelling.
            ("gate.ledger A", missing("ledger")),
            ("x.y.ledger A", missing("ledger")),
            ("gate.ledger.jaco.internal A", format!("NXDOMAIN | {SOA_ZONE}")),
            ("ledger-gate-0 A", missing("ledger-gate-0")),
            ("web.dev.jaco.internal A", format!("NXDOMAIN | {SOA_ZONE}")),
            ("x.idle-one A", missing("idle-one")),
            // Of the own deployment, in a network that the asker is not in.
            ("gate A", missing("gate")),
            ("gate.webshop A", missing("webshop")),
            // Of the world.
            ("web.dev A", "forward".into()),
            ("example.com A", "forward".into()),
            ("web.example AAAA", "forward".into()),
            ("jaco.internal.example TXT", "forward".into()),
            ("ajaco.internal A", "forward".into()),
        ],
    );
    check(DB, &[("idle A", missing("idle")), ("a.b A", "forward".into())]);
    check(LEDGER, &[("web A", missing("web")), ("web.webshop A", missing("webshop"))]);
}

#[test]
fn a_shared_network_shows_its_own_names_alone() {
    check(
        LEDGER,
        &[
            // The own deployment's service of that name goes first; the other has its full name.
            ("gate A", addresses(&["10.80.3.9"])),
            ("gate.ledger A", addresses(&["10.80.3.9"])),
            ("gate.webshop A", addresses(&["10.80.5.9"])),
            ("gate.webshop.jaco.internal A", addresses(&["10.80.5.9"])),
            ("book A", addresses(&["10.80.3.2", "10.80.5.2"])),
            (
                "9.5.80.10.in-addr.arpa PTR",
                "NOERROR | webshop-gate-0.webshop.jaco.internal. ttl=5".into(),
            ),
            ("2.1.80.10.in-addr.arpa PTR", missing("80.10.in-addr.arpa")),
        ],
    );
}

#[test]
fn a_deployment_of_a_public_name_leaves_it_to_the_world() {
    check(
        DEV,
        &[
            ("web A", addresses(&["10.80.4.2"])),
            ("web.dev.jaco.internal A", addresses(&["10.80.4.2"])),
            ("web.dev A", "forward [192.0.2.9:53]".into()),
            ("nope.dev A", "forward [192.0.2.9:53]".into()),
        ],
    );
}

#[test]
fn strangers_get_nothing() {
    let zones = zones();
    // A gateway, a container of another node, somebody else, and a container that is gone.
    for source in ["10.80.1.1", "10.80.1.66", "192.0.2.1", "10.80.1.68"] {
        let source = source.parse().unwrap();
        for question in ["web A", "nope A", "example.com A", "web AXFR"] {
            assert_eq!(ask(&zones, source, question), "silence", "{source}");
        }
    }
}

#[test]
fn at_most_25_addresses_are_given_each_about_equally_often() {
    let mut description = description();
    description.services.push(service("webshop/many", &["webshop/default"]));
    for at in 0..60 {
        let replica = format!("webshop-many-{at}");
        let address = format!("10.80.7.{}", at + 2);
        description.containers.push(container(&replica, &[("webshop/default", &address)], "r"));
    }
    let zones = Zones::build(&description, 1);
    let packet = crate::world::question("many A").to_vec().unwrap();
    let mut dice = jaco_dns_core::Dice::new(3);
    let mut seen = std::collections::BTreeMap::new();
    for _ in 0..600 {
        let mut out = Vec::new();
        let udp = jaco_dns_core::Transport::Udp;
        jaco_dns_core::respond(&zones, WEB, &packet, udp, &mut dice, &mut out);
        assert!(out.len() < 512);
        let message = hickory_proto::op::Message::from_vec(&out).unwrap();
        assert_eq!(message.answers.len(), 25);
        for record in message.answers {
            *seen.entry(record.data.to_string()).or_insert(0) += 1;
        }
    }
    assert_eq!(seen.len(), 60);
    assert!(seen.values().all(|times| (190..310).contains(times)), "{seen:?}");
}

#[test]
fn what_is_told_to_people_is_what_is_answered() {
    let zones = zones();
    let told = |source, name| tell(&zones, source, name);
    let addresses =
        |all: &[&str]| Told::Addresses(all.iter().map(|a| a.parse().unwrap()).collect());
    assert_eq!(told(WEB, "DB"), addresses(&["10.80.2.3"]));
    assert_eq!(told(WEB, "idle.webshop"), Told::Empty);
    assert_eq!(told(WEB, "book.ledger"), Told::Missing);
    assert_eq!(told(WEB, "example.org"), Told::Forward(None));
    let own = told(DEV, "example.org");
    assert!(matches!(&own, Told::Forward(Some(list)) if list.len() == 1), "{own:?}");
    let Told::Services(targets) = told(DB, "_http._tcp.web") else { panic!("no ports") };
    assert_eq!(targets[0], (8080, "webshop-web-0.webshop.jaco.internal".to_owned()));
    let name = Told::Pointer("webshop-db-0.webshop.jaco.internal".to_owned());
    assert_eq!(told(WEB, "3.2.80.10.in-addr.arpa"), name);
    assert_eq!(told("10.80.9.9".parse().unwrap(), "db"), Told::Stranger);
}
