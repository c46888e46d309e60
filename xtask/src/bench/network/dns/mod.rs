//! Answers to container names: our responder beside unbound and dnsmasq, on one processor each.
//!
//! A server has one bridge, and containers behind it ask from many addresses, because our
//! responder takes no more than 1,000 questions per second from one. All servers know the same
//! names and get the same questions from the same addresses, in turn. The questions' way to the
//! server is paid by the processor that asks, the answers' way by the server's.

mod load;
mod names;
mod servers;

use std::time::Duration;

use anyhow::{Result, ensure};

use self::load::{Asker, Outcome};
use self::servers::{Server, Servers};
use super::median;
use crate::bench::measure::percentile;
use crate::bench::space::Space;
use crate::bench::{Figure, Goal, Sink};

/// Questions that wait for their answers under full load; fewer than a server's socket holds.
const IN_FLIGHT: usize = 192;
/// Questions per second of the light load.
const LIGHT: u32 = 10_000;
/// Length of each load.
const LENGTH: Duration = Duration::from_secs(3);
/// The servers' processor, and that of those who ask.
const PROCESSORS: (usize, usize) = (0, 1);

/// What one server did in all rounds.
#[derive(Default)]
struct Results {
    rates: Vec<f64>,
    rates_by_time: Vec<f64>,
    busy: Vec<f64>,
    asked: u64,
    lost: u64,
    light_asked: u64,
    light_lost: u64,
    light: Vec<Duration>,
}

/// Measures all servers in turn.
pub(super) fn measure(rounds: u32, sink: &mut Sink) -> Result<()> {
    let (host, containers) = (Space::new()?, Space::new()?);
    join(&host, &containers)?;
    let asker = containers.run(|| Asker::new(names::questions()?))?;
    let asker = std::sync::Arc::new(std::sync::Mutex::new(asker));
    let servers = Servers::fetch()?;
    let mut results = Server::ALL.map(|_| Results::default());
    for round in 0..=rounds {
        for (server, results) in Server::ALL.into_iter().zip(&mut results) {
            let running = servers.start(server, &host)?;
            let ask = |how| {
                let asker = asker.clone();
                containers.run(move || {
                    let mut asker = asker.lock().map_err(|_| anyhow::anyhow!("it panicked"))?;
                    asker.ask(how, LENGTH)
                })
            };
            wait(&ask)?;
            let before = running.cpu_seconds()?;
            let full = ask(load::How::InFlight(IN_FLIGHT))?;
            let used = running.cpu_seconds()? - before;
            let light = ask(load::How::PerSecond(LIGHT))?;
            running.check()?;
            // The first round finds neighbours and warms caches.
            if round > 0 {
                results.add(&full, used, light);
            }
        }
    }
    tell(results, sink)
}

/// Waits until the server answers.
fn wait(ask: &impl Fn(load::How) -> Result<Outcome>) -> Result<()> {
    for _ in 0..20 {
        if ask(load::How::Once)?.answered() > 0 {
            return Ok(());
        }
    }
    anyhow::bail!("the server does not answer")
}

/// A bridge with the server's address, and all containers in one namespace behind it.
fn join(host: &Space, containers: &Space) -> Result<()> {
    let bridge = names::BRIDGE;
    host.ip(&format!("link add {bridge} type bridge"))?;
    host.ip(&format!("address add {}/{} dev {bridge}", names::GATEWAY, names::LENGTH))?;
    host.ip(&format!("link set {bridge} up"))?;
    host.link("port", containers, "eth0")?;
    host.ip(&format!("link set port master {bridge}"))?;
    containers.ip(&format!("address add {}/{} dev eth0", names::container(0), names::LENGTH))?;
    for number in 1..names::CONTAINERS {
        containers.ip(&format!("address add {}/32 dev eth0", names::container(number)))?;
    }
    host.pin(PROCESSORS.0)?;
    containers.pin(PROCESSORS.1)
}

impl Results {
    fn add(&mut self, full: &Outcome, used: f64, light: Outcome) {
        let rate = full.answered() as f64 / full.length.as_secs_f64();
        self.rates.push(rate);
        self.rates_by_time.push(full.answered() as f64 / used);
        self.busy.push(used / full.length.as_secs_f64() * 100.0);
        self.asked += full.asked;
        self.lost += full.lost();
        self.light_asked += light.asked;
        self.light_lost += light.lost();
        self.light.extend(light.took);
    }
}

/// Percent of a number.
fn percent(part: u64, of: u64) -> f64 {
    part as f64 / of.max(1) as f64 * 100.0
}

/// Our figures beside those of each peer.
fn tell(mut results: [Results; Server::ALL.len()], sink: &mut Sink) -> Result<()> {
    type Figures = [(&'static str, &'static str, f64, Goal); 7];
    let mut figures = results.each_mut().map(|one| -> Figures {
        let (least, most, none) = (Goal::LeastOfPeer(1.0), Goal::MostOfPeer(1.0), Goal::None);
        let micros = |time: Duration| time.as_secs_f64() * 1e6;
        [
            ("answers per second, one core", "1/s", median(&mut one.rates), least),
            ("answers per second of cpu time", "1/s", median(&mut one.rates_by_time), least),
            ("cpu time under full load", "% of a core", median(&mut one.busy), none),
            ("lost under full load", "%", percent(one.lost, one.asked), none),
            ("answer p50 at 10,000/s", "us", micros(percentile(&mut one.light, 0.5)), most),
            ("answer p99 at 10,000/s", "us", micros(percentile(&mut one.light, 0.99)), none),
            ("lost at 10,000/s", "%", percent(one.light_lost, one.light_asked), none),
        ]
    });
    let (ours, peers) = figures.split_first_mut().expect("there are three servers");
    ensure!(ours.iter().all(|(_, _, value, _)| value.is_finite()), "no figures");
    for (peer, theirs) in Server::ALL.into_iter().skip(1).zip(peers) {
        for ((what, unit, value, goal), (.., peer_value, _)) in ours.iter().zip(theirs.iter()) {
            let name = format!("dns: {what}, beside {}", peer.name()).into();
            let peer = Some((peer.name(), *peer_value));
            sink.put(&Figure { name, value: *value, unit, peer, goal: *goal })?;
        }
    }
    Ok(())
}
