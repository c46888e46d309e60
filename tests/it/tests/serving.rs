//! A hundred thousand requests through one node while everything behind it changes: replicas,
//! routes, certificates, daemons, the leader, and at last a whole node.

use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::JoinHandle;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use jaco_it::{Caller, Cluster, Run, Stack, pause, probe, unix_ms, with_cluster};
use jaco_lab::{Host, until};
use serde_json::{Value, json};

const ALL: [usize; 3] = [0, 1, 2];

/// Longest time until a change of the state is served, on a busy machine.
const LIMIT: Duration = Duration::from_secs(60);

/// Seconds of load: four kinds of requests at these rates are more than 100,000.
const SECONDS: u32 = 200;
const LOADS: [Load; 4] = [
    Load { method: "get", path: "/", connections: 20, rate: 400 },
    Load { method: "post", path: "/upload", connections: 10, rate: 50 },
    Load { method: "get", path: "/sse?n=3&ms=20", connections: 10, rate: 40 },
    Load { method: "ws", path: "/ws", connections: 10, rate: 40 },
];
const REQUESTS: u64 = 100_000;

/// From the loss of a node until nobody sends anything there any more.
const NOTICED: f64 = 15.0;

/// One kind of requests.
#[derive(Clone, Copy, Debug)]
struct Load {
    method: &'static str,
    path: &'static str,
    connections: u32,
    /// A second.
    rate: u32,
}

impl Load {
    fn start(self, c: &Cluster, node: usize) -> Result<Child> {
        let mut command = c.node(node).host().command(c.probe());
        let numbers = [self.connections, self.rate, SECONDS].map(|number| number.to_string());
        command.args(["client", "load", self.method]).args(numbers);
        command.args([&format!("http://127.0.0.1{}", self.path), "shop.test"]);
        // A request that waits for a node that is gone is late, not lost.
        command.env("PROBE_TIMEOUT_MS", "30000").stdout(Stdio::piped()).stderr(Stdio::null());
        command.spawn().context("cannot start a load")
    }
}

/// What a load said at its end.
#[derive(Debug)]
struct Told {
    good: u64,
    failed: u64,
    /// Seconds from its start until the request was sent, and why; the first hundred.
    failures: Vec<(f64, String)>,
}

impl Told {
    fn of(output: &str) -> Result<Told> {
        let mut words = output.split_ascii_whitespace();
        let mut after = |word: &str| {
            words.find(|found| *found == word)?;
            words.next()?.parse().ok()
        };
        let (good, failed) = (after("good"), after("failed"));
        let failures = output.lines().filter_map(|line| {
            let (at, why) = line.strip_prefix("failed sent at ")?.split_once(" s: ")?;
            Some((at.parse().ok()?, why.to_owned()))
        });
        Ok(Told {
            good: good.with_context(|| format!("no number of answers in {output:?}"))?,
            failed: failed.context("no number of failures")?,
            failures: failures.collect(),
        })
    }
}

/// What is wanted of the deployment at present.
#[derive(Clone, Debug)]
struct Wish {
    color: &'static str,
    replicas: u32,
}

fn compose(wish: &Wish, round: u32) -> Value {
    let change = json!({ "response": { "set": { "x-round": round.to_string() } } });
    let mut service = probe(json!({
        "environment": { "COLOR": wish.color },
        "deploy": { "replicas": wish.replicas },
        "stop_grace_period": "5s",
    }));
    service["x-jaco"] = json!({
        "drain_timeout": "3s",
        "routes": [
            { "domain": "shop.test", "port": 8080, "tls": "off", "headers": change },
            { "domain": "tls.test", "port": 8080, "tls": "shop-cert" },
        ],
    });
    json!({ "services": { "web": service }, "secrets": { "shop-cert": { "file": "./shop.pem" } } })
}

/// Applies the deployment again every second, each time with another header and, every tenth
/// time, with another certificate.
struct Changer {
    wish: Arc<Mutex<Wish>>,
    stops: Arc<AtomicBool>,
    applied: Arc<AtomicU32>,
    thread: JoinHandle<Result<Stack>>,
}

