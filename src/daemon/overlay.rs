//! Puts the containers' network together: mesh, packet filter, names, the front door, and what the
//! engine's own filter must let through.

use crate::daemon::boot::{Mailbox, fill, keep, post};
use crate::daemon::config::{AccountKey, Config};
use crate::daemon::hub::{AcmeShell, DnsDriver, FirewallDriver, Hub, IngressDriver, NetmeshDriver};
use crate::daemon::logging;
use crate::daemon::passed::Passed;
use ipnet::IpNet;
use jaco_dns_core::DnsCore;
use jaco_firewall_core::FirewallCore;
use jaco_ingress_core::acme::AcmeCore;
use jaco_ingress_core::{IngressCore, ListenKind};
use jaco_kit::{Seeds, Supervisor};
use jaco_model::entity::MeshKind;
use jaco_model::name::MESH_INTERFACE;
use jaco_model::spec::{AccessLog, DnsProvider, SecretText};
use jaco_model::{ClusterId, NodeId};
use jaco_netmesh_core::NetmeshCore;
use std::cell::Cell;
use std::collections::BTreeSet;
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

/// Between two looks at the engine's own packet filter.
const EXEMPT_EVERY: Duration = Duration::from_secs(10);

/// What keys of cookies are derived for, so that every node reads those of the others.
const COOKIE_KEY: &str = "jaco 2026 cookies that keep clients at their replicas";

/// Before a socket that could not be opened is tried again.
const LISTEN_AGAIN: Duration = Duration::from_secs(5);

/// What the parts are started with.
pub(crate) struct Site<'a> {
    pub(crate) config: &'a Config,
    pub(crate) supervisor: &'a Supervisor,
    pub(crate) hub: &'a Hub,
    pub(crate) node: NodeId,
    pub(crate) cluster: ClusterId,
    /// Whether the node may ever have others; one that never has needs no mesh.
    pub(crate) listens: bool,
}

