//! The driver against a real engine: a container's life, outages, logs.

use crate::bench::{Bench, CLUSTER, IMAGE, plan, probe_plan, texts};
use futures_util::StreamExt as _;
use jaco_model::Millis;
use jaco_model::spec::{
    ContainerSpec, Healthcheck, HealthcheckTest, Hook, Logging, Mount, MountKind, NetworkMode,
    ProbeCheck,
};
use jaco_runtime::{LogError, LogQuery, LogSource};
use jaco_runtime_core::{
    ContainerPlan, Effect, Endpoint, EngineEvent, EngineFault, ExecOutcome, Health, Input,
    NetworkPlan, Observation, PlannedMount, VolumePlan,
};
use rustix::process::{Pid, Signal, kill_process};
use std::collections::BTreeMap;

fn labels() -> BTreeMap<String, String> {
    [("jaco.cluster_id".to_owned(), CLUSTER.to_owned())].into()
}

fn network(name: &str) -> NetworkPlan {
    NetworkPlan { name: name.to_owned(), labels: labels(), internal: false, bridge: None }
}

fn volume(driver_opts: &[(&str, &str)]) -> VolumePlan {
    let opts = driver_opts.iter().map(|(k, v)| ((*k).to_owned(), (*v).to_owned()));
    VolumePlan {
        name: "jaco_shop_data".to_owned(),
        external: false,
        driver: "local".to_owned(),
        driver_opts: opts.collect(),
        labels: labels(),
    }
}

/// Two networks, a volume, a fixed MAC address and a healthcheck.
fn web() -> ContainerPlan {
    let command = texts(&["/probe", "check", "http://127.0.0.1:8080/health"]);
    let mut plan = plan(
        "shop-web-0.g1",
        ContainerSpec {
            mac_address: Some("02:42:0a:00:00:07".to_owned()),
            healthcheck: Some(Healthcheck {
                test: HealthcheckTest::Command(command),
                interval: Some(Millis(500)),
                timeout: Some(Millis::secs(10)),
                retries: Some(3),
                start_period: None,
                start_interval: None,
            }),
            ..ContainerSpec::default()
        },
    );
    let kind = MountKind::Volume { volume: "data".to_owned(), no_copy: false, subpath: None };
    plan.mounts = vec![PlannedMount {
        mount: Mount { kind, target: "/data".to_owned(), read_only: false },
        volume: Some("jaco_shop_data".to_owned()),
    }];
    plan.endpoints = ["jaco_shop_front", "jaco_shop_back"]
        .map(|network| Endpoint {
            network: network.to_owned(),
            address: None,
            aliases: texts(&["web"]),
            mac_address: None,
            gw_priority: 0,
            interface_name: None,
        })
        .into();
    plan
}

async fn observe(bench: &mut Bench) -> Observation {
    match bench.run(|op| Effect::Observe { op }).await {
        Input::Observed { result, .. } => result.unwrap(),
        other => panic!("{other:?}"),
    }
}

async fn exec(
    bench: &mut Bench,
    id: &str,
    command: &[&str],
    timeout: Millis,
) -> Result<ExecOutcome, EngineFault> {
    let hook = Hook {
        command: texts(command),
        user: None,
        privileged: false,
        working_dir: None,
        environment: BTreeMap::new(),
    };
    let container = id.to_owned();
    match bench.run(|op| Effect::Exec { op, container, hook, timeout }).await {
        Input::Executed { result, .. } => result,
        other => panic!("{other:?}"),
    }
}