impl Changer {
    fn start(caller: Caller, stack: Stack, first: Wish) -> Changer {
        let (wish, stops) = (Arc::new(Mutex::new(first)), Arc::new(AtomicBool::new(false)));
        let applied = Arc::<AtomicU32>::default();
        let (wished, stopped, counted) = (wish.clone(), stops.clone(), applied.clone());
        let thread = std::thread::spawn(move || {
            for round in 1.. {
                if stopped.load(Ordering::Relaxed) {
                    break;
                }
                if round % 10 == 0 {
                    certify(stack.dir(), "tls.test")?;
                }
                let wish = wished.lock().unwrap_or_else(PoisonError::into_inner).clone();
                stack.write(compose(&wish, round))?;
                // Without a leader it is refused; the next one comes in a second.
                let run = Run::of(&mut caller.command(&["apply", &stack.path(), "--detach"]))?;
                counted.fetch_add(u32::from(run.code == Some(0)), Ordering::Relaxed);
                pause(Duration::from_secs(1));
            }
            Ok(stack)
        });
        Changer { wish, stops, applied, thread }
    }

    fn wants(&self, color: &'static str, replicas: u32) {
        *self.wish.lock().unwrap_or_else(PoisonError::into_inner) = Wish { color, replicas };
    }

    fn stop(self) -> Result<(u32, Stack)> {
        self.stops.store(true, Ordering::Relaxed);
        let stack = self.thread.join().map_err(|_| anyhow::anyhow!("the changes panicked"))??;
        Ok((self.applied.load(Ordering::Relaxed), stack))
    }
}

/// Makes new handshakes all the time and trusts every certificate there was.
struct Handshakes {
    stops: Arc<AtomicBool>,
    thread: JoinHandle<Result<(u32, Vec<String>)>>,
}

impl Handshakes {
    fn start(host: &Host, trust: String) -> Handshakes {
        let (host, stops) = (host.clone(), Arc::new(AtomicBool::new(false)));
        let stopped = stops.clone();
        let thread = std::thread::spawn(move || {
            let (mut good, mut bad) = (0, Vec::new());
            while !stopped.load(Ordering::Relaxed) {
                let mut curl: Command = host.command("curl");
                curl.args(["--silent", "--show-error", "--fail", "--max-time", "30"]);
                curl.args(["--resolve", "tls.test:443:127.0.0.1", "--cacert", &trust]);
                let run = Run::of(curl.args(["--output", "/dev/null", "https://tls.test/"]))?;
                if run.code == Some(0) {
                    good += 1;
                } else {
                    bad.push(run.stderr);
                }
                pause(Duration::from_millis(200));
            }
            Ok((good, bad))
        });
        Handshakes { stops, thread }
    }

    fn stop(self) -> Result<(u32, Vec<String>)> {
        self.stops.store(true, Ordering::Relaxed);
        self.thread.join().map_err(|_| anyhow::anyhow!("the handshakes panicked"))?
    }
}

/// A new self-signed certificate in `shop.pem`; `trust.pem` collects all of them.
fn certify(dir: &Path, name: &str) -> Result<()> {
    let mut command = Command::new("openssl");
    let (subject, names) = (format!("/CN={name}"), format!("subjectAltName=DNS:{name}"));
    command.current_dir(dir).args(["req", "-x509", "-newkey", "ec"]);
    command.args(["-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-days", "30"]);
    command.args(["-subj", &subject, "-addext", &names, "-keyout", "new.key", "-out", "new.crt"]);
    Run::of(&mut command)?.exits(0)?;
    let read = |name: &str| std::fs::read_to_string(dir.join(name)).context("openssl's output");
    let trusted = std::fs::read_to_string(dir.join("trust.pem")).unwrap_or_default();
    std::fs::write(dir.join("trust.new"), trusted + &read("new.crt")?)?;
    std::fs::rename(dir.join("trust.new"), dir.join("trust.pem"))?;
    std::fs::write(dir.join("shop.pem"), read("new.crt")? + &read("new.key")?)?;
    Ok(())
}

/// Waits until exactly this many replicas of the newest specification are ready.
fn settled(c: &Cluster, color: &str, replicas: usize) -> Result<()> {
    let what = format!("{replicas} replicas in {color}");
    until(&what, LIMIT, || {
        let mut ready = 0;
        for node in ALL {
            let Ok(held) = c.node(node).containers("shop") else { continue };
            for one in held {
                // It may be gone since it was listed.
                let Ok(seen) = c.node(node).engine().inspect(&one.id) else { return Ok(None) };
                let is_new = seen["Config"]["Env"].as_array().is_some_and(|env| {
                    env.iter().any(|pair| pair == &json!(format!("COLOR={color}")))
                });
                if !is_new {
                    return Ok(None);
                }
                ready += usize::from(one.is_ready());
            }
        }
        Ok((ready == replicas).then_some(()))
    })
}

