//! What is sent from the first host to the second.

use std::net::UdpSocket;
use std::process::Stdio;
use std::sync::mpsc::{RecvTimeoutError, channel};
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use jaco_lab::until;
use serde_json::Value;

use super::tunnels::{Tunnels, Way};
use crate::bench::debian::Program;
use crate::bench::measure::stopwatch;

/// Length of each load.
const LENGTH: Duration = Duration::from_secs(3);
/// Bytes of a small datagram.
const SMALL: usize = 64;
/// Small datagrams on the way, and after how many their receiver says so.
const ON_THE_WAY: u64 = 256;
const TOLD_EVERY: u64 = 32;
/// Round trips of one sample.
const ECHOES: u32 = 5_000;
/// Where the second host receives.
const PORT: u16 = 5_001;
/// Longest wait for something to start.
const PATIENCE: Duration = Duration::from_secs(10);
/// After so long without word from the receiver, what was on the way is lost.
const LOST_AFTER: Duration = Duration::from_millis(200);

/// The program that sends streams and floods.
pub(super) struct Load {
    iperf: Program,
}

impl Load {
    pub(super) fn fetch() -> Result<Load> {
        Ok(Load { iperf: Program::fetch("iperf3", "iperf3")? })
    }

    /// Megabits per second that TCP streams carry.
    pub(super) fn throughput(&self, tunnels: &Tunnels, way: Way, streams: usize) -> Result<f64> {
        let report = self.run(tunnels, way, &["--parallel", &streams.to_string()])?;
        let rate = report["end"]["sum_received"]["bits_per_second"].as_f64();
        Ok(rate.with_context(|| format!("iperf3 told no rate: {report}"))? / 1e6)
    }

    /// Small datagrams per second that arrive while as many as possible are sent.
    pub(super) fn flood(&self, tunnels: &Tunnels, way: Way) -> Result<f64> {
        let small = SMALL.to_string();
        let words = ["--udp", "--length", &small, "--bitrate", "0"];
        let sum = &self.run(tunnels, way, &words)?["end"]["sum"];
        let number = |name: &str| sum[name].as_f64().with_context(|| format!("no {name}: {sum}"));
        Ok((number("packets")? - number("lost_packets")?) / number("seconds")?)
    }

    fn run(&self, tunnels: &Tunnels, way: Way, words: &[&str]) -> Result<Value> {
        let [from, to] = &tunnels.hosts;
        let address = way.address(2).to_string();
        let mut command = self.iperf.command();
        command.args(["--server", "--one-off", "--bind", &address]).stdout(Stdio::null());
        let mut server = to.start(command)?;
        let seconds = LENGTH.as_secs().to_string();
        let report = until("iperf3", PATIENCE, || {
            let mut command = self.iperf.command();
            command.args(["--client", &address, "--json", "--time", &seconds]).args(words);
            let output = from.run(move || Ok(command.output()?))?;
            let report: Value = serde_json::from_slice(&output.stdout)?;
            // The server may not listen yet.
            Ok(report.get("error").is_none().then_some(report))
        });
        server.check().ok();
        report
    }
}

/// A socket on each host, joined to the other.
fn pair(tunnels: &Tunnels, way: Way) -> Result<[UdpSocket; 2]> {
    let [from, to] = &tunnels.hosts;
    let receiver = to.run(move || {
        let socket = UdpSocket::bind((way.address(2), PORT))?;
        socket.set_read_timeout(Some(LOST_AFTER))?;
        Ok(socket)
    })?;
    let sender = from.run(move || {
        let socket = UdpSocket::bind((way.address(1), PORT))?;
        socket.set_read_timeout(Some(LOST_AFTER))?;
        socket.connect((way.address(2), PORT))?;
        Ok(socket)
    })?;
    receiver.connect((way.address(1), PORT))?;
    Ok([sender, receiver])
}

/// Small datagrams per second that arrive while no more than a few are on the way, so that
/// nobody's queue overflows.
pub(super) fn small_packets(tunnels: &Tunnels, way: Way) -> Result<f64> {
    let [sender, receiver] = pair(tunnels, way)?;
    let (end, ended) = channel::<()>();
    let receiving = std::thread::spawn(move || {
        let (mut packet, mut count) = ([0; SMALL], 0_u64);
        while ended.try_recv() != Err(std::sync::mpsc::TryRecvError::Disconnected) {
            if receiver.recv(&mut packet).is_ok() {
                count += 1;
                if count % TOLD_EVERY == 0 {
                    let _ = receiver.send(&count.to_be_bytes());
                }
            }
        }
        count
    });
    let clock = stopwatch();
    let (mut sent, mut told, mut word) = (0_u64, 0_u64, [0; 8]);
    while clock() < LENGTH {
        while sent - told < ON_THE_WAY {
            let _ = sender.send(&[0; SMALL]);
            sent += 1;
        }
        match sender.recv(&mut word) {
            // More than was sent arrived only when what was given up came late.
            Ok(_) => told = u64::from_be_bytes(word).max(told).min(sent),
            Err(_) => told = sent,
        }
    }
    drop(end);
    let count = receiving.join().ok().context("the receiver panicked")?;
    ensure!(count > 0, "nothing arrived");
    Ok(count as f64 / LENGTH.as_secs_f64())
}

/// How long a small datagram takes there and back while nothing else is sent.
pub(super) fn echoes(tunnels: &Tunnels, way: Way) -> Result<Vec<Duration>> {
    let [sender, receiver] = pair(tunnels, way)?;
    let (end, ended) = channel::<()>();
    let echoing = std::thread::spawn(move || {
        let mut packet = [0; SMALL];
        while ended.recv_timeout(Duration::ZERO) != Err(RecvTimeoutError::Disconnected) {
            if let Ok(length) = receiver.recv(&mut packet) {
                let _ = receiver.send(&packet[..length]);
            }
        }
    });
    let mut took = Vec::new();
    for number in 0..ECHOES {
        let clock = stopwatch();
        let mut packet = [0; SMALL];
        packet[..4].copy_from_slice(&number.to_be_bytes());
        sender.send(&packet)?;
        let mut answer = [0; SMALL];
        // A late answer to an earlier one is not ours.
        while sender.recv(&mut answer).is_ok() {
            if answer == packet {
                took.push(clock());
                break;
            }
        }
    }
    drop(end);
    echoing.join().ok().context("the echo panicked")?;
    ensure!(took.len() as u32 > ECHOES / 10 * 9, "{} of {ECHOES} came back", took.len());
    Ok(took)
}
