//! The front door: routes and published ports answer on every node, wherever the replicas are.

use std::path::Path;
use std::process::Stdio;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use jaco_it::{Cluster, Node, Run, Stack, pause, probe, with_cluster, with_node};
use jaco_lab::{Store, until};
use serde_json::{Value, json};

/// Longest time until a change of the state is served everywhere, on a busy machine.
const LIMIT: Duration = Duration::from_secs(20);

/// Longest time of one request.
const PATIENCE: &str = "10";

/// A GET with curl from inside a host: the status, then the body.
fn curl(node: &Node, args: &[&str]) -> Result<(u16, String)> {
    let mut command = node.host().command("curl");
    let fixed = ["--silent", "--max-time", PATIENCE, "--write-out", "\n%{http_code}"];
    let run = Run::of(command.args(fixed).args(args))?;
    let (body, status) = run.stdout.rsplit_once('\n').context("curl said nothing")?;
    Ok((status.parse().unwrap_or_default(), body.to_owned()))
}

/// Asks for a path of a host through a node, until the answer has this status.
fn asked(node: &Node, host: &str, path: &str, status: u16) -> Result<String> {
    let (name, url) = (format!("Host: {host}"), format!("http://127.0.0.1{path}"));
    let what = format!("{status} of {host}{path} through {}", node.name());
    until(&what, LIMIT, || {
        let (got, body) = curl(node, &["--header", &name, &url])?;
        Ok((got == status).then_some(body))
    })
}

fn routed(more: Value, routes: Value) -> Value {
    let mut service = probe(more);
    service["x-jaco"] = json!({ "routes": routes });
    service
}

#[test]
fn every_node_answers_for_a_route() -> Result<()> {
    with_cluster("ingress", 3, 3, |c| {
        let routes = json!([
            { "domain": "shop.test", "port": 8080, "tls": "off" },
            { "domain": "shop.test", "path": "/inner", "strip_path": true, "port": 8080,
              "tls": "off" },
            { "domain": "old.test", "redirect": "https://shop.test", "tls": "off" },
            { "domain": "down.test", "port": 9, "tls": "off", "error_pages": { "502": "broken" } },
        ]);
        let web = routed(json!({ "deploy": { "replicas": 2 } }), routes);
        let configs = json!({ "broken": { "file": "./broken.html" } });
        let stack = Stack::new("shop", json!({ "services": { "web": web }, "configs": configs }))?;
        std::fs::write(stack.dir().join("broken.html"), "<p>out of order</p>")?;
        c.node(0).ok(&["apply", &stack.path()])?;
        for node in c.nodes() {
            asked(node, "shop.test", "/", 200)?;
            let seen = asked(node, "Shop.Test.:80", "/inner/headers", 200)?;
            ensure!(seen.starts_with("GET /headers HTTP/1.1"), "{seen}");
            let seen = seen.to_ascii_lowercase();
            for header in ["x-forwarded-for: 127.0.0.1", "x-forwarded-proto: http"] {
                ensure!(seen.contains(header), "{header} is not in\n{seen}");
            }
            asked(node, "old.test", "/a?b", 308)?;
            asked(node, "other.test", "/", 404)?;
            let page = asked(node, "down.test", "/", 502)?;
            ensure!(page == "<p>out of order</p>", "{page}");
        }
        let rows = c.node(1).ok(&["get", "routes"])?;
        ensure!(rows.as_array().is_some_and(|rows| rows.len() == 4), "{rows:#}");

        let thief =
            routed(json!({}), json!([{ "domain": "shop.test", "port": 8080, "path": "/x" }]));
        let thief = Stack::new("thief", json!({ "services": { "web": thief } }))?;
        let refused = c.node(2).jaco(&["apply", &thief.path()])?;
        ensure!(refused.code == Some(1) && refused.stderr.contains("host_claimed"), "{refused:?}");

        a_dead_replica_is_left_out(c)?;
        c.node(0).ok(&["delete", "shop", "--yes"])?;
        c.nodes().iter().try_for_each(|node| asked(node, "shop.test", "/", 404).map(|_| ()))?;
        c.node(2).ok(&["apply", &thief.path()])?;
        Ok(())
    })
}

/// A container that is killed takes no request with it that is sent afterwards.
fn a_dead_replica_is_left_out(c: &Cluster) -> Result<()> {
    let (at, victim) = c.containers("shop")?.into_iter().next().context("no replica")?;
    Run::of(&mut c.node(at).host().docker(["kill", &victim.id]))?.exits(0)?;
    for node in c.nodes() {
        for _ in 0..20 {
            let (status, body) = curl(node, &["--header", "Host: shop.test", "http://127.0.0.1/"])?;
            ensure!(status == 200, "{status} through {} after the loss: {body}", node.name());
        }
    }
    Ok(())
}

