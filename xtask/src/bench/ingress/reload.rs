//! New tables: how soon they count, and what requests notice of them.

use std::io::{Read, Write};
use std::net::{Ipv4Addr, TcpStream};
use std::process::Command;
use std::thread;
use std::time::Duration;

use anyhow::{Result, anyhow, ensure};

use super::Effort;
use super::load::{Speech, Times, calm_command};
use super::peers::{NAME, Proxy, Routes, nginx};
use super::requests::MANY;
use super::stage::{Ours, Stage};
use crate::bench::measure::{median, ms, rest, stopwatch};
use crate::bench::{Figure, Goal, Sink};

/// Longest time until a new route answers.
const PATIENCE: Duration = Duration::from_secs(30);
/// Reloads of each, as they are quick.
const TIMES: u64 = 3;

/// From the order until a new connection gets the answer of a new route, with 10,000 others.
pub(super) fn measure(stage: &Stage, effort: Effort, sink: &mut Sink) -> Result<()> {
    let mut ours = Ours::start(stage)?;
    ours.tell(&format!("routes {MANY}"))?;
    let peer = stage.measured(nginx(stage, true, &Routes::new(MANY, 0))?)?;
    stage.wait_for(Proxy::Nginx.http())?;
    let pid = peer.pid.to_string();
    let (mut here, mut there) = (Vec::new(), Vec::new());
    for fresh in 1..=effort.rounds as u64 * TIMES {
        ours.tell(&format!("prepare {fresh}"))?;
        let clock = stopwatch();
        ours.tell("serve")?;
        until_fresh(stage, Proxy::Jaco, fresh)?;
        here.push(ms(clock()));
        nginx(stage, true, &Routes::new(MANY, fresh))?;
        let mut signal = Command::new("kill");
        signal.args(["-HUP", &pid]);
        let clock = stopwatch();
        stage.output(signal)?;
        until_fresh(stage, Proxy::Nginx, fresh)?;
        there.push(ms(clock()));
        // Its old process ends.
        rest(Duration::from_millis(200));
    }
    sink.put(&Figure {
        name: "from a new table with 10,000 routes until its new route answers".into(),
        value: median(&mut here),
        unit: "ms",
        peer: Some(("nginx -s reload", median(&mut there))),
        goal: Goal::Most(50.0),
    })
}

fn until_fresh(stage: &Stage, proxy: Proxy, fresh: u64) -> Result<()> {
    stage.run(move || {
        let clock = stopwatch();
        while status(proxy.http(), fresh)? != "302" {
            ensure!(clock() < PATIENCE, "{} does not know the new route", proxy.name());
        }
        Ok(())
    })
}

/// The status of the answer for the route that a change brought.
fn status(port: u16, fresh: u64) -> Result<String> {
    let mut stream = TcpStream::connect((Ipv4Addr::LOCALHOST, port))?;
    stream.set_read_timeout(Some(PATIENCE))?;
    let request =
        format!("GET /fresh-{fresh} HTTP/1.1\r\nHost: {NAME}\r\nConnection: close\r\n\r\n");
    stream.write_all(request.as_bytes())?;
    let mut answer = String::new();
    stream.read_to_string(&mut answer)?;
    let status = answer.split(' ').nth(1).ok_or_else(|| anyhow!("no answer"))?;
    Ok(status.to_owned())
}

/// The same load without changes, and with one a second.
pub(super) fn measure_changes(stage: &Stage, effort: Effort, sink: &mut Sink) -> Result<()> {
    let mut ours = Ours::start(stage)?;
    ours.tell(&format!("routes {MANY}"))?;
    stage.wait_for(Proxy::Jaco.http())?;
    // The halves of the quiet time are before and after, so that a drift shows in neither.
    let mut before = under_load(stage, effort.changes.div_ceil(2), None)?;
    let mut among = under_load(stage, effort.changes, Some(&mut ours))?;
    let mut after = under_load(stage, effort.changes.div_ceil(2), None)?;
    let failed = before.failed + among.failed + after.failed;
    let quiet = f64::midpoint(ms(before.p99()), ms(after.p99()));
    let peer = Some(("without changes", quiet));
    let (name, value) = ("p99 with a change of 10,000 routes each second", ms(among.p99()));
    let goal = Goal::MostOfPeer(1.1);
    sink.put(&Figure { name: name.into(), value, unit: "ms", peer, goal })?;
    sink.put(&Figure {
        name: format!("failed of {} requests during changes", among.len()).into(),
        value: failed as f64,
        unit: "",
        peer: None,
        goal: Goal::Most(0.0),
    })
}

fn under_load(stage: &Stage, seconds: u64, mut changing: Option<&mut Ours>) -> Result<Times> {
    let log = stage.directory.join("times");
    let _absent = std::fs::remove_file(&log);
    let length = Duration::from_secs(seconds);
    let command = calm_command(stage, Proxy::Jaco, Speech::Http1, length, &log);
    thread::scope(|scope| {
        let load = scope.spawn(move || stage.output(command));
        let mut fresh = 0;
        while !load.is_finished() {
            rest(Duration::from_secs(1));
            if let Some(ours) = &mut changing {
                fresh += 1;
                ours.tell(&format!("prepare {fresh}"))?;
                ours.tell("serve")?;
            }
        }
        load.join().map_err(|_| anyhow!("a client panicked"))?
    })?;
    Times::read(&log)
}