#[tokio::test]
async fn a_container_lives_from_create_to_remove() {
    let mut bench = Bench::up("runtime-life").await;
    assert!(bench.facts.capacity.memory > 0 && bench.facts.capacity.cpu_milli >= 1_000);
    assert_eq!(bench.facts.platform.arch, "amd64");
    assert!(bench.facts.volume_drivers.contains(&"local".to_owned()));

    for name in ["jaco_shop_front", "jaco_shop_back", "jaco_shop_back"] {
        bench.finish(|op| Effect::EnsureNetwork { op, plan: network(name) }).await.unwrap();
    }
    for _ in 0..2 {
        bench.finish(|op| Effect::EnsureVolume { op, plan: volume(&[]) }).await.unwrap();
    }
    let changed = volume(&[("type", "tmpfs"), ("device", "tmpfs")]);
    let refused = bench.finish(|op| Effect::EnsureVolume { op, plan: changed }).await;
    assert!(!refused.unwrap_err().retry);

    let id = bench.create(web()).await.unwrap();
    assert_eq!(bench.create(web()).await.unwrap(), id, "a container never started is taken over");
    let facts = bench.inspect(&id).await.unwrap();
    assert!(facts.never_started && !facts.running && facts.exit_code.is_none());

    bench.finish(|op| Effect::Start { op, container: id.clone() }).await.unwrap();
    bench.finish(|op| Effect::Start { op, container: id.clone() }).await.unwrap();
    bench.event(&id, EngineEvent::Started).await;
    bench.event(&id, EngineEvent::Health(Health::Healthy)).await;
    let taken = bench.create(web()).await.unwrap_err();
    assert!(taken.retry && taken.reason.contains("already in use"), "{taken:?}");

    let seen = observe(&mut bench).await;
    let networks: Vec<&str> = seen.networks.iter().map(|seen| seen.name.as_str()).collect();
    assert_eq!(networks, ["jaco_shop_back", "jaco_shop_front"]);
    assert_eq!(seen.volumes.len(), 1);
    let [facts] = &seen.containers[..] else { panic!("{seen:?}") };
    assert_eq!(facts.instance, "shop-web-0.g1".parse().ok());
    assert_eq!((facts.spec_hash.as_str(), facts.health), ("hash", Health::Healthy));
    assert_eq!(facts.addresses.len(), 2, "{facts:?}");
    let raw = bench.host().engine().inspect(&id).unwrap();
    let mac = &raw["NetworkSettings"]["Networks"]["jaco_shop_front"]["MacAddress"];
    assert_eq!(mac, "02:42:0a:00:00:07");

    commands_run_in_it(&mut bench, &id).await;

    let container = id.clone();
    let grace = Millis(500);
    bench.finish(|op| Effect::Stop { op, container, grace }).await.unwrap();
    bench.event(&id, EngineEvent::Died { exit_code: 0 }).await;
    assert_eq!(bench.inspect(&id).await.unwrap().exit_code, Some(0));
    let lines: Vec<_> =
        bench.engine().logs("shop-web-0.g1", LogQuery::default()).await.unwrap().collect().await;
    assert!(!lines.is_empty(), "an ended container still has its log");

    for _ in 0..2 {
        let container = id.clone();
        bench.finish(|op| Effect::Stop { op, container, grace }).await.unwrap();
        bench.finish(|op| Effect::Remove { op, container: id.clone() }).await.unwrap();
        let name = "jaco_shop_front".to_owned();
        bench.finish(|op| Effect::RemoveNetwork { op, name }).await.unwrap();
        let name = "jaco_shop_data".to_owned();
        bench.finish(|op| Effect::RemoveVolume { op, name }).await.unwrap();
    }
    bench.event(&id, EngineEvent::Destroyed).await;
    assert_eq!(bench.inspect(&id).await, None);
    bench.lab.down().unwrap();
}

async fn commands_run_in_it(bench: &mut Bench, id: &str) {
    let get = ["/probe", "client", "get", "http://127.0.0.1:8080/env?name=HOSTNAME"];
    let ran = exec(bench, id, &get, Millis::secs(30)).await.unwrap();
    assert_eq!((ran.exit_code, ran.output.as_str()), (0, "shop-web-0.g1"));
    let ran = exec(bench, id, &["/probe", "job", "0", "7"], Millis::secs(30)).await.unwrap();
    assert_eq!(ran.exit_code, 7);
    let late = exec(bench, id, &["/probe", "job", "600000", "0"], Millis::secs(2)).await;
    assert!(late.unwrap_err().reason.starts_with("timed out after 2s"));
    let top = bench.host().engine().get(&format!("/containers/{id}/top")).unwrap().to_string();
    assert!(!top.contains("600000"), "the command outlives its time limit: {top}");

    let check = ProbeCheck::Exec { command: texts(&["/probe", "job", "0", "3"]) };
    let probe = |op| Effect::Probe {
        op,
        address: String::new(),
        check,
        timeout: Millis::secs(30),
        container: id.to_owned(),
    };
    let Input::Probed { result, .. } = bench.run(probe).await else { panic!("no probe") };
    let error = result.unwrap_err();
    assert!(error.starts_with("exit code 3: "), "{error}");
}

#[tokio::test]
async fn exits_and_impossible_starts_are_told_apart() {
    let mut bench = Bench::up("runtime-exits").await;
    let id = bench.start(probe_plan("shop-job-0.g1", &["job", "0", "7"])).await;
    bench.event(&id, EngineEvent::Died { exit_code: 7 }).await;
    let facts = bench.inspect(&id).await.unwrap();
    assert_eq!((facts.exit_code, facts.running, facts.never_started), (Some(7), false, false));

    let entrypoint = Some(texts(&["/nothing-here"]));
    let spec = ContainerSpec { entrypoint, ..ContainerSpec::default() };
    let container = bench.create(plan("shop-bad-0.g1", spec)).await.unwrap();
    let fault = bench.finish(|op| Effect::Start { op, container }).await.unwrap_err();
    assert!(fault.reason.contains("no such file"), "{fault:?}");

    let mut absent = probe_plan("shop-absent-0.g1", &[]);
    absent.image = "jaco/absent:1".to_owned();
    let fault = bench.create(absent).await.unwrap_err();
    assert!(fault.retry && fault.reason.contains("No such image"), "{fault:?}");

    let emptied = ContainerSpec { command: Some(Vec::new()), ..ContainerSpec::default() };
    let id = bench.start(plan("shop-empty-0.g1", emptied)).await;
    let raw = bench.host().engine().inspect(&id).unwrap();
    assert_eq!(raw["Path"], "/probe", "the image's entrypoint stays");
    bench.lab.down().unwrap();
}

