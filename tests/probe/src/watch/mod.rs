//! The hole watcher: sends along many paths at a steady rate, whatever becomes of the packets, and
//! counts what arrives here, of its own paths and of those of other watchers.
//!
//! It reads raw sockets, which get what the packet filter has let in, before any program's socket.
//! It needs the rights for that, so a test starts it beside a container, in its network.

pub(crate) mod names;
pub(crate) mod packet;
mod tally;

use std::io::{self, BufRead};
use std::net::SocketAddrV4;
use std::os::fd::OwnedFd;
use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use rustix::net::{
    AddressFamily, Protocol, RecvFlags, SendFlags, SocketType, ipproto, recv, sendto, socket,
    sockopt,
};

use crate::clock::{self, Since};
use packet::Path;
use tally::Tally;

/// Room for what arrives while the reader waits for a processor, in bytes.
const RECEIVE_BYTES: usize = 4 * 1024 * 1024;

/// How long after the last packet late ones are waited for, in milliseconds.
const LATE_MS: u64 = 300;

/// Between two looks whether the process beside still lives, in milliseconds.
const LOOK_MS: u64 = 5;

/// Longest packet that is looked at, in bytes.
const PACKET_BYTES_MAX: usize = 2_048;

/// The sender, once it was told to go.
struct Sender {
    thread: JoinHandle<()>,
    stops: Arc<AtomicBool>,
    rounds: Arc<AtomicU64>,
    started: Since,
}

/// The sender, for those who may end it.
type Shared = Arc<Mutex<Option<Sender>>>;

fn lock(sender: &Shared) -> MutexGuard<'_, Option<Sender>> {
    sender.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Reads paths and orders from stdin, and ends with it, or with the process `beside`: a network
/// that is held beyond its container's end would go on answering for it.
pub(crate) fn run(every_ms: u64, beside: Option<&str>) -> Result<(), String> {
    let tally = Arc::new(Tally::default());
    let sender: Shared = Arc::default();
    if let Some(pid) = beside {
        let process = PathBuf::from("/proc").join(pid);
        let (tally, sender) = (Arc::clone(&tally), Arc::clone(&sender));
        let wait = move || {
            while process.try_exists().unwrap_or(false) {
                clock::sleep_ms(LOOK_MS);
            }
            let reported = report(&tally, &sender, 0);
            std::process::exit(i32::from(reported.is_err()));
        };
        thread::Builder::new().spawn(wait).map_err(|error| error.to_string())?;
    }
    for protocol in [ipproto::UDP, ipproto::TCP, ipproto::ICMP] {
        receive(protocol, &tally).map_err(|error| format!("raw socket: {error}"))?;
    }
    println!("ready");
    let mut paths = Vec::new();
    for line in io::stdin().lock().lines() {
        let line = line.map_err(|error| error.to_string())?;
        let words: Vec<&str> = line.split_whitespace().collect();
        match words.as_slice() {
            ["path", rest @ ..] => {
                paths.push(Path::parse(rest).ok_or_else(|| format!("no path: {line}"))?);
            }
            ["go"] => {
                tally.begin(clock::unix_ms());
                let paths = std::mem::take(&mut paths);
                let started = send(paths, every_ms, &tally).map_err(|error| error.to_string())?;
                *lock(&sender) = Some(started);
            }
            ["stop"] => return report(&tally, &sender, LATE_MS),
            _ => return Err(format!("unknown order: {line}")),
        }
    }
    Ok(())
}

fn receive(protocol: Protocol, tally: &Arc<Tally>) -> io::Result<()> {
    let socket = socket(AddressFamily::INET, SocketType::RAW, Some(protocol))?;
    // A smaller buffer may lose what should have been seen.
    sockopt::set_socket_recv_buffer_size_force(&socket, RECEIVE_BYTES)?;
    let tally = Arc::clone(tally);
    thread::Builder::new().spawn(move || {
        let mut buffer = vec![0; PACKET_BYTES_MAX];
        loop {
            // An error belongs to one packet; the next one may be read.
            let Ok((_, bytes)) = recv(&socket, &mut buffer[..], RecvFlags::empty()) else {
                continue;
            };
            let packet = &buffer[..bytes.min(PACKET_BYTES_MAX)];
            if let Some(path) = packet::path_of(packet) {
                tally.arrived(path, clock::unix_ms());
            }
        }
    })?;
    Ok(())
}

/// Sends a packet along each path that is due in every period; what was missed is made up for.
fn send(paths: Vec<Path>, every_ms: u64, tally: &Arc<Tally>) -> io::Result<Sender> {
    let socket = socket(AddressFamily::INET, SocketType::RAW, Some(ipproto::RAW))?;
    sockopt::set_socket_broadcast(&socket, true)?;
    let (stops, rounds) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicU64::new(0)));
    let (stop, round, tally) = (Arc::clone(&stops), Arc::clone(&rounds), Arc::clone(tally));
    let started = Since::now();
    let thread = thread::Builder::new().spawn(move || {
        for number in 0_u64.. {
            let due = Duration::from_millis(number * every_ms);
            if let Some(wait) = due.checked_sub(started.elapsed()) {
                clock::sleep_ms(u64::try_from(wait.as_millis()).unwrap_or(0));
            }
            if stop.load(Ordering::Relaxed) {
                return;
            }
            send_round(&socket, &paths, number, &tally);
            round.store(number + 1, Ordering::Relaxed);
        }
    })?;
    Ok(Sender { thread, stops, rounds, started })
}

fn send_round(socket: &OwnedFd, paths: &[Path], number: u64, tally: &Tally) {
    for path in paths.iter().filter(|path| path.is_due(number)) {
        let number = u32::try_from(number).unwrap_or(u32::MAX);
        let to = SocketAddrV4::new(path.target, 0);
        // A path without a route is none; when there is one again it is taken.
        match sendto(socket, &path.packet(number), SendFlags::DONTWAIT, &to) {
            Ok(_) => tally.sent.fetch_add(1, Ordering::Relaxed),
            Err(_) => tally.refused.fetch_add(1, Ordering::Relaxed),
        };
    }
}

/// Prints what came of it: one line about the sender, one for each path seen here.
fn report(tally: &Tally, sender: &Shared, late_ms: u64) -> Result<(), String> {
    // Held to the end: there is one report, whoever is first.
    let mut sender = lock(sender);
    let stopped = clock::unix_ms();
    let (mut rounds, mut ms) = (0, 0);
    if let Some(sender) = sender.take() {
        sender.stops.store(true, Ordering::Relaxed);
        ms = sender.started.elapsed().as_millis();
        sender.thread.join().map_err(|_| "the sender panicked")?;
        rounds = sender.rounds.load(Ordering::Relaxed);
    }
    clock::sleep_ms(late_ms);
    let (sent, refused) =
        (tally.sent.load(Ordering::Relaxed), tally.refused.load(Ordering::Relaxed));
    println!("sent {sent} refused {refused} rounds {rounds} ms {ms}");
    for line in tally.lines(stopped) {
        println!("{line}");
    }
    println!("end");
    Ok(())
}
