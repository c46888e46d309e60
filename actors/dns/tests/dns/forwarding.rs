//! Names of the world outside.

use crate::world::{
    PORT, Upstream, World, address, address_for, ask, own, pause, question, read_framed, receive,
    response, socket, stream, told, web, write_framed, zones,
};
use hickory_proto::op::ResponseCode;
use hickory_proto::rr::rdata::{SOA, TXT};
use hickory_proto::rr::{Name, RData, Record};
use jaco_dns::Config;
use jaco_dns_core::Effect;
use jaco_kit::Clock;
use std::net::Ipv4Addr;
use std::sync::atomic::Ordering;
use std::time::Duration;

fn found(last: u8) -> (ResponseCode, Vec<Ipv4Addr>) {
    (ResponseCode::NoError, vec![Ipv4Addr::new(192, 0, 2, last)])
}

const FAILED: (ResponseCode, Vec<Ipv4Addr>) = (ResponseCode::ServFail, Vec::new());

#[test]
fn an_answer_is_fetched_once_and_names_of_ours_never_leave() {
    let upstream = Upstream::good(130);
    let world = World::new(&[upstream.address]);
    for name in ["www.example.com A", "WWW.Example.COM A", "www.example.com A"] {
        assert_eq!(told(&ask(web(), name)), found(130));
    }
    for name in ["web A", "nope A", "x.webshop A", "x.jaco.internal A", "web AAAA"] {
        ask(web(), name);
    }
    assert_eq!(upstream.asked(), 1);
    let counts = world.handle.counts();
    assert_eq!((counts.forwarded, counts.from_cache, counts.failed), (3, 2, 0));
}

#[test]
fn the_next_is_asked_when_one_cannot_say() {
    for code in [ResponseCode::ServFail, ResponseCode::Refused, ResponseCode::NotImp] {
        let (bad, good) = (Upstream::failing(130, code), Upstream::good(131));
        let world = World::new(&[bad.address, good.address]);
        assert_eq!(told(&ask(web(), "a.example A")), found(131));
        // The one that failed is asked last for a while.
        assert_eq!(told(&ask(web(), "b.example A")), found(131));
        assert_eq!((bad.asked(), good.asked()), (1, 2));
        let failing: Vec<bool> = world.handle.upstreams().iter().map(|up| up.is_failing).collect();
        assert_eq!(failing, [true, false]);
        drop(world);
    }
}

#[test]
fn the_next_is_asked_when_one_is_silent_or_gone() {
    let (silent, good) = (Upstream::silent(130), Upstream::good(132));
    let gone = Upstream::silent(131).address;
    let _world = World::new(&[silent.address, gone, good.address]);
    assert_eq!(told(&ask(web(), "a.example A")), found(132));
    assert_eq!((silent.asked(), good.asked()), (1, 1));
}

#[test]
fn absence_is_an_answer_and_failure_is_not_absence() {
    let missing = Upstream::failing(130, ResponseCode::NXDomain);
    let good = Upstream::good(131);
    let world = World::new(&[missing.address, good.address]);
    assert_eq!(told(&ask(web(), "a.example A")).0, ResponseCode::NXDomain);
    assert_eq!(good.asked(), 0);
    drop(world);
    let empty = Upstream::failing(132, ResponseCode::NoError);
    let world = World::new(&[empty.address, good.address]);
    assert_eq!(told(&ask(web(), "a.example AAAA")).0, ResponseCode::NoError);
    assert_eq!(good.asked(), 0);
    drop(world);
    let bad = [130, 131].map(|last| Upstream::failing(last + 10, ResponseCode::Refused).address);
    let _world = World::new(&bad);
    assert_eq!(told(&ask(web(), "a.example A")), FAILED);
}

#[test]
fn absence_is_kept_for_as_long_as_it_says() {
    let upstream = Upstream::new(
        (own(130), 0),
        |m, _| {
            vec![response(m, |m| {
                m.metadata.response_code = ResponseCode::NXDomain;
                let name = Name::from_ascii("example.").unwrap();
                let soa = SOA::new(name.clone(), name.clone(), 1, 2, 3, 4, 30);
                m.add_authority(Record::from_rdata(name, 30, RData::SOA(soa)));
            })]
        },
        |_, _| Vec::new(),
    );
    let _world = World::new(&[upstream.address]);
    for _ in 0..3 {
        assert_eq!(told(&ask(web(), "a.example A")).0, ResponseCode::NXDomain);
    }
    assert_eq!(upstream.asked(), 1);
}

#[test]
fn answers_of_strangers_and_guesses_are_ignored() {
    let stranger = std::net::UdpSocket::bind((own(140), 0)).unwrap();
    let upstream = Upstream::new(
        (own(130), 0),
        move |m, _| {
            let mut wrong_id = address(m, 66);
            wrong_id[1] ^= 1;
            let mut wrong_name = address(m, 66);
            wrong_name[13] ^= 1;
            vec![wrong_id, wrong_name, b"noise".to_vec(), address(m, 130)]
        },
        |_, _| Vec::new(),
    );
    let _world = World::new(&[upstream.address]);
    assert_eq!(told(&ask(web(), "a.example A")), found(130));
    drop(stranger);
}