impl Site<'_> {
    /// Starts them. What the host refuses is logged, and no container starts without it.
    ///
    /// # Errors
    /// When the kernel gives no randomness.
    pub(crate) fn start(&self, passed: Passed) -> io::Result<()> {
        self.firewall(Seeds.seed()?);
        self.dns();
        self.ingress(passed);
        self.certificates(Seeds.seed()?);
        if self.listens {
            self.hub.expect_mesh();
            self.netmesh(Seeds.seed()?);
        }
        actix::spawn(keep_exempt());
        Ok(())
    }

    fn firewall(&self, seed: u64) {
        let mailbox: Mailbox<jaco_firewall_core::Input> = Mailbox::default();
        let answers = mailbox.clone();
        match jaco_firewall::Driver::spawn(move |input| post(&answers, input)) {
            Ok(driver) => self.hub.equip(|overlay| overlay.firewall = Some(driver)),
            Err(error) => {
                tracing::error!(error = logging::chain(&error), "no packet filter");
            }
        }
        let isolation = &self.config.isolation;
        let mut options = jaco_firewall_core::Options {
            host_ports: isolation.host_ports.iter().copied().collect(),
            block_metadata: isolation.block_metadata,
            ..jaco_firewall_core::Options::default()
        };
        options.control_ports.extend([self.config.wg_port]);
        let (driver, node) = (self.hub.clone(), self.node.clone());
        let make = move || {
            let settings = jaco_firewall_core::Settings::default();
            let core = FirewallCore::new(node.clone(), options.clone(), settings, seed);
            (core, FirewallDriver(driver.clone()))
        };
        keep(self.hub, self.supervisor, "firewall", make, move |links, at| {
            fill(&mailbox, at.clone());
            links.firewall = Some(at);
        });
    }

    fn dns(&self) {
        let mailbox: Mailbox<jaco_dns_core::Input> = Mailbox::default();
        let answers = mailbox.clone();
        let mut config = jaco_dns::Config::new(self.supervisor.clock());
        config.forwarders = forwarders(&self.config.dns.forwarders);
        match jaco_dns::Driver::spawn(config, move |input| post(&answers, input)) {
            Ok(driver) => self.hub.equip(|overlay| overlay.dns = Some(driver)),
            Err(error) => tracing::error!(error = logging::chain(&error), "no DNS responder"),
        }
        let (driver, node) = (self.hub.clone(), self.node.clone());
        let make = move || {
            let core = DnsCore::new(node.clone(), jaco_dns_core::Settings::default());
            (core, DnsDriver(driver.clone()))
        };
        keep(self.hub, self.supervisor, "dns", make, move |links, at| {
            fill(&mailbox, at.clone());
            links.dns = Some(at);
        });
    }

    fn ingress(&self, mut passed: Passed) {
        let mailbox: Mailbox<jaco_ingress_core::Input> = Mailbox::default();
        let (answers, of_ports) = (mailbox.clone(), mailbox.clone());
        let keys = &self.config.ingress;
        let mut config = jaco_ingress::Config::new(self.supervisor.clock());
        let host = rustix::system::uname().nodename().to_string_lossy().to_ascii_lowercase();
        config.names = vec![host];
        config.trusted_proxies = networks(&keys.trusted_proxies);
        config.proxy_protocol = networks(&keys.proxy_protocol);
        config.connections.node = connections(keys.max_connections);
        config.header_timeout = Duration::from_millis(keys.header_timeout);
        config.access_log = match keys.access_log.as_str() {
            "off" => AccessLog::Off,
            "all" => AccessLog::All,
            _ => AccessLog::Errors,
        };
        let file = &keys.access_log_file;
        config.access_log_file = Some(file.clone()).filter(|file| !file.as_os_str().is_empty());
        config.cookie_key = blake3::derive_key(COOKIE_KEY, self.cluster.as_str().as_bytes());
        let listen = |addresses: &[SocketAddr]| {
            if keys.enabled { addresses.to_vec() } else { Vec::new() }
        };
        let settings = jaco_ingress_core::Settings {
            me: self.node.clone(),
            http: listen(&keys.http_addr),
            https: listen(&keys.https_addr),
            retry: LISTEN_AGAIN,
        };
        passed.keep_doors(|key| match key.kind {
            ListenKind::Http => settings.http.contains(&key.address),
            ListenKind::Https => settings.https.contains(&key.address),
            ListenKind::Port(_) => false,
        });
        match jaco_ingress::Driver::spawn(config, move |input| post(&answers, input)) {
            Ok(driver) => {
                passed.doors.into_iter().for_each(|(key, socket)| driver.adopt(key, socket));
                self.hub.equip(|overlay| overlay.ingress = Some(driver));
            }
            Err(error) => tracing::error!(error = logging::chain(&error), "no ingress"),
        }
        match jaco_ingress::L4::start() {
            Ok(l4) => self.hub.equip(|overlay| overlay.ports = Some((l4, of_ports))),
            Err(error) => tracing::error!(error = logging::chain(&error), "no published ports"),
        }
        self.hub.show_meters();
        let driver = self.hub.clone();
        let make = move || (IngressCore::new(settings.clone()), IngressDriver(driver.clone()));
        keep(self.hub, self.supervisor, "ingress", make, move |links, at| {
            fill(&mailbox, at.clone());
            links.ingress = Some(at);
        });
    }

    fn certificates(&self, seed: u64) {
        use jaco_ingress_core::acme::{Input, Settings};
        let mailbox: Mailbox<Input> = Mailbox::default();
        let answers = mailbox.clone();
        let config = self.config;
        let roots = Some(config.acme_ca_root.clone()).filter(|path| !path.as_os_str().is_empty());
        let deliver = move |op, result| {
            if let Err(failure) = &result {
                tracing::warn!(target: "ingress", ?failure, "the certificate authority did not do it");
            }
            post(&answers, Input::Answered { op, result });
        };
        let forwarders = forwarders(&config.dns.forwarders);
        let driver = jaco_ingress::acme::Config {
            roots,
            resolvers: jaco_ingress::acme::Resolvers::chosen(forwarders),
            providers: config.acme_dns.iter().map(with_secret).collect(),
            binding: binding(&config.acme_eab),
            clock: self.supervisor.clock(),
        };
        match jaco_ingress::acme::AcmeDriver::spawn(driver, deliver) {
            Ok(driver) => self.hub.equip(|overlay| overlay.acme = Some(driver)),
            Err(error) => tracing::error!(error = logging::chain(&error), "no ACME client"),
        }
        self.hub.equip(|overlay| overlay.orders = Some(config.acme_enabled));
        let directory = Some(config.acme_ca.clone()).filter(|url| !url.is_empty());
        let settings = Settings {
            me: self.node.clone(),
            enabled: config.acme_enabled,
            directory: directory.unwrap_or_else(|| Settings::PRODUCTION.to_owned()),
            contact: config.acme_email.clone(),
            skip_staging: config.acme_skip_staging,
            providers: config
                .acme_dns
                .iter()
                .map(|(name, one)| (name.clone(), Duration::from_millis(one.propagation.0)))
                .collect(),
            seed,
            epoch: 0,
        };
        let hub = self.hub.clone();
        let epochs = Cell::new(0_u32);
        let make = move || {
            let epoch = epochs.get();
            epochs.set(epoch.wrapping_add(1));
            let settings = Settings { epoch, ..settings.clone() };
            (AcmeCore::new(settings), AcmeShell(hub.clone()))
        };
        keep(self.hub, self.supervisor, "acme", make, move |links, at| {
            fill(&mailbox, at.clone());
            links.acme = Some(at);
        });
    }

    /// The mesh comes a moment later: its driver must find out what the kernel has.
    fn netmesh(&self, seed: u64) {
        let mailbox: Mailbox<jaco_netmesh_core::Input> = Mailbox::default();
        let answers = mailbox.clone();
        let config = jaco_netmesh::Config {
            data_dir: self.config.data_dir.clone(),
            interface: MESH_INTERFACE.to_owned(),
            kind: match self.config.wireguard.mode.as_str() {
                "kernel" => Some(MeshKind::Kernel),
                "userspace" => Some(MeshKind::Userspace),
                _ => None,
            },
            helper: jaco_netmesh::HelperCommand::own(),
        };
        let settings = jaco_netmesh_core::Settings {
            me: self.node.clone(),
            port: self.config.wg_port,
            mtu: Some(self.config.wireguard.mtu).filter(|mtu| *mtu > 0),
            seed,
        };
        let port = self.config.wg_port;
        let (hub, supervisor) = (self.hub.clone(), self.supervisor.clone());
        actix::spawn(async move {
            let spawned = jaco_netmesh::Driver::spawn(config, move |input| post(&answers, input));
            match spawned.await {
                Ok(driver) => hub.equip(|overlay| {
                    overlay.port = port;
                    overlay.netmesh = Some(driver);
                }),
                Err(error) => {
                    let why = logging::chain(&error);
                    tracing::error!(error = why, "no mesh between nodes");
                    return hub.mesh_failed(why);
                }
            }
            let driver = hub.clone();
            let make = move || (NetmeshCore::new(settings.clone()), NetmeshDriver(driver.clone()));
            keep(&hub, &supervisor, "netmesh", make, move |links, at| {
                fill(&mailbox, at.clone());
                links.netmesh = Some(at);
            });
            hub.show_state();
        });
    }
}

