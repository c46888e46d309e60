//! What is asked of upstreams, believed, kept and handed on.

use crate::world::{question, tell};
use hickory_proto::op::{Edns, Message, MessageType, ResponseCode};
use hickory_proto::rr::rdata::{A, SOA, TXT};
use hickory_proto::rr::{Name, RData, Record};
use jaco_dns_core::{
    Cache, CacheKey, Description, Dice, Query, Reply, Request, Response, Transport, Unfit, Verdict,
    Zones, respond,
};
use jaco_kit_core::Mono;
use std::net::SocketAddr;
use std::sync::Arc;

fn with_request<T>(message: &Message, then: impl FnOnce(&Request<'_>) -> T) -> T {
    let zones = crate::world::zones();
    let packet = message.to_vec().unwrap();
    let mut out = Vec::new();
    let udp = Transport::Udp;
    let source = crate::world::WEB;
    match respond(&zones, source, &packet, udp, &mut Dice::new(1), &mut out) {
        Response::Forward(_) => then(&Request::parse(&packet).unwrap()),
        other => panic!("{other:?}"),
    }
}

fn query(message: &Message) -> Query {
    with_request(message, |request| Query::new(request, 0xbeef, 0x5555_5555))
}

fn name(text: &str) -> Name {
    Name::from_ascii(text).unwrap()
}

/// An answer of an upstream to `query`.
fn answer(query: &Query, fill: impl FnOnce(&mut Message)) -> Vec<u8> {
    let mut message = Message::from_vec(query.as_bytes()).unwrap();
    message.metadata.message_type = MessageType::Response;
    message.metadata.recursion_available = true;
    message.metadata.authoritative = true;
    message.metadata.authentic_data = true;
    fill(&mut message);
    message.to_vec().unwrap()
}

fn a(owner: &str, ttl: u32, last: u8) -> Record {
    Record::from_rdata(name(owner), ttl, RData::A(A::new(192, 0, 2, last)))
}

fn soa(ttl: u32, minimum: u32) -> Record {
    let soa = SOA::new(name("ns.example."), name("mail.example."), 1, 2, 3, 4, minimum);
    Record::from_rdata(name("example."), ttl, RData::SOA(soa))
}

#[test]
fn a_query_has_a_case_and_an_id_of_its_own() {
    let mut asked = question("Www.Example.com AAAA");
    asked.metadata.checking_disabled = true;
    asked.set_edns(Edns::new()).edns.as_mut().unwrap().set_dnssec_ok(true);
    let query = query(&asked);
    assert_eq!(&query.as_bytes()[12..29], b"\x03WwW\x07eXaMpLe\x03CoM\0");
    let sent = Message::from_vec(query.as_bytes()).unwrap();
    assert_eq!(sent.metadata.id, 0xbeef);
    assert!(sent.metadata.recursion_desired && sent.metadata.checking_disabled);
    let edns = sent.edns.unwrap();
    assert_eq!((edns.max_payload(), edns.flags().dnssec_ok), (1232, true));
}

#[test]
fn only_what_repeats_the_question_is_an_answer() {
    let query = query(&question("www.example.com A"));
    let good = answer(&query, |m| {
        m.add_answer(a("www.example.com.", 60, 1));
    });
    let change = |at: usize, byte: u8| {
        let mut bytes = good.clone();
        bytes[at] = byte;
        bytes
    };
    let read = |bytes: &[u8]| Reply::read(&query, bytes, Transport::Udp).map(|_| ());
    assert_eq!(read(&good), Ok(()));
    assert_eq!(read(&change(0, 0)), Err(Unfit::Foreign), "another id");
    assert_eq!(read(&change(2, 0)), Err(Unfit::Foreign), "no answer");
    assert_eq!(read(&change(14, b'x')), Err(Unfit::Foreign), "another name");
    assert_eq!(read(&change(30, 28)), Err(Unfit::Foreign), "another type");
    assert_eq!(read(&change(13, good[13] ^ 0x20)), Err(Unfit::Case));
    let wrong_case = change(13, good[13] ^ 0x20);
    assert!(Reply::read(&query, &wrong_case, Transport::Tcp).is_ok());
    assert_eq!(read(&change(2, good[2] | 2)), Err(Unfit::Truncated));
    assert_eq!(read(&good[..good.len() - 13]), Err(Unfit::Broken));
    assert_eq!(read(&[]), Err(Unfit::Foreign));
}

#[test]
fn some_codes_end_the_search_and_others_do_not() {
    let query = query(&question("www.example.com A"));
    for (code, verdict) in [
        (ResponseCode::NoError, Verdict::Final),
        (ResponseCode::NXDomain, Verdict::Final),
        (ResponseCode::ServFail, Verdict::Next),
        (ResponseCode::Refused, Verdict::Next),
        (ResponseCode::NotImp, Verdict::Next),
        (ResponseCode::FormErr, Verdict::Next),
        (ResponseCode::BADVERS, Verdict::Next),
    ] {
        let bytes = answer(&query, |m| m.metadata.response_code = code);
        let reply = Reply::read(&query, &bytes, Transport::Udp).unwrap();
        assert_eq!(reply.verdict(), verdict, "{code}");
    }
    let mut header = query.as_bytes()[..12].to_vec();
    header[2..].copy_from_slice(&[0x81, 0x85, 0, 0, 0, 0, 0, 0, 0, 0]);
    let refused = Reply::read(&query, &header, Transport::Udp).unwrap();
    assert_eq!(refused.verdict(), Verdict::Next);
}

#[test]
fn answers_are_kept_as_long_as_they_may_be() {
    let query = query(&question("www.example.com A"));
    let kept = |fill: &dyn Fn(&mut Message)| {
        Reply::read(&query, &answer(&query, |m| fill(m)), Transport::Udp).unwrap().keep_for()
    };
    let www = "www.example.com.";
    assert_eq!(
        kept(&|m| {
            m.add_answer(a(www, 60, 1)).add_answer(a(www, 30, 2));
        }),
        Some(30)
    );
    assert_eq!(
        kept(&|m| {
            m.add_answer(a(www, 86_400, 1));
        }),
        Some(300)
    );
    assert_eq!(
        kept(&|m| {
            m.add_answer(a(www, 0, 1));
        }),
        None
    );
    assert_eq!(
        kept(&|m| {
            m.add_authority(soa(3_600, 900));
        }),
        Some(60)
    );
    assert_eq!(
        kept(&|m| {
            m.add_authority(soa(20, 900));
        }),
        Some(20)
    );
    assert_eq!(kept(&|_| ()), None, "empty without a SOA record");
    let missing = |m: &mut Message| {
        m.metadata.response_code = ResponseCode::NXDomain;
        m.add_authority(soa(3_600, 5));
    };
    assert_eq!(kept(&missing), Some(5));
    assert_eq!(
        kept(&|m| {
            m.metadata.response_code = ResponseCode::ServFail;
            m.add_answer(a(www, 60, 1));
        }),
        None
    );
}

#[test]
fn the_asker_gets_its_own_question_back() {
    let asked = question("wWw.example.com A");
    let query = query(&asked);
    let bytes = answer(&query, |m| {
        m.add_answer(a("www.example.com.", 60, 1)).add_additional(a("x.example.com.", 50, 2));
    });
    let reply = Reply::read(&query, &bytes, Transport::Udp).unwrap();
    let write = |asked: &Message, age, is_stale| {
        let mut out = Vec::new();
        with_request(asked, |request| {
            reply.write(request, Transport::Udp, age, is_stale, &mut out)
        });
        (out.clone(), Message::from_vec(&out).unwrap())
    };
    let (bytes, message) = write(&asked, 10, false);
    assert_eq!(&bytes[12..29], b"\x03wWw\x07example\x03com\0");
    assert_eq!(tell(&message), "NOERROR | 192.0.2.1 ttl=50 | x.example.com. 192.0.2.2 ttl=40");
    let flags = message.metadata;
    assert_eq!(flags.id, 4_711);
    assert!(flags.recursion_available && !flags.authoritative && !flags.authentic_data);
    assert!(message.edns.is_none(), "no OPT where none was");
    assert!(tell(&write(&asked, 100, false).1).contains("192.0.2.1 ttl=0"));
    assert!(tell(&write(&asked, 100, true).1).contains("192.0.2.1 ttl=5"));
    let mut with_edns = asked.clone();
    with_edns.set_edns(Edns::new());
    let (_, message) = write(&with_edns, 0, false);
    assert!(message.edns.is_some() && message.answers.len() == 1);
}

#[test]
fn a_long_answer_is_cut_for_those_who_take_less() {
    let query = query(&question("big.example.com TXT"));
    let bytes = answer(&query, |m| {
        for _ in 0..4 {
            let text = TXT::new(vec!["x".repeat(200)]);
            m.add_answer(Record::from_rdata(name("big.example.com."), 9, RData::TXT(text)));
        }
    });
    let reply = Reply::read(&query, &bytes, Transport::Udp).unwrap();
    let write = |transport| {
        let mut out = Vec::new();
        with_request(&question("big.example.com TXT"), |r| {
            reply.write(r, transport, 0, false, &mut out)
        });
        Message::from_vec(&out).unwrap()
    };
    assert_eq!(tell(&write(Transport::Udp)), "NOERROR | TC");
    assert_eq!(write(Transport::Tcp).answers.len(), 4);
}

fn list(text: &str) -> Arc<[SocketAddr]> {
    Arc::from([text.parse().unwrap()])
}

#[test]
fn the_cache_keeps_fresh_and_stale_answers_apart() {
    let asked = question("www.example.com A");
    let query = query(&asked);
    let bytes = answer(&query, |m| {
        m.add_answer(a("www.example.com.", 60, 1));
    });
    let reply = Arc::new(Reply::read(&query, &bytes, Transport::Udp).unwrap());
    let key =
        |asked: &Message, upstreams| with_request(asked, |r| CacheKey::new(r, &list(upstreams)));
    let own = key(&question("WWW.example.com A"), "192.0.2.1:53");
    let mut cache = Cache::default();
    cache.keep(Mono(1_000), key(&asked, "192.0.2.1:53"), reply.clone());
    assert_eq!(cache.fresh(Mono(11_999), &own).map(|(_, age)| age), Some(10));
    assert!(cache.fresh(Mono(61_000), &own).is_none());
    assert!(cache.stale(Mono(61_000), &own).is_some());
    assert!(cache.stale(Mono(661_000), &own).is_none());
    for other in [
        key(&question("www.example.com AAAA"), "192.0.2.1:53"),
        key(&asked, "192.0.2.2:53"),
        key(&question("ww.example.com A"), "192.0.2.1:53"),
    ] {
        assert!(cache.fresh(Mono(2_000), &other).is_none());
    }
}

#[test]
fn the_cache_is_bounded_and_drops_what_ends_first() {
    let short = question("short.example.com A");
    let read = |asked: &Message, ttl| {
        let query = query(asked);
        let bytes = answer(&query, |m| {
            m.add_answer(Record::from_rdata(
                m.queries[0].name().clone(),
                ttl,
                RData::A(A::new(192, 0, 2, 1)),
            ));
        });
        Arc::new(Reply::read(&query, &bytes, Transport::Udp).unwrap())
    };
    let key = |asked: &Message| with_request(asked, |r| CacheKey::new(r, &list("192.0.2.1:53")));
    let mut cache = Cache::default();
    cache.keep(Mono(0), key(&short), read(&short, 2));
    let long = read(&question("long.example.com A"), 200);
    for at in 0..10_000 {
        cache.keep(Mono(1), key(&question(&format!("n{at}.example.com A"))), long.clone());
    }
    assert_eq!(cache.len(), 10_000);
    assert!(cache.stale(Mono(2), &key(&short)).is_none());
    assert!(cache.fresh(Mono(2), &key(&question("n9999.example.com A"))).is_some());
    // The same question again takes no further room.
    cache.keep(Mono(2), key(&question("n9999.example.com A")), long);
    assert_eq!(cache.len(), 10_000);
}

#[test]
fn nothing_is_told_of_an_empty_cluster() {
    let zones = Zones::build(&Description::default(), 1);
    assert_eq!(crate::world::ask(&zones, crate::world::WEB, "web A"), "silence");
}