#[test]
fn a_cut_answer_is_fetched_by_tcp() {
    let long = |m: &hickory_proto::op::Message| {
        response(m, |m| {
            let name = m.queries[0].name().clone();
            for _ in 0..10 {
                let text = TXT::new(vec!["x".repeat(200)]);
                m.add_answer(Record::from_rdata(name.clone(), 60, RData::TXT(text)));
            }
        })
    };
    let upstream = Upstream::new(
        (own(130), 0),
        |m, _| vec![response(m, |m| m.metadata.truncation = true)],
        move |m, _| vec![long(m)],
    );
    let _world = World::new(&[upstream.address]);
    // Too long for this asker by UDP, so it comes by TCP.
    let cut = ask(web(), "big.example TXT");
    assert!(cut.metadata.truncation && cut.answers.is_empty());
    let mut stream = stream(web());
    write_framed(&mut stream, &[question(5, "big.example TXT")]);
    assert_eq!(read_framed(&mut stream).answers.len(), 10);
    assert_eq!((upstream.asked(), upstream.asked_by_tcp.load(Ordering::SeqCst)), (1, 1));
}

#[test]
fn an_upstream_that_changes_letters_is_asked_by_tcp() {
    let lower = |m: &hickory_proto::op::Message| {
        let mut bytes = address(m, 130);
        bytes[12..24].make_ascii_lowercase();
        bytes
    };
    let upstream =
        Upstream::new((own(130), 0), move |m, _| vec![lower(m)], move |m, _| vec![lower(m)]);
    let world = World::new(&[upstream.address]);
    // So many letters that by chance they are not all small.
    let name = "abcdefghijklmnopqrstuvwxyzabcdefghijklmnopqrstuvwxyz.example A";
    assert_eq!(told(&ask(web(), name)), found(130));
    // One that has no TCP either.
    let poor = Upstream::new((own(131), 0), move |m, _| vec![lower(m)], |_, _| Vec::new());
    world.handle.run(Effect::Serve(zones(&[poor.address])));
    assert_eq!(told(&ask(web(), name)), found(130));
    assert_eq!(poor.asked(), 2);
}

#[test]
fn an_old_answer_is_better_than_none() {
    let upstream =
        Upstream::new((own(130), 0), |m, _| vec![address_for(m, 130, 1)], |_, _| Vec::new());
    let _world = World::new(&[upstream.address]);
    assert_eq!(told(&ask(web(), "a.example A")), found(130));
    drop(upstream);
    pause(Duration::from_millis(1_200));
    let stale = ask(web(), "a.example A");
    assert_eq!((told(&stale), stale.answers[0].ttl), (found(130), 5));
    assert_eq!(told(&ask(web(), "b.example A")), FAILED);
}

#[test]
fn a_service_has_its_own_upstreams() {
    let (nodes, services) = (Upstream::good(130), Upstream::good(131));
    let world = World::new(&[nodes.address]);
    assert_eq!(told(&ask(web(), "a.example A")), found(130));
    world.handle.run(Effect::Serve(zones(&[services.address])));
    assert_eq!(told(&ask(web(), "a.example A")), found(131));
    assert_eq!(told(&ask(web(), "web A")).1.len(), 2);
}

#[test]
fn the_hosts_file_is_read_again_when_it_changes() {
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("resolv.conf");
    let one = Upstream::new((own(130), 53), |m, _| vec![address(m, 130)], |_, _| Vec::new());
    let two = Upstream::new((own(131), 53), |m, _| vec![address(m, 131)], |_, _| Vec::new());
    std::fs::write(&file, format!("nameserver {}\n", one.address.ip())).unwrap();
    let config = Config { port: PORT, resolv_conf: file.clone(), ..Config::new(Clock::new()) };
    let _world = World::with(config);
    assert_eq!(told(&ask(web(), "a.example A")), found(130));
    std::fs::write(&file, format!("# now\nnameserver {}\n", two.address.ip())).unwrap();
    pause(Duration::from_millis(1_200));
    assert_eq!(told(&ask(web(), "b.example A")), found(131));
    std::fs::remove_file(&file).unwrap();
    assert_eq!(told(&ask(web(), "c.example A")), found(131));
}

#[test]
fn one_container_has_256_questions_in_flight_and_others_go_on() {
    let silent = Upstream::silent(130);
    let world = World::new(&[silent.address]);
    let socket = socket(web());
    for id in 0..300 {
        socket.send(&question(id, &format!("n{id}.example A")).to_vec().unwrap()).unwrap();
    }
    // What is too much fails at once, what is in flight when its time is over.
    let early: Vec<_> = (0..44).map(|_| receive(&socket)).collect();
    assert!(early.iter().all(|message| told(message) == FAILED && message.metadata.id >= 256));
    assert_eq!(world.handle.counts().crowded, 44);
    assert_eq!(told(&ask(web(), "web A")).1.len(), 2);
    let late: Vec<_> = (0..256).map(|_| receive(&socket)).collect();
    assert!(late.iter().all(|message| told(message) == FAILED));
}

#[test]
fn who_wants_no_recursion_gets_none() {
    let upstream = Upstream::good(130);
    let _world = World::new(&[upstream.address]);
    let socket = socket(web());
    let mut message = question(3, "a.example A");
    message.metadata.recursion_desired = false;
    socket.send(&message.to_vec().unwrap()).unwrap();
    assert_eq!(told(&receive(&socket)).0, ResponseCode::Refused);
    assert_eq!(upstream.asked(), 0);
}
