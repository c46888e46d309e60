//! Many attempts at once: what a container reaches and what it does not, in the time of one.

use std::fmt::Write as _;
use std::io;
use std::net::{Ipv4Addr, SocketAddr, ToSocketAddrs, UdpSocket};
use std::os::fd::OwnedFd;
use std::thread;
use std::time::Duration;

use rustix::net::{AddressFamily, SocketType, ipproto, socket};

use crate::client;
use crate::clock::Since;

/// Bytes that an echo request carries; by them its reply is known.
const PAYLOAD: &[u8] = b"jaco ping";

/// Tries all of `tcp:HOST:PORT`, `udp:HOST:PORT` and `icmp:HOST` at once, and prints in their
/// order `ok <target>` or `no <target> <why>`.
pub(crate) fn run(targets: &[&str], timeout: Duration) -> Result<(), String> {
    let lines = thread::scope(|scope| {
        let trials: Vec<_> = targets
            .iter()
            .map(|target| scope.spawn(move || (target, attempt(target, timeout))))
            .collect();
        let mut lines = String::new();
        for trial in trials {
            let (target, outcome) = trial.join().map_err(|_| "a trial panicked")?;
            let _infallible = match outcome {
                Ok(()) => writeln!(lines, "ok {target}"),
                Err(why) => writeln!(lines, "no {target} {why}"),
            };
        }
        Ok::<_, String>(lines)
    })?;
    print!("{lines}");
    Ok(())
}

fn attempt(target: &str, timeout: Duration) -> Result<(), String> {
    match target.split_once(':') {
        Some(("icmp", host)) => ping(host, timeout),
        Some((protocol @ ("tcp" | "udp"), address)) => {
            client::dial(protocol, address, Some("hello"), timeout).map(drop)
        }
        _ => Err("neither tcp:, udp: nor icmp:".to_owned()),
    }
}

/// Sends one echo request and waits for its reply.
fn ping(host: &str, timeout: Duration) -> Result<(), String> {
    let mut found = (host, 0).to_socket_addrs().map_err(|error| error.to_string())?;
    let to = found.find_map(|address| match address {
        SocketAddr::V4(v4) => Some(*v4.ip()),
        SocketAddr::V6(_) => None,
    });
    exchange(to.ok_or("no address")?, timeout).map_err(|error| error.to_string())
}

fn exchange(to: Ipv4Addr, timeout: Duration) -> io::Result<()> {
    // Unprivileged where the network allows it, as container networks do.
    let unprivileged = socket(AddressFamily::INET, SocketType::DGRAM, Some(ipproto::ICMP));
    let ping: OwnedFd = match unprivileged {
        Ok(ping) => ping,
        Err(_) => socket(AddressFamily::INET, SocketType::RAW, Some(ipproto::ICMP))?,
    };
    // A socket of the standard library has the calls that are needed, whatever its protocol.
    let ping = UdpSocket::from(ping);
    ping.connect((to, 0))?;
    let request = [&[8, 0, 0, 0, 0, 1, 0, 1][..], PAYLOAD].concat();
    ping.send(&with_checksum(request))?;
    let started = Since::now();
    let mut buffer = [0; 1_500];
    while let Some(left) = timeout.checked_sub(started.elapsed()).filter(|left| !left.is_zero()) {
        ping.set_read_timeout(Some(left))?;
        let bytes = ping.recv(&mut buffer)?;
        // A raw socket also gives the IP header, and shows what others receive.
        let packet = &buffer[..bytes];
        let reply = if packet.first().is_some_and(|byte| byte >> 4 == 4) {
            packet.get(20..).unwrap_or_default()
        } else {
            packet
        };
        if reply.first() == Some(&0) && reply.ends_with(PAYLOAD) {
            return Ok(());
        }
    }
    Err(io::ErrorKind::TimedOut.into())
}

/// Fills in the checksum of RFC 1071 at its place.
fn with_checksum(mut message: Vec<u8>) -> Vec<u8> {
    let words = message
        .chunks(2)
        .map(|pair| u32::from(pair[0]) << 8 | u32::from(*pair.get(1).unwrap_or(&0)));
    let mut sum: u32 = words.sum();
    while sum > 0xffff {
        sum = (sum & 0xffff) + (sum >> 16);
    }
    let sum = !u16::try_from(sum).unwrap_or(u16::MAX);
    message[2..4].copy_from_slice(&sum.to_be_bytes());
    message
}
