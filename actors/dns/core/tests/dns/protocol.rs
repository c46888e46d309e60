//! RFC 8906 (BCP 231) and EDNS, byte for byte.

use crate::world::{WEB, container, description, question, raw, service, tell, zones};
use hickory_proto::op::Message;
use jaco_dns_core::{Transport, Zones};

/// `web A` with these header flags, and the bytes of an OPT record.
fn packet(flags: u16, opt: &[u8]) -> Vec<u8> {
    let mut packet = vec![
        0x12,
        0x34,
        (flags >> 8) as u8,
        flags as u8,
        0,
        1,
        0,
        0,
        0,
        0,
        0,
        u8::from(!opt.is_empty()),
    ];
    packet.extend(b"\x03wEb\0\0\x01\0\x01");
    packet.extend(opt);
    packet
}

fn opt(size: u16, version: u8, flags: u16, options: &[u8]) -> Vec<u8> {
    let mut opt =
        vec![0, 0, 41, (size >> 8) as u8, size as u8, 0, version, (flags >> 8) as u8, flags as u8];
    opt.extend((options.len() as u16).to_be_bytes());
    opt.extend(options);
    opt
}

fn reply(packet: &[u8]) -> Vec<u8> {
    raw(&zones(), WEB, packet, Transport::Udp).unwrap().unwrap()
}

fn flags(reply: &[u8]) -> u16 {
    u16::from_be_bytes([reply[2], reply[3]])
}

/// The OPT record at the end of an answer: size, extended code, version, flags, options.
fn last_opt(reply: &[u8]) -> (u16, u8, u8, u16, u16) {
    let opt = &reply[reply.len() - 11..];
    assert_eq!(opt[..3], [0, 0, 41]);
    let word = |at: usize| u16::from_be_bytes([opt[at], opt[at + 1]]);
    (word(3), opt[5], opt[6], word(7), word(9))
}

const QR_AA_RA: u16 = 0x8480;
const RD: u16 = 0x0100;

#[test]
fn flags_come_back_as_they_should() {
    for (sent, back) in [
        (0, QR_AA_RA),
        (RD, QR_AA_RA | RD),
        // Authentic data is never claimed, the reserved bit and AA, TC, RA of a query are not echoed.
        (RD | 0x0020, QR_AA_RA | RD),
        (RD | 0x0040, QR_AA_RA | RD),
        (0x0680, QR_AA_RA),
        (RD | 0x0010, QR_AA_RA | RD | 0x0010),
    ] {
        let reply = reply(&packet(sent, &[]));
        assert_eq!(flags(&reply), back, "{sent:04x}");
        assert_eq!(reply[..2], [0x12, 0x34]);
        assert_eq!(&reply[12..21], b"\x03wEb\0\0\x01\0\x01", "case is echoed");
        assert_eq!(reply[10..12], [0, 0], "no OPT where none was");
    }
}

#[test]
fn edns_is_answered_with_edns() {
    let plain = reply(&packet(RD, &opt(4096, 0, 0, &[])));
    assert_eq!(last_opt(&plain), (1232, 0, 0, 0, 0));
    // Unknown options and flags are ignored and do not come back; DO does.
    let unknown = reply(&packet(RD, &opt(4096, 0, 0x7fff, b"\0\x64\0\x03abc\0\x0a\0\x0812345678")));
    assert_eq!((flags(&unknown) & 15, last_opt(&unknown)), (0, (1232, 0, 0, 0, 0)));
    let dnssec = reply(&packet(RD, &opt(512, 0, 0x8000, &[])));
    assert_eq!(last_opt(&dnssec), (1232, 0, 0, 0x8000, 0));
}

#[test]
fn other_versions_of_edns_are_told_ours() {
    for options in [&b""[..], b"\0\x64\0\0"] {
        let reply = reply(&packet(RD, &opt(4096, 100, 0x8000, options)));
        // BADVERS is 16: the upper bits are in the OPT record, and there is no answer.
        assert_eq!(flags(&reply) & 15, 0);
        assert_eq!(last_opt(&reply), (1232, 1, 0, 0x8000, 0));
        assert_eq!(reply[6..10], [0, 0, 0, 0]);
    }
}

