//! The drivers of the containers' network: mesh, packet filter, names.

use super::{Hub, Inner, push_to};
use crate::daemon::boot::{Mailbox, post};
use crate::daemon::{notify, passed};
use jaco_firewall_core::{Isolation, Report};
use jaco_kit::{Broken, Perform};
use jaco_netmesh_core::{MeshView, Notice};
use jaco_wiring::Step;
use std::os::fd::AsFd;
use std::time::Duration;

/// What carries out the orders of the three cores. One that could not start is `None`: its orders
/// are lost, and what waits for them, the start of containers, goes on waiting.
#[derive(Default)]
pub(crate) struct Overlay {
    /// WireGuard, links and routes.
    pub(crate) netmesh: Option<jaco_netmesh::DriverHandle>,
    /// The port of the tunnel.
    pub(crate) port: u16,
    /// nftables.
    pub(crate) firewall: Option<jaco_firewall::DriverHandle>,
    /// The responder.
    pub(crate) dns: Option<jaco_dns::DriverHandle>,
    /// The proxy.
    pub(crate) ingress: Option<jaco_ingress::DriverHandle>,
    /// The balancer of published ports, and who hears whether its sockets are open.
    pub(crate) ports: Option<(jaco_ingress::L4, Mailbox<jaco_ingress_core::Input>)>,
    /// The client of certificate authorities.
    pub(crate) acme: Option<jaco_ingress::acme::AcmeDriver>,
    /// Whether certificates are ordered while this node leads.
    pub(crate) orders: Option<bool>,
}

/// Performs the effects of the mesh's core.
pub(crate) struct NetmeshDriver(pub(crate) Hub);

impl Perform<jaco_netmesh_core::Effect> for NetmeshDriver {
    fn perform(&mut self, effect: jaco_netmesh_core::Effect) -> Result<(), Broken> {
        let steps = self.0.inner.borrow_mut().member.from_netmesh(effect);
        self.0.run(steps);
        Ok(())
    }
}

/// Performs the effects of the packet filter's core.
pub(crate) struct FirewallDriver(pub(crate) Hub);

impl Perform<jaco_firewall_core::Effect> for FirewallDriver {
    fn perform(&mut self, effect: jaco_firewall_core::Effect) -> Result<(), Broken> {
        let now = self.0.now();
        let steps = self.0.inner.borrow_mut().member.from_firewall(now, effect);
        self.0.run(steps);
        Ok(())
    }
}

/// Performs the effects of the names' core.
pub(crate) struct DnsDriver(pub(crate) Hub);

impl Perform<jaco_dns_core::Effect> for DnsDriver {
    fn perform(&mut self, effect: jaco_dns_core::Effect) -> Result<(), Broken> {
        let steps: Vec<Step> = self.0.inner.borrow_mut().member.from_dns(effect);
        self.0.run(steps);
        Ok(())
    }
}

/// Performs the effects of the front door's core.
pub(crate) struct IngressDriver(pub(crate) Hub);

impl Perform<jaco_ingress_core::Effect> for IngressDriver {
    fn perform(&mut self, effect: jaco_ingress_core::Effect) -> Result<(), Broken> {
        let steps: Vec<Step> = self.0.inner.borrow_mut().member.from_ingress(effect);
        self.0.run(steps);
        Ok(())
    }
}

/// Performs the effects of the core of certificates.
pub(crate) struct AcmeShell(pub(crate) Hub);

impl Perform<jaco_ingress_core::acme::Effect> for AcmeShell {
    fn perform(&mut self, effect: jaco_ingress_core::acme::Effect) -> Result<(), Broken> {
        let now = self.0.now();
        let steps = self.0.inner.borrow_mut().member.from_acme(now, effect);
        self.0.run(steps);
        Ok(())
    }
}

impl Hub {
    /// Sets drivers of the network.
    pub(crate) fn equip(&self, set: impl FnOnce(&mut Overlay)) {
        set(&mut self.inner.borrow_mut().overlay);
    }

    /// The front door and the published ports have begun to count.
    pub(crate) fn show_meters(&self) {
        let inner = self.inner.borrow();
        let door = inner.overlay.ingress.as_ref().map(jaco_ingress::DriverHandle::meters);
        let ports = inner.overlay.ports.as_ref().map(|(l4, _)| l4.meters());
        inner.boards.meters.send_replace(Some((door, ports)));
    }

    /// Containers wait for the mesh.
    pub(crate) fn expect_mesh(&self) {
        self.inner.borrow_mut().member.expect_mesh();
    }

    /// There will be no mesh.
    pub(crate) fn mesh_failed(&self, why: String) {
        let steps = {
            let mut inner = self.inner.borrow_mut();
            inner.boards.mesh.send_modify(|mesh| mesh.fault = Some(why.clone()));
            inner.member.mesh_failed(why)
        };
        self.run(steps);
    }

    /// The doors of this node.
    pub(crate) fn doors(&self) -> Doors {
        let overlay = &self.inner.borrow().overlay;
        let ports = overlay.ports.as_ref().map(|(l4, _)| l4.clone());
        Doors { ingress: overlay.ingress.clone(), ports }
    }

    /// The mesh's driver, if it could start.
    pub(crate) fn netmesh(&self) -> Option<jaco_netmesh::DriverHandle> {
        self.inner.borrow().overlay.netmesh.clone()
    }
}

/// What clients come in by.
pub(crate) struct Doors {
    ingress: Option<jaco_ingress::DriverHandle>,
    ports: Option<jaco_ingress::L4>,
}

