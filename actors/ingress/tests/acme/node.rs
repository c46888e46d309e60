//! The node of a world: what its state begins with, and how it answers challenges.

use jaco_model::command::{ApplyDeployment, Command, InitCluster};
use jaco_model::entity::{Documents, Node, NodeFacts, NodeStatus, Origin};
use jaco_model::spec::{
    Challenge, DeploymentSpec, DnsProvider, Redirect, RouteOptions, RouteSpec, SecretText, TlsMode,
};
use jaco_model::{ClusterId, DeploymentName, NodeId, NodeName, WallMs};
use jaco_state::State;
use std::collections::{BTreeMap, BTreeSet};
use std::io::{BufRead, BufReader, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::{Arc, Mutex};

/// Providers of DNS-01 by name, with the contents of their secrets.
pub(crate) type Providers = BTreeMap<String, (DnsProvider, Option<SecretText>)>;

/// The cluster of one node.
pub(crate) fn init() -> Command {
    Command::InitCluster(Box::new(InitCluster {
        cluster_id: ClusterId::from("c0ffee"),
        name: "test".to_owned(),
        hash_key: "5a".repeat(32),
        history_limit: 10,
        node: Node {
            id: NodeId::from("n1"),
            name: NodeName::from("n1"),
            raft_id: 1,
            status: NodeStatus::Ready,
            schedulable: true,
            voter: true,
            labels: BTreeMap::new(),
            facts: NodeFacts::default(),
            joined_at: WallMs(1),
            serials: Vec::new(),
            liveness_epoch: 0,
            leaving: None,
            mesh_address: None,
        },
        trust: None,
        ipam: None,
    }))
}

/// A deployment whose routes want certificates.
pub(crate) fn deployment(routes: &[(&str, Challenge)], own: &Providers) -> Command {
    let redirect =
        Redirect { to: "/".to_owned(), status: 308, keep_path: false, keep_query: false };
    let route = |(domain, challenge): &(&str, Challenge)| RouteSpec {
        domain: (*domain).to_owned(),
        path: String::new(),
        target: None,
        tls: TlsMode::Auto,
        challenge: challenge.clone(),
        shared_with: BTreeSet::new(),
        options: RouteOptions { redirect: Some(redirect.clone()), ..RouteOptions::default() },
    };
    let secret = |(provider, secret): &(DnsProvider, Option<SecretText>)| {
        Some((provider.method.secret()?.to_owned(), secret.clone()?))
    };
    Command::Apply(Box::new(ApplyDeployment {
        spec: DeploymentSpec {
            name: DeploymentName::from("shop"),
            services: BTreeMap::new(),
            networks: BTreeMap::new(),
            volumes: BTreeMap::new(),
            history: None,
            routes: routes.iter().map(route).collect(),
            acme_email: None,
            acme_dns: own.iter().map(|(name, one)| (name.clone(), one.0.clone())).collect(),
            secrets: own.values().filter_map(secret).collect(),
        },
        documents: Documents::default(),
        images: BTreeMap::new(),
        expected_revision: None,
        origin: Origin::default(),
        privileged: BTreeMap::new(),
    }))
}

/// Answers challenges as a node does: by host and token of the state.
pub(crate) fn serve(at: SocketAddr, state: Arc<Mutex<State>>, mute: Arc<Mutex<bool>>) {
    let listener = TcpListener::bind(at).unwrap();
    std::thread::spawn(move || {
        for stream in listener.incoming().flatten() {
            let known = (!*mute.lock().unwrap()).then(|| state.lock().unwrap().clone());
            drop(answer(stream, known.as_ref()));
        }
    });
}

fn answer(mut stream: TcpStream, state: Option<&State>) -> std::io::Result<()> {
    let mut lines = BufReader::new(stream.try_clone()?).lines();
    let first = lines.next().transpose()?.unwrap_or_default();
    let path = first.split(' ').nth(1).unwrap_or_default();
    let token = path.strip_prefix("/.well-known/acme-challenge/").unwrap_or_default();
    let mut host = String::new();
    for line in lines {
        let line = line?.to_lowercase();
        if line.is_empty() {
            break;
        }
        if let Some(value) = line.strip_prefix("host:") {
            host = value.trim().split(':').next().unwrap_or_default().to_owned();
        }
    }
    let known = state.and_then(|state| state.challenge_tokens.get(&(host, token.to_owned())));
    let (status, body) = match known {
        Some(token) => ("200 OK", token.key_authorisation.as_str()),
        None => ("404 Not Found", ""),
    };
    let length = body.len();
    write!(
        stream,
        "HTTP/1.1 {status}\r\nContent-Length: {length}\r\nConnection: close\r\n\r\n{body}"
    )
}
