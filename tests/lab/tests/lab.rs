//! A lab comes up with working engines and leaves nothing behind, however its owner ends.

#![expect(clippy::unwrap_used, reason = "a test helper fails by panicking")]

use std::env;
use std::fs;
use std::io::{BufRead, BufReader};
use std::net::TcpListener;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use jaco_lab::{Host, Lab, LabOptions, list, probe_binary, until};
use serde_json::json;

/// Set for the child process that brings up a lab and is then killed.
const VICTIM: &str = "JACO_LAB_TEST_VICTIM";

const IMAGE: &str = "jaco/probe:lab";

/// How long a started container may take until it listens, on a busy machine.
const ANSWER_LIMIT: Duration = Duration::from_secs(20);

/// Brings up a lab with one host that runs a container.
fn lab_with_container(name: &str, on_signal: &str) -> (Lab, String) {
    let lab = Lab::up(LabOptions::new(name, 1)).unwrap();
    let host = &lab.hosts()[0];
    host.import_probe(&probe_binary().unwrap(), IMAGE).unwrap();
    let engine = host.engine();
    let container = json!({ "Image": IMAGE, "Env": [format!("PROBE_SIGTERM={on_signal}")] });
    let created = engine.post("/containers/create?name=one", &container).unwrap();
    let id = created["Id"].as_str().unwrap().to_owned();
    engine.post("/containers/one/start", &json!(null)).unwrap();
    (lab, id)
}

/// A probe that serves inside a host.
struct Server {
    process: Child,
    url: String,
}

impl Server {
    fn start(host: &Host) -> Self {
        let mut command = host.command(probe_binary().unwrap());
        let mut process = command.stdout(Stdio::piped()).spawn().unwrap();
        let mut line = String::new();
        BufReader::new(process.stdout.as_mut().unwrap()).read_line(&mut line).unwrap();
        assert!(line.contains(&format!("hostname={}", host.name())), "{line}");
        Self { process, url: format!("http://{}:8080/", host.address()) }
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.process.kill().unwrap();
        self.process.wait().unwrap();
    }
}

/// Everything on this machine that still belongs to the lab with that number.
fn traces(number: u8, container: &str) -> Vec<String> {
    let run_dir = format!("/run/jaco-lab/{number}");
    let data_dir = format!("/var/lib/jaco-lab/{number}");
    let name = format!("jacolab{number}");
    let mut found = Vec::new();
    for path in [&run_dir, &data_dir] {
        found.extend(Path::new(path).try_exists().unwrap().then(|| path.clone()));
    }
    let mounts = fs::read_to_string("/proc/self/mountinfo").unwrap();
    let inside = |line: &&str| [&run_dir, &data_dir].iter().any(|dir| line.contains(*dir));
    found.extend(mounts.lines().filter(inside).map(str::to_owned));
    let links = fs::read_dir("/sys/class/net").unwrap().flatten();
    let links = links.map(|entry| entry.file_name().into_string().unwrap());
    found.extend(links.filter(|link| *link == name || link.starts_with(&format!("{name}-"))));
    for process in fs::read_dir("/proc").unwrap().flatten() {
        let line = fs::read_to_string(process.path().join("cmdline")).unwrap_or_default();
        found.extend([&run_dir, container].iter().any(|own| line.contains(*own)).then_some(line));
    }
    for hierarchy in fs::read_dir("/sys/fs/cgroup").unwrap().flatten() {
        let group = hierarchy.path().join(&name);
        found.extend(group.is_dir().then(|| group.display().to_string()));
    }
    found
}

#[test]
fn a_lab_works_and_leaves_nothing() {
    let (lab, container) = lab_with_container("works", "exit");
    let host = lab.host("node-1").unwrap();
    let (number, engine) = (lab.number(), host.engine());

    let images = engine.get("/images/json").unwrap();
    assert_eq!(images[0]["RepoTags"], json!([IMAGE]));
    assert_eq!(engine.containers().unwrap().len(), 1);
    assert_eq!(engine.inspect("one").unwrap()["State"]["Running"], true);
    let hostname = host.command("hostname").output().unwrap();
    assert_eq!(String::from_utf8(hostname.stdout).unwrap(), "node-1\n");

    // The container answers inside the host, and the host answers from the machine.
    let network = engine.inspect("one").unwrap()["NetworkSettings"]["IPAddress"].clone();
    let url = format!("http://{}:8080/", network.as_str().unwrap());
    let probe = probe_binary().unwrap();
    // The engine calls a container started before its program listens.
    until("an answer of the container", ANSWER_LIMIT, || {
        let status = host.command(&probe).args(["check", &url]).status()?;
        Ok(status.success().then_some(()))
    })
    .unwrap();
    let server = Server::start(host);
    let answer = Command::new(probe_binary().unwrap()).args(["check", &server.url]).status();
    assert!(answer.unwrap().success());
    drop(server);

    host.stop_engine().unwrap();
    assert!(engine.ping().is_err());
    host.start_engine().unwrap();
    assert_eq!(engine.containers().unwrap().len(), 1);
    engine.remove("one").unwrap();

    assert!(!traces(number, &container).is_empty(), "the search finds no running lab");
    lab.down().unwrap();
    assert_eq!(traces(number, &container), Vec::<String>::new());
}

#[test]
fn hosts_reach_each_other_but_no_name_server() {
    let lab = Lab::up(LabOptions::new("pair", 2)).unwrap();
    let [first, second] = lab.hosts() else { panic!("two hosts") };
    let id = |host: &Host| host.engine().get("/info").unwrap()["ID"].clone();
    assert_ne!(id(first), id(second));

    let server = Server::start(second);
    let mut check = first.command(probe_binary().unwrap());
    assert!(check.args(["check", &server.url]).status().unwrap().success());

    // A name server that would answer if the packets came through.
    let address = format!("10.213.{}.254:53", lab.number());
    let _name_server = TcpListener::bind(&address).unwrap();
    let mut dial = first.command(probe_binary().unwrap());
    let refused = dial.args(["client", "dial", "tcp", &address]).output().unwrap();
    assert!(String::from_utf8_lossy(&refused.stderr).contains("refused"), "{refused:?}");
}

#[test]
fn a_lab_of_a_killed_owner_is_swept() {
    if env::var_os(VICTIM).is_some() {
        let (lab, container) = lab_with_container("victim", "ignore");
        println!("up {} {container}", lab.number());
        loop {
            std::thread::park();
        }
    }
    let mut victim = Command::new(env::current_exe().unwrap())
        .args(["--exact", "a_lab_of_a_killed_owner_is_swept", "--nocapture"])
        .env(VICTIM, "1")
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut lines = BufReader::new(victim.stdout.take().unwrap()).lines().map(Result::unwrap);
    let line = lines.find_map(|line| Some(line.split_once("up ")?.1.to_owned())).unwrap();
    let (number, container) = line.split_once(' ').unwrap();
    let number: u8 = number.parse().unwrap();
    victim.kill().unwrap();
    victim.wait().unwrap();
    assert!(!traces(number, container).is_empty(), "the killed owner left nothing to sweep");

    let next = Lab::up(LabOptions::new("next", 1)).unwrap();
    // The number may be in use again, by this lab or a parallel one; the container cannot be.
    let left = traces(number, container);
    let by_others = list().iter().any(|lab| lab.number() == number);
    let left: Vec<_> = left.into_iter().filter(|t| !by_others || t.contains(container)).collect();
    assert_eq!(left, Vec::<String>::new());
    next.down().unwrap();
}
