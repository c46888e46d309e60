//! What a lab can break breaks, only that, and heals; nothing of it outlives the lab.

#![expect(clippy::unwrap_used, reason = "a test helper fails by panicking")]

use std::env;
use std::fs::{self, File};
use std::io::{BufRead, BufReader, ErrorKind, Write};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::LazyLock;
use std::time::Duration;

use jaco_lab::{Daemon, Host, Lab, LabOptions, probe_binary, until};

/// Set for the child process that mounts a disk and is then killed.
const VICTIM: &str = "JACO_LAB_TEST_FAULTS_VICTIM";

/// Built once where it is not given.
static PROBE: LazyLock<PathBuf> = LazyLock::new(|| probe_binary().unwrap());

/// Longest time until a packet that is not lost has arrived, on a busy machine.
const ARRIVAL: Duration = Duration::from_secs(5);

/// Longest time for which a packet is missed before it counts as lost.
const MISSED: Duration = Duration::from_millis(300);

const DISK_BYTES: u64 = 16 << 20;

/// Sends one datagram to a port where nobody listens, and says whether it arrived.
fn arrives(from: &Host, to: &Host, port: u16, limit: Duration) -> bool {
    let before = refused_datagrams(to);
    send(from, to, port);
    until("the datagram", limit, || Ok((refused_datagrams(to) > before).then_some(()))).is_ok()
}

fn send(from: &Host, to: &Host, port: u16) {
    let address = format!("{}:{port}", to.address());
    let mut dial = from.command(PROBE.as_path());
    dial.env("PROBE_TIMEOUT_MS", "20").args(["client", "dial", "udp", &address]);
    // It fails: nobody answers.
    dial.output().unwrap();
}

/// How many datagrams have arrived at a host for which no program waited.
fn refused_datagrams(host: &Host) -> u64 {
    let output = host.command("cat").arg("/proc/net/snmp").output().unwrap();
    let text = String::from_utf8(output.stdout).unwrap();
    let rows: Vec<Vec<&str>> = text
        .lines()
        .filter_map(|line| line.strip_prefix("Udp: "))
        .map(|line| line.split(' ').collect())
        .collect();
    let column = rows[0].iter().position(|name| *name == "NoPorts").unwrap();
    rows[1][column].parse().unwrap()
}

/// Which hosts reach which, as `1>2` and so on, for a port.
fn reach(lab: &Lab, port: u16, open: &[&str]) {
    for (i, from) in lab.hosts().iter().enumerate() {
        for (j, to) in lab.hosts().iter().enumerate().filter(|(j, _)| *j != i) {
            let way = format!("{}>{}", i + 1, j + 1);
            let expected = open.contains(&way.as_str());
            let limit = if expected { ARRIVAL } else { MISSED };
            assert_eq!(arrives(from, to, port, limit), expected, "{way} at {port}");
        }
    }
}

const ALL: [&str; 6] = ["1>2", "1>3", "2>1", "2>3", "3>1", "3>2"];

#[test]
fn cuts_of_every_shape_hit_what_they_name_and_heal() {
    let lab = Lab::up(LabOptions::new("cuts", 3)).unwrap();
    reach(&lab, 9, &ALL);
    lab.cut_one_way("node-1", "node-2").unwrap();
    reach(&lab, 9, &["1>3", "2>1", "2>3", "3>1", "3>2"]);
    lab.cut("node-1", "node-2").unwrap();
    reach(&lab, 9, &["1>3", "2>3", "3>1", "3>2"]);
    lab.heal().unwrap();
    reach(&lab, 9, &ALL);

    lab.isolate("node-3").unwrap();
    reach(&lab, 9, &["1>2", "2>1"]);
    lab.heal().unwrap();
    lab.partition(&[&["node-2"], &["node-1", "node-3"]]).unwrap();
    reach(&lab, 9, &["1>3", "3>1"]);
    lab.heal().unwrap();

    lab.traffic(&[7, 9]).cut("node-2", "node-3").unwrap();
    reach(&lab, 9, &["1>2", "1>3", "2>1", "3>1"]);
    reach(&lab, 11, &ALL);
    lab.heal().unwrap();

    lab.host("node-1").unwrap().link_down().unwrap();
    reach(&lab, 9, &["2>3", "3>2"]);
    lab.heal().unwrap();
    reach(&lab, 9, &ALL);

    for wrong in [
        lab.cut("node-1", "node-1"),
        lab.cut("node-1", "node-4"),
        lab.partition(&[&["node-1"], &["node-2", "node-1"]]),
        lab.traffic(&[]).lose("node-1", "node-2", 1001),
    ] {
        assert!(wrong.is_err());
    }
    lab.down().unwrap();
}