/// The configured number, or three quarters of the files that this process may have open: the rest
/// is for the connections to replicas and for everything else.
fn connections(configured: usize) -> usize {
    let files = rustix::process::getrlimit(rustix::process::Resource::Nofile).current;
    let most = || files.and_then(|files| usize::try_from(files / 4 * 3).ok());
    Some(configured).filter(|most| *most > 0).or_else(most).unwrap_or(usize::MAX)
}

/// The configuration has checked that they are networks or addresses.
fn networks(texts: &[String]) -> Vec<IpNet> {
    let parse = |text: &String| {
        text.parse().ok().or_else(|| Some(IpNet::from(text.parse::<IpAddr>().ok()?)))
    };
    texts.iter().filter_map(parse).collect()
}

/// The binding of new accounts. A key that cannot be read is told of when it is used.
fn binding(configured: &AccountKey) -> Option<jaco_ingress::acme::AccountBinding> {
    let AccountKey { key_id, hmac_key_file } = configured;
    let read = || match std::fs::read_to_string(hmac_key_file) {
        Ok(text) => Some(SecretText::new(text.trim())),
        Err(error) => {
            let file = hmac_key_file.display();
            tracing::error!(%file, %error, "the key of the account binding is not there");
            None
        }
    };
    let bound = || jaco_ingress::acme::AccountBinding { key_id: key_id.clone(), key: read() };
    (!key_id.is_empty()).then(bound)
}

/// A provider with what its secret file holds. What cannot be read is told of when it is used.
fn with_secret(
    (name, provider): (&String, &DnsProvider),
) -> (String, (DnsProvider, Option<SecretText>)) {
    let read = provider.method.secret().and_then(|file| match std::fs::read_to_string(file) {
        Ok(text) => Some(SecretText::new(text.trim())),
        Err(error) => {
            tracing::error!(
                provider = %name, file, %error, "the secret of a DNS provider is not there"
            );
            None
        }
    });
    (name.clone(), (provider.clone(), read))
}

/// The configuration has checked that they are addresses.
fn forwarders(texts: &[String]) -> Vec<SocketAddr> {
    let parse =
        |text: &String| text.parse().ok().or_else(|| Some(SocketAddr::new(text.parse().ok()?, 53)));
    texts.iter().filter_map(parse).collect()
}

/// Keeps the two rules that let the mesh through the engine's own filter. The engine writes its
/// rules anew when it starts, and others may flush them.
async fn keep_exempt() {
    let mut failed = BTreeSet::new();
    loop {
        let outcome = tokio::task::spawn_blocking(jaco_firewall::exempt).await;
        match outcome {
            Ok(Ok(_)) => failed.clear(),
            Ok(Err(error)) => {
                let text = logging::chain(&error);
                if failed.insert(text.clone()) {
                    tracing::warn!(target: "firewall", error = text, "overlay_exempt_failed");
                }
            }
            Err(_) => return,
        }
        tokio::time::sleep(EXEMPT_EVERY).await;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_is_a_network_of_one() {
        let texts = ["10.0.0.0/8".to_owned(), "192.0.2.7".to_owned()];
        let found: Vec<String> = networks(&texts).iter().map(IpNet::to_string).collect();
        assert_eq!(found, ["10.0.0.0/8", "192.0.2.7/32"]);
    }
}