impl Doors {
    /// Tells clients to go for a while, if there is anything here for them; then accepts nothing
    /// more, and returns when nothing runs or `within` is over.
    pub(crate) async fn close(self, lame: Duration, within: Duration) {
        if let Some(ingress) = self.ingress.as_ref().filter(|ingress| ingress.serves()) {
            ingress.drain();
            tokio::time::sleep(lame).await;
        }
        let ingress = async {
            if let Some(ingress) = &self.ingress {
                ingress.stop(within).await;
            }
        };
        let ports = async {
            if let Some(ports) = &self.ports {
                ports.stop(within).await;
            }
        };
        tokio::join!(ingress, ports);
    }
}

impl Inner {
    pub(super) fn netmesh(&self, effect: jaco_netmesh_core::Effect) {
        match (&effect, &self.overlay.netmesh) {
            (jaco_netmesh_core::Effect::Notify(notice), _) => tell_notice(notice),
            (jaco_netmesh_core::Effect::Show(view), Some(driver)) => self.show_mesh(view, driver),
            (_, Some(driver)) => driver.run(effect),
            (_, None) => {}
        }
    }

    /// What the node says of itself in the state; the boards show the rest.
    fn show_mesh(&self, view: &MeshView, driver: &jaco_netmesh::DriverHandle) {
        if let Some(path_mtu) = view.path_mtu {
            let facts = driver.facts(self.overlay.port, path_mtu);
            let input = jaco_runtime_core::Input::Mesh(facts);
            push_to(self.links.runtime.as_ref(), input);
        }
        if let Some(why) = &view.fault {
            tracing::warn!(why, "the mesh is not as wanted");
        }
        self.boards.mesh.send_replace(view.clone());
    }

    pub(super) fn firewall(&self, effect: jaco_firewall_core::Effect) {
        match (&effect, &self.overlay.firewall) {
            (jaco_firewall_core::Effect::Report(report), _) => self.tell_report(report),
            (_, Some(driver)) => driver.run(effect),
            (_, None) => {}
        }
    }

    fn tell_report(&self, report: &Report) {
        match report {
            Report::Isolation(Isolation::Available) => {
                tracing::info!(target: "firewall", "the packet filter is installed");
            }
            Report::Isolation(Isolation::Unavailable { reason, exposed }) => {
                tracing::warn!(target: "firewall", %reason, exposed, "isolation is unavailable");
            }
            Report::SelfTestFailed { difference } => {
                tracing::error!(target: "firewall", difference, "the packet filter is not what was written");
            }
            Report::Reconciled { difference, by, took, count } => {
                let (by, ms) = (by.as_deref().unwrap_or("unknown"), took.as_millis());
                tracing::warn!(
                    target: "firewall", difference, by, ms, count,
                    "the packet filter had been changed and was repaired"
                );
            }
        }
    }

    pub(super) fn ask_authority(
        &self,
        op: jaco_kit_core::OpId,
        at: jaco_model::WallMs,
        call: jaco_ingress_core::acme::Call,
    ) {
        if let Some(driver) = &self.overlay.acme {
            driver.ask(op, at, call);
        }
    }

    pub(super) fn ingress(&self, effect: jaco_ingress_core::Effect) {
        use jaco_ingress_core::{Effect, Input, ListenKind};
        if let Some((l4, answers)) = &self.overlay.ports {
            match &effect {
                Effect::Serve(table) => l4.serve(table.clone()),
                Effect::Listen { op, key } if matches!(key.kind, ListenKind::Port(_)) => {
                    let (op, answers) = (*op, answers.clone());
                    l4.open(*key, move |result| {
                        let result = result.map_err(|error| jaco_ingress::socket_fault(&error));
                        post(&answers, Input::Listening { op, result });
                    });
                }
                Effect::Unlisten { key } => l4.close(*key),
                Effect::Listen { .. } | Effect::ShowClosed(_) => {}
            }
        }
        if let Effect::ShowClosed(closed) = &effect {
            for (key, fault) in closed {
                let (key, why) = (key.to_string(), &fault.why);
                tracing::warn!(target: "ingress", key, why, "an address cannot be listened on");
            }
            self.boards.closed.send_replace(closed.clone());
        }
        let Some(driver) = &self.overlay.ingress else { return };
        match effect {
            Effect::Listen { key, .. } => {
                driver.run(effect);
                if let Some(socket) = driver.socket(key) {
                    notify::keep(&passed::name(key), socket.as_fd());
                }
            }
            Effect::Unlisten { key } => {
                driver.run(effect);
                if !matches!(key.kind, ListenKind::Port(_)) {
                    notify::forget(&passed::name(key));
                }
            }
            Effect::Serve(_) | Effect::ShowClosed(_) => driver.run(effect),
        }
    }

    pub(super) fn dns(&self, effect: jaco_dns_core::Effect) {
        if let Some(driver) = &self.overlay.dns {
            driver.run(effect);
        }
    }
}

fn tell_notice(notice: &Notice) {
    match notice {
        Notice::PathDegraded { node, condition } => {
            tracing::warn!(%node, condition, "a path of the mesh carries nothing");
        }
        Notice::MtuLowered { node, mtu } => {
            tracing::warn!(%node, mtu, "full-size packets did not arrive; smaller ones are sent");
        }
        Notice::PoolConflict(other) => {
            tracing::error!(%other, "the cluster's addresses are in use by something else");
        }
        Notice::DataplaneImpaired { broken, of } => {
            tracing::error!(broken, of, "most paths of the mesh carry nothing");
        }
    }
}
