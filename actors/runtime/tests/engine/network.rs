//! The driver against a real engine: networks of the address plan, chosen addresses, resolv.conf.

use crate::bench::{Bench, CLUSTER, probe_plan, texts};
use jaco_model::spec::ContainerSpec;
use jaco_runtime_core::{BridgePlan, ContainerPlan, Effect, Endpoint, Input, NetworkPlan};
use serde_json::json;
use std::collections::BTreeMap;
use std::net::Ipv4Addr;

const NAME: &str = "jaco_shop_front";
const BRIDGE: &str = "jaco-3w4alcjydb";

fn map(pairs: &[(&str, &str)]) -> BTreeMap<String, String> {
    pairs.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned())).collect()
}

/// What the core plans for Docker Engine 20.10 behind a packet filter.
fn network(revision: &str) -> NetworkPlan {
    let options = map(&[
        ("com.docker.network.bridge.name", BRIDGE),
        ("com.docker.network.bridge.enable_ip_masquerade", "false"),
        ("com.docker.network.bridge.enable_icc", "true"),
        ("com.docker.network.driver.mtu", "1380"),
    ]);
    let labels = map(&[
        ("jaco.cluster_id", CLUSTER),
        ("jaco.deployment", "shop"),
        ("jaco.network", "front"),
        (BridgePlan::SUBNET_LABEL, "10.80.32.0/26"),
        (BridgePlan::REVISION_LABEL, revision),
    ]);
    let bridge = BridgePlan {
        subnet: "10.80.32.0/26".parse().unwrap(),
        gateway: Ipv4Addr::new(10, 80, 32, 1),
        options,
        revision: revision.to_owned(),
    };
    NetworkPlan { name: NAME.to_owned(), labels, internal: false, bridge: Some(bridge) }
}

/// A probe in the network, at an address of the block.
fn at(instance: &str, last: u8) -> ContainerPlan {
    let mut plan = probe_plan(instance, &["worker"]);
    plan.endpoints = vec![Endpoint {
        network: NAME.to_owned(),
        address: Some(Ipv4Addr::new(10, 80, 32, last)),
        aliases: texts(&["web"]),
        mac_address: None,
        gw_priority: 0,
        interface_name: None,
    }];
    plan
}

#[tokio::test]
async fn a_network_is_made_as_planned_or_not_at_all() {
    let mut bench = Bench::up("runtime-bridge").await;
    for _ in 0..2 {
        bench.finish(|op| Effect::EnsureNetwork { op, plan: network("r1") }).await.unwrap();
    }
    let found = bench.host().engine().get(&format!("/networks/{NAME}")).unwrap();
    assert_eq!(found["Options"], json!(network("r1").bridge.unwrap().options), "{found}");
    assert_eq!(found["Labels"], json!(network("r1").labels));
    let addresses = json!([{"Subnet": "10.80.32.0/26", "Gateway": "10.80.32.1"}]);
    assert_eq!(found["IPAM"]["Config"], addresses);
    for off in ["Internal", "Attachable", "EnableIPv6"] {
        assert_eq!(found[off], false, "{off}");
    }
    let link = bench.host().command("ip").args(["-brief", "addr", "show", BRIDGE]).output();
    let link = String::from_utf8(link.unwrap().stdout).unwrap();
    assert!(link.contains("10.80.32.1/26"), "{link}");

    let asked = bench.run(|op| Effect::Observe { op }).await;
    let Input::Observed { result: Ok(seen), .. } = asked else { panic!("{asked:?}") };
    let [seen] = &seen.networks[..] else { panic!("{seen:?}") };
    assert_eq!((seen.name.as_str(), seen.subnet.as_str()), (NAME, "10.80.32.0/26"));
    assert_eq!(seen.labels, network("r1").labels);

    let fault = bench.finish(|op| Effect::EnsureNetwork { op, plan: network("r2") }).await;
    let fault = fault.unwrap_err();
    assert!(fault.retry && fault.reason.contains("other options"), "{fault:?}");

    let theirs = json!({"Name": "jaco_shop_back", "Driver": "bridge"});
    bench.host().engine().post("/networks/create", &theirs).unwrap();
    let plan = NetworkPlan { name: "jaco_shop_back".to_owned(), ..network("r1") };
    let fault = bench.finish(|op| Effect::EnsureNetwork { op, plan }).await.unwrap_err();
    assert!(fault.retry && fault.reason.contains("network jaco_shop_back"), "{fault:?}");
    bench.host().engine().get("/networks/jaco_shop_back").unwrap();
    bench.lab.down().unwrap();
}

