//! Questions by TCP.

use crate::world::{
    Upstream, World, address, ask, own, pause, question, read_framed, stream, told, web,
    write_framed,
};
use hickory_proto::op::ResponseCode;
use std::collections::BTreeSet;
use std::io::{Read, Write};
use std::net::Shutdown;
use std::time::Duration;

#[test]
fn many_questions_on_one_connection() {
    let _world = World::new(&[]);
    let mut stream = stream(web());
    let questions: Vec<_> = (0..200).map(|id| question(id, "web A")).collect();
    write_framed(&mut stream, &questions);
    let ids: BTreeSet<u16> = (0..200).map(|_| read_framed(&mut stream).metadata.id).collect();
    assert_eq!(ids.len(), 200);
    // In pieces.
    let message = question(1_000, "nope A").to_vec().unwrap();
    let framed = [&(message.len() as u16).to_be_bytes()[..], &message].concat();
    for byte in framed {
        stream.write_all(&[byte]).unwrap();
    }
    assert_eq!(read_framed(&mut stream).metadata.response_code, ResponseCode::NXDomain);
}

#[test]
fn a_slow_answer_does_not_hold_up_the_next() {
    let upstream = Upstream::new(
        (own(130), 0),
        |m, _| {
            pause(Duration::from_millis(400));
            vec![address(m, 130)]
        },
        |_, _| Vec::new(),
    );
    let _world = World::new(&[upstream.address]);
    let mut stream = stream(web());
    write_framed(&mut stream, &[question(1, "example.com A"), question(2, "web A")]);
    // The client says that it asks no more; both answers still come.
    stream.shutdown(Shutdown::Write).unwrap();
    assert_eq!(read_framed(&mut stream).metadata.id, 2);
    let slow = read_framed(&mut stream);
    assert_eq!((slow.metadata.id, told(&slow).1), (1, vec!["192.0.2.130".parse().unwrap()]));
    assert_eq!(stream.read(&mut [0; 1]).unwrap(), 0);
}

#[test]
fn a_container_has_32_connections_and_strangers_none() {
    let world = World::new(&[]);
    let mut open: Vec<_> = (0..32).map(|_| stream(web())).collect();
    for stream in &mut open {
        write_framed(stream, &[question(1, "web A")]);
        assert_eq!(told(&read_framed(stream)).0, ResponseCode::NoError);
    }
    assert!(is_closed(stream(web())));
    assert!(is_closed(stream(own(99))));
    assert_eq!(world.handle.counts().connections_refused, 1);
    let mut other = stream(own(3));
    write_framed(&mut other, &[question(1, "web A")]);
    assert_eq!(told(&read_framed(&mut other)).0, ResponseCode::NoError);
    drop(open);
    // Places are given back; when, is up to the kernel.
    let again = (0..200).any(|_| {
        let mut stream = stream(web());
        let message = question(1, "web A").to_vec().unwrap();
        let framed = [&(message.len() as u16).to_be_bytes()[..], &message].concat();
        let answered =
            stream.write_all(&framed).is_ok() && stream.read(&mut [0; 2]).is_ok_and(|n| n > 0);
        if !answered {
            pause(Duration::from_millis(50));
        }
        answered
    });
    assert!(again);
}

#[test]
fn a_silent_connection_is_closed() {
    let _world = World::new(&[]);
    let mut idle = stream(web());
    let mut half = stream(web());
    half.write_all(&[0, 40, 1]).unwrap();
    idle.set_read_timeout(Some(Duration::from_secs(5))).unwrap();
    assert!(idle.read(&mut [0; 1]).is_err(), "closed too early");
    assert!(is_closed(idle) && is_closed(half));
    assert_eq!(told(&ask(web(), "web A")).0, ResponseCode::NoError);
}

fn is_closed(mut stream: std::net::TcpStream) -> bool {
    stream.set_read_timeout(Some(Duration::from_secs(40))).unwrap();
    match stream.read(&mut [0; 1]) {
        Ok(length) => length == 0,
        Err(error) => error.kind() == std::io::ErrorKind::ConnectionReset,
    }
}