#[tokio::test]
async fn an_engine_that_dies_or_hangs_is_noticed() {
    let mut bench = Bench::up("runtime-outage").await;
    let pid = |bench: &Bench| Pid::from_raw(bench.host().engine_pid().unwrap()).unwrap();

    kill_process(pid(&bench), Signal::KILL).unwrap();
    let reason = bench.engine_down().await;
    assert!(!reason.is_empty());
    let late = bench.run(|op| Effect::Observe { op }).await;
    let Input::Observed { result: Err(fault), .. } = late else { panic!("{late:?}") };
    assert!(fault.retry);
    jaco_lab::until("dockerd to end", std::time::Duration::from_secs(10), || {
        Ok(bench.host().engine_pid().is_err().then_some(()))
    })
    .unwrap();
    // This process is the parent of the killed one and does not collect it, so that dockerd would
    // take the process in its old pid file for alive.
    std::fs::remove_file(bench.host().run_dir().join("docker.pid")).unwrap();
    bench.host().start_engine().unwrap();
    bench.engine_up().await;

    let id = bench.start(probe_plan("shop-web-0.g1", &["worker"])).await;
    kill_process(pid(&bench), Signal::STOP).unwrap();
    let reason = bench.engine_down().await;
    kill_process(pid(&bench), Signal::CONT).unwrap();
    assert_eq!(reason, "the engine hangs: no answer for 10 s");
    bench.engine_up().await;
    let seen = observe(&mut bench).await;
    assert!(seen.containers.iter().any(|facts| facts.id == id && facts.running), "{seen:?}");
    bench.lab.down().unwrap();
}

async fn lines(bench: &Bench, name: &str, query: LogQuery) -> Vec<(LogSource, String)> {
    let stream = bench.engine().logs(name, query).await.unwrap();
    stream.map(|line| line.map(|line| (line.stream, line.line)).unwrap()).collect().await
}

#[tokio::test]
async fn logs_are_whole_lines() {
    let mut bench = Bench::up("runtime-logs").await;
    let follow = LogQuery { follow: true, ..LogQuery::default() };
    let id = bench.start(probe_plan("shop-log-0.g1", &["log", "20", "20", "both"])).await;
    let followed = lines(&bench, "shop-log-0.g1", follow.clone()).await;
    bench.event(&id, EngineEvent::Died { exit_code: 0 }).await;
    let all = lines(&bench, "shop-log-0.g1", LogQuery::default()).await;
    let of = |source| all.iter().filter(|(found, _)| *found == source).count();
    assert!(of(LogSource::Stdout) > 0 && of(LogSource::Stderr) > 0, "{all:?}");
    // The engine may end a followed log before the very last lines of a container that ends.
    assert!(!followed.is_empty() && all.starts_with(&followed), "{followed:?}");
    let tail = LogQuery { tail: Some(3), ..LogQuery::default() };
    assert_eq!(lines(&bench, "shop-log-0.g1", tail).await, all[all.len() - 3..]);

    // One line of 40 KiB, which the engine cuts into three pieces, with and without a terminal.
    let long = "0123456789abcdef".repeat(2560);
    let environment = [("PROBE_LONG".to_owned(), long.clone())].into();
    let server = ContainerSpec { environment, ..ContainerSpec::default() };
    let server = bench.start(plan("shop-srv-0.g1", server)).await;
    for (instance, tty) in [("shop-pipe-0.g1", false), ("shop-tty-0.g1", true)] {
        let spec = ContainerSpec {
            command: Some(texts(&["client", "get", "http://127.0.0.1:8080/env?name=PROBE_LONG"])),
            network_mode: NetworkMode::Service("srv".into()),
            tty,
            ..ContainerSpec::default()
        };
        let mut plan = plan(instance, spec);
        plan.network_of = Some(server.clone());
        let id = bench.start(plan).await;
        bench.event(&id, EngineEvent::Died { exit_code: 0 }).await;
        let found = lines(&bench, instance, LogQuery::default()).await;
        assert_eq!(found.len(), 1, "{tty}");
        assert!(found[0].1 == long, "{tty}: {} bytes instead of {}", found[0].1.len(), long.len());
    }

    let logging = Logging { driver: "none".to_owned(), options: BTreeMap::new() };
    let spec = ContainerSpec { logging, ..ContainerSpec::default() };
    bench.start(plan("shop-mute-0.g1", spec)).await;
    let error = bench.engine().logs("shop-mute-0.g1", follow.clone()).await.err().unwrap();
    assert!(
        matches!(error, LogError::Unreadable { ref driver, .. } if driver == "none"),
        "{error}"
    );
    let error = bench.engine().logs("shop-gone-0.g1", follow).await.err().unwrap();
    assert_eq!(error, LogError::Missing("shop-gone-0.g1".to_owned()));
    assert!(bench.engine().resolve_image(IMAGE, Default::default(), None).await.unwrap().pin.local);
    bench.lab.down().unwrap();
}
