//! Damaged requests: those of the list with bytes changed, lines doubled and parts exchanged, so
//! many at once that the proxy's connections to the server are shared. What the proxy and the
//! server read must be what the letter of the RFC reads. `JACO_TEST_SEED` gives other damage.

use crate::differential::{Row, reflects, request, talk};
use crate::messages::{Kind, Message, Messages};
use crate::servers::Which;
use crate::vectors;
use jaco_kit_core::mix::draw;
use jaco_model::Millis;
use std::sync::Arc;
use std::time::Duration;
use tokio::task::JoinSet;

/// Damaged requests for each server, unless time runs out before.
const CASES: u64 = 1500;
/// For each server.
const LONGEST: Duration = Duration::from_secs(8);
const AT_ONCE: usize = 24;
/// What is put in place of bytes.
const BYTES: &[u8] = b"\r\n\0\t :;,+-0139afxAH/%\x0b\x0c\x1b\x7f\x80\xff";

fn pick(state: &mut u64, below: usize) -> usize {
    usize::try_from(draw(state) % below.max(1) as u64).unwrap_or(0)
}

/// One of the list's requests with some damage done to it.
fn damaged(state: &mut u64, mark: &str) -> Vec<u8> {
    let all = vectors::all();
    let one = |state: &mut u64| all[pick(state, all.len())].bytes.replace("{m}", mark).into_bytes();
    let mut bytes = one(state);
    for _ in 0..=pick(state, 3) {
        let at = pick(state, bytes.len());
        match pick(state, 7) {
            0 => bytes[at] = BYTES[pick(state, BYTES.len())],
            1 => bytes.insert(at, BYTES[pick(state, BYTES.len())]),
            2 => drop(bytes.remove(at)),
            3 => {
                let (from, to) = line_at(&bytes, at);
                let line = bytes[from..to].to_vec();
                bytes.splice(to..to, line);
            }
            4 => {
                let (from, to) = line_at(&bytes, at);
                drop(bytes.drain(from..to));
            }
            5 => {
                let other = one(state);
                let (from, to) = line_at(&other, pick(state, other.len()));
                let (_, here) = line_at(&bytes, at);
                bytes.splice(here..here, other[from..to].to_vec());
            }
            _ => {
                let other = one(state);
                bytes.truncate(at);
                bytes.extend_from_slice(&other[pick(state, other.len())..]);
            }
        }
        if bytes.is_empty() {
            bytes.push(b'G');
        }
    }
    bytes
}

/// The line around a place, with its end.
fn line_at(bytes: &[u8], at: usize) -> (usize, usize) {
    let from = bytes[..at].iter().rposition(|byte| *byte == b'\n').map_or(0, |end| end + 1);
    let to = bytes[at..].iter().position(|byte| *byte == b'\n');
    (from, to.map_or(bytes.len(), |end| at + end + 1))
}

/// Checks the answers to one client against what its bytes say.
fn check(which: Which, bytes: &[u8], answers: &Messages) -> Result<(), String> {
    let asked = Messages::read(bytes, Kind::Request);
    let whole = asked.all.iter().filter(|request| request.is_whole).count();
    let shown = |why: &str| {
        let got: Vec<String> =
            answers.all.iter().map(|it| format!("{}\n{}", it.line, it.text())).collect();
        format!("{why}: {:?}\n{got:#?}", String::from_utf8_lossy(bytes))
    };
    if let Some(fault) = answers.fault {
        return Err(shown(fault));
    }
    let finals: Vec<&Message> = answers.finals().collect();
    for (at, answer) in finals.iter().enumerate() {
        // hyper refuses some targets by itself, without a word.
        let is_bare = answer.status() == 400 && answer.body.is_empty();
        if is_bare || answer.field("server") == Some("jaco") {
            continue;
        }
        let Some(request) = asked.all.get(at).filter(|_| at < whole) else {
            return Err(shown("answered what is no request"));
        };
        if answer.status() == 200 && request.target().starts_with('/') {
            reflects(which, answer, request.target(), request.body.len())
                .map_err(|why| shown(&why))?;
        }
    }
    // Each request has one answer, up to the one that ends the connection.
    if finals.len() > asked.all.len() + 1 {
        return Err(shown("more answers than requests"));
    }
    Ok(())
}

async fn one(row: Arc<Row>, at: u64, seed: u64) -> Result<(), String> {
    let mark = format!("f{at}f");
    let mut state = seed.wrapping_add(at.wrapping_mul(0x1_0000_0001));
    let mut bytes = request(&mark, "").into_bytes();
    bytes.extend(damaged(&mut state, &mark));
    bytes.extend(request(&format!("{mark}-last"), "Connection: close\r\n").into_bytes());
    let answers = talk(row.proxy.http, &bytes, usize::MAX).await;
    check(row.which, &bytes, &answers).map_err(|why| format!("case {at}: {why}"))
}

async fn run(which: Which) {
    let given = std::env::var("JACO_TEST_SEED").ok().and_then(|seed| seed.parse().ok());
    let seed: u64 = given.unwrap_or(1);
    let row = Row::start(
        which,
        |config| {
            // Much of what is damaged lacks its end.
            config.header_timeout = Duration::from_millis(400);
            config.idle_timeout = Duration::from_millis(400);
        },
        |spec| spec.options.timeouts.read = Millis(400),
    )
    .await;
    let row = Arc::new(row);
    let mut running: JoinSet<Result<(), String>> = JoinSet::new();
    let (mut wrong, mut begun) = (Vec::new(), 0);
    let deadline = tokio::time::Instant::now() + LONGEST;
    while begun < CASES && tokio::time::Instant::now() < deadline {
        if running.len() >= AT_ONCE
            && let Some(ended) = running.join_next().await
        {
            wrong.extend(ended.unwrap().err());
        }
        running.spawn(one(row.clone(), begun, seed));
        begun += 1;
    }
    while let Some(ended) = running.join_next().await {
        wrong.extend(ended.unwrap().err());
    }
    wrong.truncate(5);
    assert!(wrong.is_empty(), "{which:?}, JACO_TEST_SEED={seed}: {}", wrong.join("\n"));
    eprintln!("{which:?}: {begun} damaged requests, JACO_TEST_SEED={seed}");
    let Ok(row) = Arc::try_unwrap(row) else { panic!("nobody else holds it") };
    row.finish(true).await;
}

#[tokio::test]
async fn before_hyper() {
    run(Which::Hyper).await;
}

#[tokio::test]
async fn before_nginx() {
    run(Which::Nginx).await;
}

#[tokio::test]
async fn before_lighttpd() {
    run(Which::Lighttpd).await;
}

#[tokio::test]
async fn before_python() {
    run(Which::Python).await;
}

#[tokio::test]
async fn before_the_probe() {
    run(Which::Probe).await;
}
