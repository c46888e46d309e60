//! Requests over several replicas: policies, rest after refused connections, the own node first.

use crate::support::{PATIENCE, Proxy, echo, read_head, scripted, table};
use jaco_ingress_core::{Service, Table};
use jaco_kit::Clock;
use jaco_kit_core::Mono;
use jaco_model::spec::{LbPolicy, RouteSpec};
use std::collections::BTreeMap;
use std::net::Ipv4Addr;
use std::sync::Arc;
use std::time::Duration;
use tokio::io::AsyncWriteExt;
use tokio::net::TcpStream;

const ALL: [Ipv4Addr; 3] =
    [Ipv4Addr::LOCALHOST, Ipv4Addr::new(127, 0, 0, 2), Ipv4Addr::new(127, 0, 0, 3)];

/// Echoes at the first so many addresses, on one port.
async fn echoes(count: usize) -> u16 {
    let port = echo("127.0.0.1:0").await.port();
    for address in &ALL[1..count] {
        echo(&format!("{address}:{port}")).await;
    }
    port
}

fn at(answer: &str) -> String {
    let line = answer.lines().find_map(|line| line.strip_prefix("at "));
    line.unwrap_or_else(|| panic!("{answer}")).to_owned()
}

/// How often each replica answers when asked with these headers.
async fn shares(proxy: &Proxy, headers: impl Iterator<Item = String>) -> BTreeMap<String, u32> {
    let mut shares = BTreeMap::new();
    for more in headers {
        *shares.entry(at(&proxy.ask("GET", "/", &more).await)).or_default() += 1;
    }
    shares
}

fn trusting() -> Proxy {
    Proxy::start(|config| config.trusted_proxies = vec!["127.0.0.0/8".parse().unwrap()])
}

fn policy(policy: LbPolicy) -> impl FnOnce(&mut RouteSpec) {
    move |spec| spec.options.lb.policy = policy
}

#[tokio::test]
async fn policies_without_a_memory_use_all_replicas() {
    let proxy = trusting();
    let port = echoes(3).await;
    for (of, least) in
        [(LbPolicy::RoundRobin, 30), (LbPolicy::Random, 10), (LbPolicy::LeastRequests, 10)]
    {
        proxy.serve(table(&ALL, port, policy(of.clone())));
        let shares = shares(&proxy, (0..90).map(|_| String::new())).await;
        assert!(shares.len() == 3 && shares.values().all(|n| *n >= least), "{of:?}: {shares:?}");
    }
}

#[tokio::test]
async fn two_routes_in_turn_do_not_take_each_others_turns() {
    let proxy = trusting();
    let port = echoes(2).await;
    let mut both = table(&ALL[..2], port, policy(LbPolicy::RoundRobin));
    let other = table(&ALL[..2], port, |spec| {
        spec.domain = "b.test".to_owned();
        spec.options.lb.policy = LbPolicy::RoundRobin;
    });
    both.sites.extend(other.sites);
    proxy.serve(both);
    let mut shares = BTreeMap::<String, u32>::new();
    for _ in 0..20 {
        *shares.entry(at(&proxy.ask("GET", "/", "").await)).or_default() += 1;
        proxy.raw("GET / HTTP/1.1\r\nHost: b.test\r\nConnection: close\r\n\r\n").await;
    }
    assert_eq!(shares.into_values().collect::<Vec<_>>(), [10, 10]);
}

#[tokio::test]
async fn policies_with_a_hash_keep_a_client_and_spread_the_many() {
    let proxy = trusting();
    let port = echoes(3).await;
    for (of, header) in [
        (LbPolicy::IpHash, "X-Forwarded-For: 1.1.1."),
        (LbPolicy::HeaderHash("x-user".to_owned()), "X-User: user-"),
    ] {
        proxy.serve(table(&ALL, port, policy(of.clone())));
        let mut places = BTreeMap::new();
        for client in 0..60 {
            let more = format!("{header}{client}\r\n");
            let (first, again) =
                (at(&proxy.ask("GET", "/", &more).await), at(&proxy.ask("GET", "/", &more).await));
            assert_eq!(first, again, "{of:?}");
            places.insert(client, first);
        }
        for address in ALL {
            let count = places.values().filter(|place| **place == address.to_string()).count();
            assert!(count >= 8, "{of:?}: {places:?}");
        }
        proxy.serve(table(&ALL[..2], port, policy(of.clone())));
        for (client, before) in places.iter().filter(|(_, it)| **it != ALL[2].to_string()) {
            let after = at(&proxy.ask("GET", "/", &format!("{header}{client}\r\n")).await);
            assert_eq!(after, *before, "{of:?}: only those of the third move");
        }
    }
}

#[tokio::test]
async fn the_own_node_is_preferred_while_it_has_a_replica() {
    let proxy = trusting();
    let port = echoes(3).await;
    let with = |locals: &[bool]| {
        let mut table = table(&ALL, port, |spec| {
            (spec.options.lb.prefer_local, spec.options.lb.policy) = (true, LbPolicy::RoundRobin);
        });
        set_local(&mut table, locals);
        table
    };
    proxy.serve(with(&[false, true, false]));
    let some = shares(&proxy, (0..10).map(|_| String::new())).await;
    assert_eq!(some, BTreeMap::from([(ALL[1].to_string(), 10)]));
    proxy.serve(with(&[false, false, false]));
    assert_eq!(shares(&proxy, (0..9).map(|_| String::new())).await.len(), 3);
}