#[test]
fn what_cannot_be_read_is_a_format_error() {
    let good = packet(RD, &[]);
    let with = |change: &dyn Fn(&mut Vec<u8>)| {
        let mut packet = good.clone();
        change(&mut packet);
        packet
    };
    let two_opts = {
        let mut both = packet(RD, &[opt(512, 0, 0, &[]), opt(512, 0, 0, &[])].concat());
        both[11] = 2;
        both
    };
    let mut named_opt = opt(512, 0, 0, &[]);
    named_opt.splice(0..1, *b"\x01a\0");
    for (what, packet) in [
        ("no question", with(&|p| p[5] = 0)),
        (
            "no question, nothing else",
            with(&|p| {
                p[5] = 0;
                p.truncate(12);
            }),
        ),
        (
            "two questions",
            with(&|p| {
                p[5] = 2;
                p.extend(b"\x03web\0\0\x01\0\x01");
            }),
        ),
        ("cut", with(&|p| p.truncate(18))),
        ("more than it says", with(&|p| p.push(0))),
        (
            "a pointer",
            with(&|p| {
                p.splice(12..17, [0xc0, 12]);
            }),
        ),
        ("two OPT records", two_opts),
        ("an OPT record with a name", packet(RD, &named_opt)),
        ("an option that is cut", packet(RD, &opt(512, 0, 0, b"\0\x0a\0\x08123"))),
        ("a missing record", with(&|p| p[11] = 1)),
    ] {
        let reply = reply(&packet);
        assert_eq!((flags(&reply) & 15, reply.len()), (1, 12), "{what}");
        assert_eq!(reply[..2], [0x12, 0x34]);
        assert_eq!(reply[4..], [0; 8]);
    }
}

#[test]
fn other_operations_and_classes_are_refused() {
    for opcode in [1_u16, 2, 4, 5, 15] {
        let reply = reply(&packet(opcode << 11, &[]));
        assert_eq!(flags(&reply), 0x8080 | opcode << 11 | 4, "{opcode}");
        assert_eq!(reply.len(), 12);
    }
    for class in [3_u8, 4, 254, 255] {
        let mut query = packet(RD, &[]);
        query[20] = class;
        let reply = reply(&query);
        assert_eq!((flags(&reply) & 15, &reply[4..12]), (5, &[0, 1, 0, 0, 0, 0, 0, 0][..]));
    }
}

#[test]
fn answers_and_fragments_of_a_header_get_nothing() {
    let zones = zones();
    let answer = packet(0x8000, &[]);
    for packet in [&answer[..], &answer[..11], &[], &packet(0, &[])[..11]] {
        assert!(raw(&zones, WEB, packet, Transport::Udp).is_none());
    }
}

#[test]
fn a_long_answer_is_cut_by_udp_and_whole_by_tcp() {
    let mut description = description();
    let mut many = service("webshop/many", &["webshop/default"]);
    many.ports.clone_from(&description.services[0].ports);
    description.services.push(many);
    for at in 0..20 {
        let mut container = container(
            &format!("webshop-many-{at}"),
            &[("webshop/default", &format!("10.80.7.{}", at + 2))],
            "r",
        );
        container.ports.clone_from(&description.services[0].ports);
        description.containers.push(container);
    }
    let zones = Zones::build(&description, 1);
    let mut query = question("_http._tcp.many SRV");
    let ask = |query: &Message, transport| {
        let bytes = raw(&zones, WEB, &query.to_vec().unwrap(), transport).unwrap().unwrap();
        (bytes.len(), Message::from_vec(&bytes).unwrap())
    };
    let (length, cut) = ask(&query, Transport::Udp);
    assert!(length < 512);
    assert_eq!(tell(&cut), "NOERROR | TC");
    let (length, whole) = ask(&query, Transport::Tcp);
    assert!(length > 512);
    assert_eq!((whole.answers.len(), whole.additionals.len()), (20, 20));
    assert!(!whole.metadata.truncation);
    // More room by EDNS, but no more than is safe: the addresses are left out first.
    let mut edns = hickory_proto::op::Edns::new();
    edns.set_max_payload(4096);
    query.set_edns(edns);
    let (length, some) = ask(&query, Transport::Udp);
    assert!(length <= 1232, "{length}");
    assert_eq!((some.metadata.truncation, some.answers.len()), (false, 20));
    assert!(some.additionals.len() < 20);
}
