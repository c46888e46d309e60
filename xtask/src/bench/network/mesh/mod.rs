//! The tunnel in user space beside wireguard-go and a bare cable between the same two hosts.
//!
//! Everything runs on this machine's processors: both ends of the tunnel, who sends and who
//! receives. So a figure is what the whole way costs, and the three ways are measured in turn.

mod load;
mod tunnels;

use std::path::PathBuf;
use std::time::Duration;

use anyhow::Result;

use self::load::Load;
use self::tunnels::{Tunnels, Way};
use super::median;
use crate::bench::measure::percentile;
use crate::bench::{Figure, Goal, Sink};

/// Streams of the larger throughput.
const STREAMS: usize = 8;
/// What should be gained over wireguard-go, and the same of times.
const GAIN: f64 = 1.5;
const LESS: f64 = 0.667;

/// What one way carried in all rounds.
#[derive(Default)]
struct Results {
    one: Vec<f64>,
    many: Vec<f64>,
    small: Vec<f64>,
    flood: Vec<f64>,
    echoes: Vec<Duration>,
}

/// Measures all ways in turn.
pub(super) fn measure(jaco: Option<PathBuf>, rounds: u32, sink: &mut Sink) -> Result<()> {
    let tunnels = Tunnels::open(jaco)?;
    let load = Load::fetch()?;
    let mut results = Way::ALL.map(|_| Results::default());
    for _ in 0..rounds {
        for (way, results) in Way::ALL.into_iter().zip(&mut results) {
            results.one.push(load.throughput(&tunnels, way, 1)?);
            results.many.push(load.throughput(&tunnels, way, STREAMS)?);
            results.small.push(load::small_packets(&tunnels, way)?);
            results.flood.push(load.flood(&tunnels, way)?);
            results.echoes.extend(load::echoes(&tunnels, way)?);
        }
    }
    tell(results, sink)
}

/// Ours beside wireguard-go, and beside the cable.
fn tell(mut results: [Results; Way::ALL.len()], sink: &mut Sink) -> Result<()> {
    let figures = results.each_mut().map(|one| {
        let (most, least) = (Goal::LeastOfPeer(GAIN), Goal::MostOfPeer(LESS));
        let micros = |time: Duration| time.as_secs_f64() * 1e6;
        [
            ("one stream", "Mbit/s", median(&mut one.one), most),
            ("8 streams", "Mbit/s", median(&mut one.many), most),
            ("64-byte datagrams, at most 256 on the way", "1/s", median(&mut one.small), most),
            ("64-byte datagrams that arrive of a flood", "1/s", median(&mut one.flood), most),
            ("echo p50", "us", micros(percentile(&mut one.echoes, 0.5)), least),
            ("echo p99", "us", micros(percentile(&mut one.echoes, 0.99)), least),
        ]
    });
    let [ours, go, bare] = figures;
    for (peer, theirs) in [("wireguard-go", go), ("bare veth", bare)] {
        for ((what, unit, value, goal), (.., peer_value, _)) in ours.into_iter().zip(theirs) {
            let goal = if peer == "bare veth" { Goal::None } else { goal };
            let name = format!("mesh: {what}, beside {peer}").into();
            sink.put(&Figure { name, value, unit, peer: Some((peer, peer_value)), goal })?;
        }
    }
    Ok(())
}