#[test]
fn a_part_of_the_packets_is_lost() {
    let lab = Lab::up(LabOptions::new("loss", 2)).unwrap();
    let [first, second] = lab.hosts() else { panic!("two hosts") };
    lab.traffic(&[]).lose("node-1", "node-2", 500).unwrap();
    let before = refused_datagrams(second);
    for _ in 0..60 {
        send(first, second, 9);
    }
    let arrived = refused_datagrams(second) - before;
    // Fewer than 10 or more than 50 of 60 happen once in ten million runs.
    assert!((10..=50).contains(&arrived), "{arrived} of 60");
    lab.heal().unwrap();
    assert!(arrives(first, second, 9, ARRIVAL));
    lab.down().unwrap();
}

/// A program that runs like a daemon and ignores its arguments.
fn stand_in(lab: &Lab) -> PathBuf {
    let host = &lab.hosts()[0];
    let path = host.run_dir().join("stand-in");
    // Starting a daemon waits for its socket; a listener that nobody serves is enough.
    let script = format!("#!/bin/sh\nexec {} worker\n", PROBE.display());
    let mut file = File::create(&path).unwrap();
    file.write_all(script.as_bytes()).unwrap();
    let mut mode = file.metadata().unwrap().permissions();
    std::os::unix::fs::PermissionsExt::set_mode(&mut mode, 0o755);
    file.set_permissions(mode).unwrap();
    path
}

fn state_of(pid: u32) -> char {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).unwrap();
    stat.rsplit_once(") ").unwrap().1.chars().next().unwrap()
}

#[test]
fn daemons_and_engines_are_paused_killed_and_started_again() {
    let lab = Lab::up(LabOptions::new("pause", 1)).unwrap();
    let host = &lab.hosts()[0];
    let binary = stand_in(&lab);
    let _socket = std::os::unix::net::UnixListener::bind(host.run_dir().join("jaco.sock")).unwrap();
    let mut daemon = Daemon::start(host, &binary).unwrap();
    let pid = daemon.pid().unwrap();
    daemon.pause().unwrap();
    until("the pause", ARRIVAL, || Ok((state_of(pid) == 'T').then_some(()))).unwrap();
    daemon.resume().unwrap();
    until("the end of the pause", ARRIVAL, || Ok((state_of(pid) != 'T').then_some(()))).unwrap();
    daemon.kill().unwrap();
    assert!(daemon.pause().is_err(), "a killed daemon was paused");
    daemon.start_again().unwrap();
    daemon.pause().unwrap();
    daemon.stop().unwrap();
    assert_eq!(daemon.pid(), None);

    let engine = host.engine_pid().unwrap();
    host.pause_engine().unwrap();
    let engine_pid = u32::try_from(engine).unwrap();
    until("the pause", ARRIVAL, || Ok((state_of(engine_pid) == 'T').then_some(()))).unwrap();
    host.resume_engine().unwrap();
    host.engine().ping().unwrap();
    host.kill_engine().unwrap();
    assert!(host.engine().ping().is_err());
    host.start_engine().unwrap();
    assert_ne!(host.engine_pid().unwrap(), engine);
    lab.down().unwrap();
}

