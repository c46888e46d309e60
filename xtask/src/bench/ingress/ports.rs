//! Published ports: bytes, round trips and connections beside HAProxy.

use std::io::{Read, Write};
use std::net::{Ipv4Addr, Shutdown, TcpListener, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread;
use std::time::Duration;

use anyhow::{Result, anyhow, ensure};

use super::Effort;
use super::peers::{ECHO, Proxy, SOURCE};
use super::stage::Stage;
use crate::bench::measure::{median, rest, stopwatch};
use crate::bench::{Figure, Goal, Sink};

/// Connections of each load.
const BULK: usize = 4;
const CLIENTS: usize = 32;
/// A message there and back.
const MESSAGE: usize = 64;
const BUFFER: usize = 128 << 10;
/// Longest wait for an answer.
const PATIENCE: Duration = Duration::from_secs(10);

/// What is counted.
#[derive(Debug, Clone, Copy)]
enum Load {
    Bytes,
    RoundTrips,
    Connections,
}

const LOADS: [(Load, &str, &str, f64); 3] = [
    (Load::Bytes, "TCP port: 4 streams", "Mbit/s", 8e-6),
    (Load::RoundTrips, "TCP port: round trips of 64 bytes on 32 connections", "1/s", 1.0),
    (Load::Connections, "TCP port: connections, each with one round trip", "1/s", 1.0),
];

/// Ours and HAProxy in turn.
pub(super) fn measure(stage: &Stage, effort: Effort, sink: &mut Sink) -> Result<()> {
    stage.run(|| {
        serve(SOURCE, source)?;
        serve(ECHO, echo)
    })?;
    let mut doors = [Proxy::Jaco, Proxy::Haproxy].map(|proxy| (proxy, Vec::new()));
    let _running = (Proxy::Jaco.start(stage)?, Proxy::Haproxy.start(stage)?);
    for (load, name, unit, factor) in LOADS {
        for _ in 0..effort.rounds {
            for (proxy, samples) in &mut doors {
                let (proxy, length) = (*proxy, effort.length);
                let per_second = stage.run(move || rate(load, proxy, length))?;
                samples.push(per_second * factor);
            }
        }
        let [value, peer] = doors.each_mut().map(|(_, samples)| {
            let value = median(samples);
            samples.clear();
            value
        });
        sink.put(&Figure {
            name: name.into(),
            value,
            unit,
            peer: Some(("haproxy", peer)),
            goal: Goal::None,
        })?;
    }
    Ok(())
}

/// How much is done per second.
fn rate(load: Load, proxy: Proxy, length: Duration) -> Result<f64> {
    let (clients, port) = match load {
        Load::Bytes => (BULK, proxy.source()),
        Load::RoundTrips | Load::Connections => (CLIENTS, proxy.echo()),
    };
    let (done, count) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicU64::new(0)));
    let work = || {
        let (done, count) = (done.clone(), count.clone());
        thread::spawn(move || match load {
            Load::Bytes => take(port, &done, &count),
            Load::RoundTrips => talk(port, &done, &count),
            Load::Connections => connect_again(port, &done, &count),
        })
    };
    let workers: Vec<_> = (0..clients).map(|_| work()).collect();
    rest(length / 4);
    let (clock, before) = (stopwatch(), count.load(Ordering::Relaxed));
    rest(length);
    let counted = count.load(Ordering::Relaxed) - before;
    let took = clock();
    done.store(true, Ordering::Relaxed);
    for worker in workers {
        worker.join().map_err(|_| anyhow!("a client panicked"))??;
    }
    ensure!(counted > 0, "nothing came through");
    Ok(counted as f64 / took.as_secs_f64())
}

fn open(port: u16) -> Result<TcpStream> {
    let stream = TcpStream::connect((Ipv4Addr::LOCALHOST, port))?;
    stream.set_nodelay(true)?;
    stream.set_read_timeout(Some(PATIENCE))?;
    stream.set_write_timeout(Some(PATIENCE))?;
    Ok(stream)
}

fn take(port: u16, done: &AtomicBool, count: &AtomicU64) -> Result<()> {
    let (mut stream, mut buffer) = (open(port)?, vec![0; BUFFER]);
    while !done.load(Ordering::Relaxed) {
        let read = stream.read(&mut buffer)?;
        ensure!(read > 0, "the source ended");
        count.fetch_add(read as u64, Ordering::Relaxed);
    }
    Ok(())
}

fn talk(port: u16, done: &AtomicBool, count: &AtomicU64) -> Result<()> {
    let mut stream = open(port)?;
    while !done.load(Ordering::Relaxed) {
        round_trip(&mut stream)?;
        count.fetch_add(1, Ordering::Relaxed);
    }
    Ok(())
}

fn connect_again(port: u16, done: &AtomicBool, count: &AtomicU64) -> Result<()> {
    while !done.load(Ordering::Relaxed) {
        let mut stream = open(port)?;
        round_trip(&mut stream)?;
        stream.shutdown(Shutdown::Write)?;
        ensure!(stream.read(&mut [0])? == 0, "more came than was sent");
        count.fetch_add(1, Ordering::Relaxed);
    }
    Ok(())
}

fn round_trip(stream: &mut TcpStream) -> Result<()> {
    let mut message = [7; MESSAGE];
    stream.write_all(&message)?;
    stream.read_exact(&mut message)?;
    Ok(())
}

/// Accepts as long as this process lives.
fn serve(port: u16, talk: fn(TcpStream)) -> Result<()> {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, port))?;
    thread::spawn(move || {
        for stream in listener.incoming().flatten() {
            thread::spawn(move || talk(stream));
        }
    });
    Ok(())
}

fn source(mut stream: TcpStream) {
    let bytes = vec![0; BUFFER];
    // The client ends it.
    while stream.write_all(&bytes).is_ok() {}
}

fn echo(mut stream: TcpStream) {
    let _ = stream.set_nodelay(true);
    let mut buffer = [0; 4 * MESSAGE];
    while let Ok(read @ 1..) = stream.read(&mut buffer) {
        if stream.write_all(&buffer[..read]).is_err() {
            return;
        }
    }
}