#[test]
fn a_certificate_of_ones_own_is_served_on_every_node() -> Result<()> {
    with_cluster("own-cert", 2, 2, |c| {
        let route = json!([{ "domain": "shop.test", "port": 8080, "tls": "shop-cert" }]);
        let compose = json!({
            "services": { "web": routed(json!({}), route) },
            "secrets": { "shop-cert": { "file": "./shop.pem" } },
        });
        let stack = Stack::new("shop", compose)?;
        self_signed(stack.dir(), "shop.test")?;
        c.node(0).ok(&["apply", &stack.path()])?;
        let trust = stack.dir().join("shop.crt").display().to_string();
        for node in c.nodes() {
            let at = ["--resolve", "shop.test:443:127.0.0.1", "--cacert", &trust];
            let body = until("an answer over TLS", LIMIT, || {
                let (status, body) =
                    curl(node, &[&at[..], &["https://shop.test/headers"]].concat())?;
                Ok((status == 200).then_some(body))
            })?;
            ensure!(body.to_ascii_lowercase().contains("x-forwarded-proto: https"), "{body}");
            asked(node, "shop.test", "/", 308)?;
            let stranger = ["--resolve", "other.test:443:127.0.0.1", "--insecure"];
            let (status, _) = curl(node, &[&stranger[..], &["https://other.test/"]].concat())?;
            ensure!(status == 0, "a name that is not served got {status}");
        }
        let shown = c.node(1).jaco(&["get", "deployment", "shop", "-o", "json"])?;
        ensure!(!shown.stdout.contains("PRIVATE KEY"), "the key is shown");
        Ok(())
    })
}

/// Writes `shop.crt` and, with the key behind it, `shop.pem`.
fn self_signed(dir: &Path, name: &str) -> Result<()> {
    let mut command = std::process::Command::new("openssl");
    let subject = format!("/CN={name}");
    let names = format!("subjectAltName=DNS:{name}");
    command.current_dir(dir).args(["req", "-x509", "-newkey", "ec"]);
    command.args(["-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-days", "30"]);
    command.args(["-subj", &subject, "-addext", &names, "-keyout", "shop.key", "-out", "shop.crt"]);
    Run::of(&mut command)?.exits(0)?;
    let read = |name: &str| std::fs::read_to_string(dir.join(name)).context("openssl's output");
    std::fs::write(dir.join("shop.pem"), read("shop.crt")? + &read("shop.key")?)?;
    Ok(())
}

#[test]
fn a_published_port_answers_on_every_node() -> Result<()> {
    with_cluster("ports", 3, 3, |c| {
        let service = json!({
            "environment": { "PROBE_TCP_PORT": "9001", "PROBE_UDP_PORT": "9002" },
            "ports": ["9101:9001", "9102:9002/udp", "127.0.0.1:9103:9001"],
            "deploy": { "replicas": 2 },
        });
        let stack = Stack::new("shop", json!({ "services": { "web": probe(service) } }))?;
        c.node(0).ok(&["apply", &stack.path()])?;
        for node in c.nodes() {
            let outside = node.host().address();
            for (protocol, address) in [
                ("tcp", "127.0.0.1:9101".to_owned()),
                ("tcp", format!("{outside}:9101")),
                ("udp", "127.0.0.1:9102".to_owned()),
                ("udp", format!("{outside}:9102")),
                ("tcp", "127.0.0.1:9103".to_owned()),
            ] {
                until(&format!("{protocol} {address}"), LIMIT, || {
                    Ok((node.dial(protocol, &address)?.code == Some(0)).then_some(()))
                })?;
            }
            let closed = node.dial("tcp", &format!("{outside}:9103"))?;
            ensure!(closed.code != Some(0), "a port of 127.0.0.1 answers at {outside}");
        }
        let other = json!({ "ports": ["9101:8080"] });
        let other = Stack::new("other", json!({ "services": { "web": probe(other) } }))?;
        let refused = c.node(1).jaco(&["apply", &other.path()])?;
        ensure!(refused.code == Some(1) && refused.stderr.contains("port_conflict"), "{refused:?}");
        c.node(0).ok(&["delete", "shop", "--yes"])?;
        c.node(1).ok(&["apply", &other.path()])?;
        Ok(())
    })
}

#[test]
fn no_request_fails_while_everything_changes() -> Result<()> {
    with_cluster("changes", 3, 3, |c| {
        let web = |color: &str, replicas: u32, hsts: u32| {
            let route = json!({ "domain": "shop.test", "port": 8080, "tls": "off",
                "headers": { "response": { "set": { "x-round": hsts.to_string() } } } });
            let more = json!({ "environment": { "COLOR": color },
                "deploy": { "replicas": replicas } });
            json!({ "services": { "web": routed(more, json!([route])) } })
        };
        let stack = Stack::new("shop", web("blue", 2, 0))?;
        c.node(0).ok(&["apply", &stack.path()])?;
        c.nodes().iter().try_for_each(|node| asked(node, "shop.test", "/", 200).map(|_| ()))?;
        let leader = c.leader(&[0, 1, 2])?;
        let entry = (leader + 1) % 3;
        let loads = [("get", "/"), ("post", "/upload"), ("get", "/sse?n=3&ms=20")]
            .map(|(method, path)| load(c, entry, method, path))
            .into_iter()
            .collect::<Result<Vec<_>>>()?;
        for (round, (color, replicas)) in
            [("green", 2), ("green", 4), ("red", 3), ("red", 2)].into_iter().enumerate()
        {
            stack.write(web(color, replicas, u32::try_from(round)? + 1))?;
            c.node(entry).ok(&["apply", &stack.path()])?;
        }
        for load in loads {
            let output = load.wait_with_output()?;
            let said = String::from_utf8_lossy(&output.stdout).into_owned();
            ensure!(output.status.success(), "{said}");
            println!("{}", said.trim());
        }
        Ok(())
    })
}