fn set_local(table: &mut Table, locals: &[bool]) {
    for service in table.services.values_mut() {
        let mut changed = Service::clone(service);
        for (endpoint, is_local) in changed.endpoints.iter_mut().zip(locals) {
            endpoint.is_local = *is_local;
        }
        *service = Arc::new(changed);
    }
}

#[tokio::test]
async fn a_replica_that_refuses_thrice_is_left_alone() {
    let proxy = trusting();
    let port = echoes(2).await;
    // Nobody listens at the third.
    proxy.serve(table(&ALL, port, policy(LbPolicy::RoundRobin)));
    let served = shares(&proxy, (0..60).map(|_| String::new())).await;
    assert_eq!(served.values().sum::<u32>(), 60, "none fails");
    let retries = proxy.handle.counts().retries;
    assert!((3..=8).contains(&retries), "{retries}: after three it is asked no more");
}

#[tokio::test]
async fn the_last_one_is_asked_however_often_it_refused() {
    let proxy = trusting();
    let port = {
        let gone = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        gone.local_addr().unwrap().port()
    };
    proxy.serve(table(&ALL[..1], port, |_| {}));
    for _ in 0..3 {
        let answer = proxy.ask("GET", "/", "").await;
        assert!(answer.starts_with("HTTP/1.1 502"), "{answer}");
    }
    echo(&format!("127.0.0.1:{port}")).await;
    let answer = proxy.ask("GET", "/", "").await;
    assert!(answer.starts_with("HTTP/1.1 200"), "{answer}");
}

/// The first three connections that fail are in a row; then it is left alone for 10 s.
#[tokio::test]
async fn a_replica_that_rested_is_asked_again() {
    let proxy = trusting();
    let port = echoes(2).await;
    proxy.serve(table(&ALL, port, policy(LbPolicy::RoundRobin)));
    let began = Clock::new();
    shares(&proxy, (0..30).map(|_| String::new())).await;
    echo(&format!("{}:{port}", ALL[2])).await;
    let third = ALL[2].to_string();
    let soon = shares(&proxy, (0..30).map(|_| String::new())).await;
    // On a machine that is that slow nothing is said about it.
    if began.mono() < Mono(8_000) {
        assert!(!soon.contains_key(&third), "{soon:?}");
    }
    let back = async {
        while !shares(&proxy, (0..6).map(|_| String::new())).await.contains_key(&third) {
            tokio::time::sleep(Duration::from_millis(250)).await;
        }
    };
    tokio::time::timeout(Duration::from_secs(10) + PATIENCE, back).await.expect("it is asked");
    assert!(began.mono() >= Mono(9_000), "{:?}", began.mono());
    let after = shares(&proxy, (0..30).map(|_| String::new())).await;
    assert_eq!(after.get(&third), Some(&10), "its failures are forgotten: {after:?}");
}

/// Requests that take long are counted where they run.
#[tokio::test]
async fn the_less_busy_replica_is_asked() {
    let proxy = trusting();
    let slow = scripted("127.0.0.1:0", |mut stream| async move {
        read_head(&mut stream).await;
        std::future::pending::<()>().await;
    })
    .await;
    echo(&format!("{}:{}", ALL[1], slow.port())).await;
    proxy.serve(table(&ALL[..2], slow.port(), policy(LbPolicy::LeastRequests)));
    let text = b"GET / HTTP/1.1\r\nHost: a.test\r\nConnection: close\r\n\r\n";
    let mut answered = 0;
    loop {
        let mut stream = TcpStream::connect(proxy.http).await.unwrap();
        stream.write_all(text).await.unwrap();
        let answer = tokio::time::timeout(Duration::from_secs(1), read_head(&mut stream)).await;
        answered += usize::from(answer.is_ok());
        if answer.is_err() {
            // It goes on there while the others ask.
            let shares = shares(&proxy, (0..40).map(|_| String::new())).await;
            assert_eq!(shares, BTreeMap::from([(ALL[1].to_string(), 40)]), "{answered}");
            return;
        }
        assert!(answered < 100, "the slow one is never chosen");
    }
}

/// A replica that comes to others is spared at first.
#[tokio::test]
async fn a_new_replica_is_not_run_over() {
    let proxy = trusting();
    let port = echoes(2).await;
    proxy.serve(table(&ALL[..1], port, policy(LbPolicy::Random)));
    assert!(proxy.ask("GET", "/", "").await.starts_with("HTTP/1.1 200"));
    tokio::time::sleep(Duration::from_millis(5_500)).await;
    let began = Clock::new();
    proxy.serve(table(&ALL[..2], port, policy(LbPolicy::Random)));
    let early = shares(&proxy, (0..40).map(|_| String::new())).await;
    if began.mono() < Mono(1_000) {
        let new = early.get(&ALL[1].to_string()).copied().unwrap_or_default();
        assert!(new < 16, "half of them would be 20: {early:?}");
    }
    tokio::time::sleep(Duration::from_millis(5_500)).await;
    let late = shares(&proxy, (0..200).map(|_| String::new())).await;
    assert!(late.get(&ALL[1].to_string()).is_some_and(|n| *n > 60), "{late:?}");
}