#[test]
fn a_hundred_thousand_requests_outlive_every_change() -> Result<()> {
    with_cluster("serving", 3, 3, |c| {
        let first = Wish { color: "blue", replicas: 3 };
        let stack = Stack::new("shop", compose(&first, 0))?;
        certify(stack.dir(), "tls.test")?;
        let trust = stack.dir().join("trust.pem").display().to_string();
        c.node(0).ok(&["apply", &stack.path()])?;
        let leader = c.leader(&ALL)?;
        let entry = (leader + 1) % 3;
        until("an answer", LIMIT, || {
            let mut curl = c.node(entry).host().command("curl");
            curl.args(["--silent", "--fail", "--header", "Host: shop.test", "http://127.0.0.1/"]);
            Ok((Run::of(&mut curl)?.code == Some(0)).then_some(()))
        })?;

        let begun = unix_ms();
        let loads = LOADS.map(|load| load.start(c, entry));
        let loads = loads.into_iter().collect::<Result<Vec<Child>>>()?;
        let handshakes = Handshakes::start(c.node(entry).host(), trust);
        let changer = Changer::start(c.node(entry).caller(), stack, first);
        let story = everything_changes(c, &changer, entry);
        let lost = lose_a_node(c, entry, begun);
        let told = loads.into_iter().map(|load| {
            let output = load.wait_with_output()?;
            Told::of(&String::from_utf8_lossy(&output.stdout))
        });
        let told = told.collect::<Result<Vec<Told>>>()?;
        let (made, refused) = handshakes.stop()?;
        let (applied, _stack) = changer.stop()?;
        story?;
        println!("{told:#?}\n{made} handshakes, {applied} changes applied");
        println!("{}", judge(&told, lost?)?);
        ensure!(refused.is_empty(), "{made} handshakes were good, these not: {refused:#?}");
        ensure!(applied >= SECONDS / 8, "only {applied} changes were applied");
        Ok(())
    })
}

/// Replaced, more, fewer; a daemon that is not the leader; the leader.
fn everything_changes(c: &mut Cluster, changer: &Changer, entry: usize) -> Result<()> {
    for (color, replicas) in [("green", 3), ("green", 6), ("red", 4), ("red", 3)] {
        changer.wants(color, replicas);
        settled(c, color, usize::try_from(replicas)?)?;
    }
    let leader = c.leader(&ALL)?;
    let other = ALL.into_iter().find(|node| *node != entry && *node != leader);
    let restarted = other.unwrap_or((entry + 1) % 3);
    for victim in [restarted, if leader == entry { (entry + 2) % 3 } else { leader }] {
        let daemon = c.node_mut(victim).daemon();
        if victim == leader {
            daemon.kill()?
        } else {
            daemon.stop()?
        }
        pause(Duration::from_secs(3));
        c.node_mut(victim).daemon().start_again()?;
        c.healthy(&ALL)?;
    }
    Ok(())
}

/// Cuts a node that is neither the entry nor the leader off; gives when, on the loads' clock.
fn lose_a_node(c: &mut Cluster, entry: usize, begun: u64) -> Result<f64> {
    let leader = c.leader(&ALL)?;
    let victim = ALL.into_iter().find(|node| ![entry, leader].contains(node));
    let victim = victim.context("nobody to lose")?;
    let at = Duration::from_millis(unix_ms() - begun).as_secs_f64();
    let name = c.node(victim).name().to_owned();
    c.lab().isolate(&name)?;
    Ok(at)
}

/// No failure but of what was under way to the node that went, of which each connection had one.
fn judge(told: &[Told], lost: f64) -> Result<String> {
    let mut excepted = 0;
    for (load, told) in LOADS.iter().zip(told) {
        let window = lost - 1.0..lost + NOTICED;
        let outside: Vec<_> = told.failures.iter().filter(|(at, _)| !window.contains(at)).collect();
        ensure!(outside.is_empty(), "{load:?} failed: {outside:#?}");
        ensure!(told.failed <= u64::from(load.connections), "{load:?}: {told:#?}");
        excepted += told.failed;
    }
    let good: u64 = told.iter().map(|told| told.good).sum();
    ensure!(good >= REQUESTS, "only {good} requests");
    Ok(format!("{good} requests; {excepted} more went down with the node at {lost:.1} s"))
}
