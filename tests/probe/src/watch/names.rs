//! The name watcher: asks one server for names at a steady rate and prints every change of the
//! answers, so that a test knows when which address was told.

use std::collections::BTreeMap;
use std::io;
use std::net::{Ipv4Addr, SocketAddr, UdpSocket};
use std::time::Duration;

use crate::clock;

/// Longest wait for one answer.
const ANSWER_LIMIT: Duration = Duration::from_millis(500);

/// Record type A and class IN (RFC 1035).
const TYPE_A: u16 = 1;
const CLASS_IN: u16 = 1;

/// Asks for ever; prints `<unix ms> <name> <answer>` when an answer differs from the one before.
/// An answer is `silence`, or its code and its addresses in order.
pub(crate) fn run(server: &str, every_ms: u64, names: &[&str]) -> Result<(), String> {
    let server: SocketAddr = server.parse().map_err(|_| format!("{server:?} is no address"))?;
    let mut last: BTreeMap<&str, String> = BTreeMap::new();
    for number in 0_u16..=u16::MAX {
        for name in names {
            let answer = ask(server, name, number).unwrap_or_else(|_| "silence".to_owned());
            if last.get(name) != Some(&answer) {
                println!("{} {name} {answer}", clock::unix_ms());
                last.insert(name, answer);
            }
        }
        clock::sleep_ms(every_ms);
    }
    Ok(())
}

fn ask(server: SocketAddr, name: &str, id: u16) -> io::Result<String> {
    // A port of its own for each question: a late answer cannot be taken for the next one's.
    let socket = UdpSocket::bind("0.0.0.0:0")?;
    socket.connect(server)?;
    socket.set_read_timeout(Some(ANSWER_LIMIT))?;
    socket.send(&question(name, id))?;
    let mut buffer = [0; 1_232];
    let bytes = socket.recv(&mut buffer)?;
    let (code, mut addresses) = read(&buffer[..bytes], id).ok_or(io::ErrorKind::InvalidData)?;
    addresses.sort_unstable();
    let addresses: Vec<String> = addresses.iter().map(Ipv4Addr::to_string).collect();
    Ok(format!("{code} {}", addresses.join(" ")))
}

fn question(name: &str, id: u16) -> Vec<u8> {
    // One question, recursion wanted.
    let mut message = [&id.to_be_bytes()[..], &[1, 0, 0, 1, 0, 0, 0, 0, 0, 0]].concat();
    for label in name.split('.').filter(|label| !label.is_empty()) {
        message.push(u8::try_from(label.len()).unwrap_or(0));
        message.extend_from_slice(label.as_bytes());
    }
    message.push(0);
    message.extend_from_slice(&TYPE_A.to_be_bytes());
    message.extend_from_slice(&CLASS_IN.to_be_bytes());
    message
}

/// The code and the addresses of an answer.
fn read(message: &[u8], id: u16) -> Option<(u8, Vec<Ipv4Addr>)> {
    let word = |at: usize| Some(u16::from_be_bytes(message.get(at..at + 2)?.try_into().ok()?));
    if word(0)? != id {
        return None;
    }
    let code = message.get(3)? & 0x0f;
    let mut at = skip_name(message, 12)? + 4;
    let mut addresses = Vec::new();
    for _ in 0..word(6)? {
        at = skip_name(message, at)?;
        let bytes = usize::from(word(at + 8)?);
        let value = message.get(at + 10..at + 10 + bytes)?;
        if word(at)? == TYPE_A {
            addresses.push(Ipv4Addr::from(<[u8; 4]>::try_from(value).ok()?));
        }
        at += 10 + bytes;
    }
    Some((code, addresses))
}

/// Where a name ends that begins here: at a zero or at a pointer of two bytes.
fn skip_name(message: &[u8], mut at: usize) -> Option<usize> {
    loop {
        match *message.get(at)? {
            0 => return Some(at + 1),
            length if length >= 0xc0 => return Some(at + 2),
            length => at += 1 + usize::from(length),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn answers_are_read_with_and_without_pointers() {
        let mut message = question("web.shop", 7);
        assert_eq!(message.len(), 12 + 10 + 4);
        assert_eq!(read(&message, 7), Some((0, vec![])));
        assert_eq!(read(&message, 8), None);
        message[7] = 2;
        message.extend([0xc0, 12, 0, 1, 0, 1, 0, 0, 0, 5, 0, 4, 10, 80, 0, 2]);
        message.extend([0, 0, 16, 0, 1, 0, 0, 0, 5, 0, 1, 0]);
        assert_eq!(read(&message, 7), Some((0, vec![Ipv4Addr::new(10, 80, 0, 2)])));
        assert_eq!(read(&message[..message.len() - 1], 7), None);
    }
}