#[test]
fn a_small_disk_fills_and_is_freed() {
    let lab = Lab::up(LabOptions::new("disk", 1)).unwrap();
    let host = &lab.hosts()[0];
    let disk = host.small_disk(DISK_BYTES).unwrap();
    assert_eq!(disk.path(), host.daemon_data_dir());
    let other = disk.path().join("other");
    fs::write(&other, "x").unwrap();
    disk.fill().unwrap();
    let full = fs::write(&other, [b'x'; 8192]).unwrap_err();
    assert_eq!(full.kind(), ErrorKind::StorageFull);
    disk.free().unwrap();
    fs::write(&other, [b'x'; 8192]).unwrap();
    assert!(host.small_disk(DISK_BYTES).is_err(), "a directory in use was covered");
    disk.remove().unwrap();
    assert!(!other.try_exists().unwrap());

    // One that is still full and in use when the lab ends.
    let disk = host.small_disk(DISK_BYTES).unwrap();
    let image = host.data_dir().join("disk.img");
    disk.fill().unwrap();
    let _open = File::create(disk.path().join("open"));
    assert!(loop_device_of(&image), "the search finds no loop device");
    lab.down().unwrap();
    assert!(!mounted_below(&image));
}

/// Whether a loop device has that file behind it.
fn loop_device_of(image: &Path) -> bool {
    let devices = fs::read_dir("/sys/block").unwrap().flatten();
    let mut files = devices.map(|d| fs::read_to_string(d.path().join("loop/backing_file")));
    files.any(|file| file.is_ok_and(|file| Path::new(file.trim()) == image))
}

/// Whether something is mounted in the directory of an image file.
fn mounted_below(image: &Path) -> bool {
    let directory = image.parent().unwrap().display().to_string();
    fs::read_to_string("/proc/self/mountinfo").unwrap().contains(&directory)
}

/// A process that brings up a lab with a full disk, a cut and a pause, and waits to be killed.
fn victim() -> (Child, PathBuf) {
    let mut victim = Command::new(env::current_exe().unwrap())
        .args(["--exact", "faults_of_a_killed_owner_are_swept", "--nocapture"])
        .env(VICTIM, "1")
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut lines = BufReader::new(victim.stdout.take().unwrap()).lines().map(Result::unwrap);
    let image = lines.find_map(|line| Some(line.split_once("image ")?.1.into())).unwrap();
    (victim, image)
}

#[test]
fn faults_of_a_killed_owner_are_swept() {
    if env::var_os(VICTIM).is_some() {
        let lab = Lab::up(LabOptions::new("victim", 2)).unwrap();
        let host = &lab.hosts()[0];
        host.small_disk(DISK_BYTES).unwrap().fill().unwrap();
        lab.cut("node-1", "node-2").unwrap();
        host.pause_engine().unwrap();
        println!("image {}", host.data_dir().join("disk.img").display());
        loop {
            std::thread::park();
        }
    }
    let (mut victim, image) = victim();
    victim.kill().unwrap();
    victim.wait().unwrap();
    assert!(loop_device_of(&image), "the killed owner left nothing to sweep");
    let next = Lab::up(LabOptions::new("next", 1)).unwrap();
    // The new lab may have the old one's number and so its directory, but it has no disk.
    until("the loop device to go", ARRIVAL, || Ok((!loop_device_of(&image)).then_some(())))
        .unwrap();
    assert!(!image.try_exists().unwrap());
    next.down().unwrap();
}

#[test]
fn an_image_has_the_same_id_on_all_hosts() {
    let lab = Lab::up(LabOptions::new("image", 2)).unwrap();
    lab.import_probe_everywhere(&PROBE, "jaco/probe:same").unwrap();
    let ids: Vec<_> = lab
        .hosts()
        .iter()
        .map(|host| host.engine().get("/images/jaco/probe:same/json").unwrap()["Id"].clone())
        .collect();
    assert!(ids[0].is_string() && ids[0] == ids[1], "{ids:?}");
    for host in lab.hosts() {
        let create = serde_json::json!({ "Image": "jaco/probe:same" });
        host.engine().post("/containers/create?name=one", &create).unwrap();
        host.engine().post("/containers/one/start", &serde_json::Value::Null).unwrap();
        assert_eq!(host.engine().inspect("one").unwrap()["State"]["Running"], true);
    }
    lab.down().unwrap();
}
