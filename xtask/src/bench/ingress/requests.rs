//! Requests per second, their cost and their time, and what many routes change.

use std::time::Duration;

use anyhow::Result;

use super::Effort;
use super::load::{Speech, calm, flood};
use super::peers::{Door, NAME, PATHS, Proxy, host_name, path_name};
use super::stage::{Ours, Stage, write};
use crate::bench::measure::{cpu_seconds, median, ms};
use crate::bench::{Figure, Goal, Sink};

/// Routes of a large cluster.
pub(super) const MANY: usize = 10_000;

/// What one proxy did in all rounds.
#[derive(Default)]
struct Samples {
    per_second: Vec<f64>,
    micros_each: Vec<f64>,
    p99: Vec<f64>,
}

/// All proxies in turn, round after round.
pub(super) fn measure(stage: &Stage, effort: Effort, sink: &mut Sink) -> Result<()> {
    let mut doors = Vec::new();
    for proxy in Proxy::ALL {
        doors.push((proxy, proxy.start(stage)?));
    }
    for speech in Speech::ALL {
        let mut all: Vec<Samples> = doors.iter().map(|_| Samples::default()).collect();
        for _ in 0..effort.rounds {
            for ((proxy, door), samples) in doors.iter_mut().zip(&mut all) {
                once(stage, *proxy, door, speech, effort.length, samples)?;
            }
        }
        let mut all = all.iter_mut();
        let Some(ours) = all.next() else { continue };
        for (peer, samples) in Proxy::ALL.into_iter().skip(1).zip(all) {
            put(sink, speech, ours, peer, samples)?;
        }
    }
    Ok(())
}

fn once(
    stage: &Stage,
    proxy: Proxy,
    door: &mut Door,
    speech: Speech,
    length: Duration,
    samples: &mut Samples,
) -> Result<()> {
    let before = cpu_seconds(door.pid())?;
    let rate = flood(stage, proxy, speech, length, None)?;
    let used = cpu_seconds(door.pid())? - before;
    door.check()?;
    samples.per_second.push(rate.per_second);
    samples.micros_each.push(used * 1e6 / rate.requests);
    let mut times = calm(stage, proxy, speech, length)?;
    samples.p99.push(ms(times.p99()));
    Ok(())
}

fn put(
    sink: &mut Sink,
    speech: Speech,
    ours: &mut Samples,
    peer: Proxy,
    theirs: &mut Samples,
) -> Result<()> {
    let (rate, time) = match peer {
        Proxy::Jaco | Proxy::Haproxy => (Goal::None, Goal::None),
        Proxy::Nginx => (Goal::LeastOfPeer(0.9), Goal::MostOfPeer(1.11)),
        Proxy::Caddy => (Goal::LeastOfPeer(1.5), Goal::None),
    };
    let name = speech.name();
    let of = |value: &mut Vec<f64>, other: &mut Vec<f64>| (median(value), median(other));
    for (what, unit, goal, (value, other)) in [
        ("requests", "1/s", rate, of(&mut ours.per_second, &mut theirs.per_second)),
        (
            "processor time of a request",
            "us",
            Goal::None,
            of(&mut ours.micros_each, &mut theirs.micros_each),
        ),
        ("p99 at 5,000 requests/s", "ms", time, of(&mut ours.p99, &mut theirs.p99)),
    ] {
        let name = format!("{name}: {what}").into();
        sink.put(&Figure { name, value, unit, peer: Some((peer.name(), other)), goal })?;
    }
    Ok(())
}

/// Ten thousand routes beside one; the same requests but for their hosts.
pub(super) fn measure_routes(stage: &Stage, effort: Effort, sink: &mut Sink) -> Result<()> {
    let mut ours = Ours::start(stage)?;
    stage.wait_for(Proxy::Jaco.http())?;
    let one = write(&stage.directory, "one.lua", &script(|_| NAME.to_owned()))?;
    let many = write(&stage.directory, "many.lua", &script(host_name))?;
    let (mut alone, mut among) = (Vec::new(), Vec::new());
    for _ in 0..effort.rounds {
        for (routes, script, samples) in [(1, &one, &mut alone), (MANY, &many, &mut among)] {
            ours.tell(&format!("routes {routes}"))?;
            let speech = Speech::Http1;
            let rate = flood(stage, Proxy::Jaco, speech, effort.length, Some(script))?;
            samples.push(rate.per_second);
        }
    }
    sink.put(&Figure {
        name: "HTTP/1.1: requests with 10,000 routes of 1,000 hosts".into(),
        value: median(&mut among),
        unit: "1/s",
        peer: Some(("one route", median(&mut alone))),
        goal: Goal::LeastOfPeer(0.95),
    })
}

/// Lets wrk ask a thousand hosts in turn, each at another of its paths.
fn script(host: impl Fn(usize) -> String) -> String {
    let mut text = "local all = {}\n".to_owned();
    for number in 1..MANY / PATHS {
        let (host, path) = (host(number), path_name(number % PATHS));
        text.push_str(&format!(
            "all[{number}] = 'GET {path}/x HTTP/1.1\\r\\nHost: {host}\\r\\n\\r\\n'\n"
        ));
    }
    text.push_str("local i = 0\nfunction request() i = i % #all + 1 return all[i] end\n");
    text
}