#[tokio::test]
async fn a_container_gets_the_address_and_the_servers_that_were_planned() {
    let mut bench = Bench::up("runtime-address").await;
    bench.finish(|op| Effect::EnsureNetwork { op, plan: network("r1") }).await.unwrap();
    let text = "nameserver 10.80.32.1\noptions ndots:0\n";
    let mut plan = at("shop-web-0.g1", 9);
    plan.resolv_conf = Some(text.to_owned());
    let id = bench.create(plan).await.unwrap();
    let expected = map(&[(NAME, "10.80.32.9")]);
    let facts = bench.inspect(&id).await.unwrap();
    assert_eq!((&facts.fixed_addresses, facts.addresses.len()), (&expected, 0));
    bench.finish(|op| Effect::Start { op, container: id.clone() }).await.unwrap();
    let facts = bench.inspect(&id).await.unwrap();
    assert_eq!((&facts.fixed_addresses, &facts.addresses), (&expected, &expected));

    let raw = bench.host().engine().inspect(&id).unwrap();
    assert_eq!(raw["Mounts"][0]["Destination"], "/etc/resolv.conf");
    assert_eq!(raw["Mounts"][0]["RW"], false);
    assert_eq!(raw["HostConfig"]["CapDrop"], json!(["NET_RAW"]));
    let file = raw["Mounts"][0]["Source"].as_str().unwrap().to_owned();
    assert_eq!(std::fs::read_to_string(&file).unwrap(), text);

    // What a daemon before this one made for another address is made anew, and only that.
    let second = bench.create(at("shop-web-1.g1", 10)).await.unwrap();
    assert_eq!(bench.create(at("shop-web-1.g1", 10)).await.unwrap(), second);
    let moved = bench.create(at("shop-web-1.g1", 9)).await.unwrap();
    assert_ne!(moved, second);
    assert_eq!(bench.inspect(&second).await, None);
    assert_eq!(bench.inspect(&moved).await.unwrap().fixed_addresses, expected);

    // The engine finds out when it starts it.
    let second = moved;
    let fault = bench.finish(|op| Effect::Start { op, container: second }).await.unwrap_err();
    assert!(fault.reason.contains("Address already in use"), "{fault:?}");

    // A guest of its network has the same file under its own name.
    let mut guest = probe_plan("shop-side-0.g1", &["worker"]);
    let mut spec = (*guest.spec).clone();
    let service = spec.services.get_mut("web").unwrap();
    service.container = ContainerSpec {
        command: Some(texts(&["worker"])),
        network_mode: jaco_model::spec::NetworkMode::Service("db".into()),
        ..ContainerSpec::default()
    };
    guest.spec = std::sync::Arc::new(spec);
    guest.network_of = Some(id.clone());
    guest.resolv_conf = Some(text.to_owned());
    let guest = bench.start(guest).await;
    let raw = bench.host().engine().inspect(&guest).unwrap();
    assert_ne!(raw["Mounts"][0]["Source"], file.as_str());

    for container in [guest, id] {
        let (stopped, grace) = (container.clone(), jaco_model::Millis(500));
        bench.finish(|op| Effect::Stop { op, container: stopped, grace }).await.unwrap();
        bench.finish(|op| Effect::Remove { op, container }).await.unwrap();
    }
    assert!(!std::fs::exists(&file).unwrap(), "the file goes with its container");
    bench.lab.down().unwrap();
}

/// A connection that a shell on the host holds.
struct Held(std::process::Child);

impl Held {
    fn open(bench: &Bench, to: &str, port: u16) -> Held {
        let script = format!("exec 3<>/dev/tcp/{to}/{port} && read -r _ <&3");
        Held(bench.host().command("bash").args(["-c", &script]).spawn().unwrap())
    }
}

impl Drop for Held {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

async fn count(bench: &mut Bench, container: &str, port: u16, from: Ipv4Addr) -> u32 {
    let (container, ports, from) = (container.to_owned(), [port].into(), [from].into());
    let asked = bench.run(|op| Effect::CountConnections { op, container, ports, from }).await;
    let Input::Counted { result, .. } = asked else { panic!("{asked:?}") };
    result.unwrap()
}

#[tokio::test]
async fn connections_of_a_container_are_counted() {
    let mut bench = Bench::up("runtime-count").await;
    bench.finish(|op| Effect::EnsureNetwork { op, plan: network("r1") }).await.unwrap();
    let mut plan = probe_plan("shop-web-0.g1", &["serve"]);
    plan.endpoints = at("shop-web-0.g1", 9).endpoints;
    let id = bench.start(plan).await;
    let gateway = Ipv4Addr::new(10, 80, 32, 1);
    assert_eq!(count(&mut bench, &id, 8080, gateway).await, 0);
    // The server may not listen yet: then the shell ends at once and another one tries.
    let mut held = Vec::new();
    for _ in 0..100 {
        held.push(Held::open(&bench, "10.80.32.9", 8080));
        tokio::time::sleep(std::time::Duration::from_millis(100)).await;
        if count(&mut bench, &id, 8080, gateway).await > 0 {
            break;
        }
    }
    assert_eq!(count(&mut bench, &id, 8080, gateway).await, 1);
    assert_eq!(count(&mut bench, &id, 8081, gateway).await, 0);
    assert_eq!(count(&mut bench, &id, 8080, Ipv4Addr::new(10, 80, 32, 2)).await, 0);
    drop(held);
    for _ in 0..100 {
        if count(&mut bench, &id, 8080, gateway).await == 0 {
            break;
        }
        tokio::time::sleep(std::time::Duration::from_millis(100)).await;
    }
    assert_eq!(count(&mut bench, &id, 8080, gateway).await, 0);
    bench.lab.down().unwrap();
}