/// Load through one node for half a minute.
fn load(c: &Cluster, node: usize, method: &str, path: &str) -> Result<std::process::Child> {
    let mut command = c.node(node).host().command(c.probe());
    command.args(["client", "load", method, "10", "100", "30"]);
    command.args([&format!("http://127.0.0.1{path}"), "shop.test"]);
    command.env("PROBE_TIMEOUT_MS", "20000").stdout(Stdio::piped()).stderr(Stdio::null());
    command.spawn().context("cannot start the load")
}

/// Before each status, behind the body.
const STATUS: &str = "status ";

#[test]
fn a_daemon_that_stops_lets_its_clients_go_first() -> Result<()> {
    with_node("lame-duck", |node| {
        let route = json!([{ "domain": "shop.test", "port": 8080, "tls": "off" }]);
        let stack = Stack::new("shop", json!({ "services": { "web": routed(json!({}), route) } }))?;
        node.ok(&["apply", &stack.path()])?;
        asked(node, "shop.test", "/", 200)?;
        // Each asks one time after the other until it is refused.
        let ask = |host: &str, path: &str| {
            let mut command = node.host().command("curl");
            command
                .args(["--silent", "--max-time", PATIENCE, "--fail-early", "--rate", "20/s"])
                .args(["--write-out", &format!("\n{STATUS}%{{http_code}}\n"), "--header"])
                .args([format!("Host: {host}"), format!("http://127.0.0.1{path}?[1-10000]")])
                .stdin(Stdio::null())
                .stdout(Stdio::piped())
                .stderr(Stdio::null());
            command.spawn().context("cannot start curl")
        };
        let health = ask(&node.host().name().to_lowercase(), "/.well-known/jaco/health")?;
        let requests = ask("shop.test", "/")?;
        pause(Duration::from_secs(2));
        node.daemon().ask_to_end()?;
        let code = until("the daemon's end", LIMIT, || node.daemon().ended())?;
        ensure!(code == 0, "it ended with {code}");
        let health = String::from_utf8(health.wait_with_output()?.stdout)?;
        ensure!(health.contains(&format!("ready\n{STATUS}200\n")), "{health}");
        ensure!(health.contains(&format!("draining\n{STATUS}503\n")), "{health}");
        let requests = String::from_utf8(requests.wait_with_output()?.stdout)?;
        let codes: Vec<&str> =
            requests.lines().filter_map(|line| line.strip_prefix(STATUS)).collect();
        let (last, before) = codes.split_last().context("no request")?;
        ensure!(*last == "000" && before.len() > 5, "{codes:?}");
        ensure!(before.iter().all(|code| *code == "200"), "{codes:?}");
        node.daemon().start_again()?;
        asked(node, "shop.test", "/", 200)?;
        Ok(())
    })
}

#[test]
fn what_comes_while_a_daemon_restarts_waits() -> Result<()> {
    with_node("waiting", |node| {
        let store = Store::open(&node.host().run_dir().join("notify.sock"))?;
        let route = json!([{ "domain": "shop.test", "port": 8080, "tls": "off" }]);
        let stack = Stack::new("shop", json!({ "services": { "web": routed(json!({}), route) } }))?;
        node.ok(&["apply", &stack.path()])?;
        asked(node, "shop.test", "/", 200)?;
        node.daemon().stop()?;
        node.daemon().set("NOTIFY_SOCKET", &store.path().display().to_string());
        node.daemon().start_again()?;
        let socket = store.take("http@0.0.0.0_80")?;
        asked(node, "shop.test", "/", 200)?;
        node.daemon().stop()?;

        let ask = ["--silent", "--max-time", "60", "--header", "Host: shop.test"];
        let mut curl = node.host().command("curl");
        curl.args(ask).args(["--write-out", "\n%{http_code}", "http://127.0.0.1/"]);
        let waiting = curl.stdin(Stdio::null()).stdout(Stdio::piped()).spawn()?;
        pause(Duration::from_millis(500));
        node.daemon().pass("http@0.0.0.0_80", socket);
        node.daemon().start_again()?;
        let answer = String::from_utf8(waiting.wait_with_output()?.stdout)?;
        ensure!(answer.ends_with("\n200"), "{answer}");
        Ok(())
    })
}
