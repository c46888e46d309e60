//! A daemon's share of the mesh: core and driver, stepped as the shell does it.

use crate::host::Host;
use jaco_kit::Clock;
use jaco_kit_core::Core;
use jaco_model::NodeId;
use jaco_model::entity::MeshKind;
use jaco_netmesh::{Config, Driver, DriverHandle, HelperCommand};
use jaco_netmesh_core::{Effect, Input, Mesh, MeshView, NetmeshCore, PathCondition, Settings};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::{mpsc, watch};

/// UDP port of every tunnel.
pub(crate) const PORT: u16 = 51820;

pub(crate) struct Node {
    pub(crate) handle: DriverHandle,
    want: mpsc::UnboundedSender<Mesh>,
    view: watch::Receiver<Arc<MeshView>>,
}

impl Node {
    /// Starts it on a host. It ends when dropped; the tunnel stays.
    pub(crate) fn start(host: &Host, data_dir: &Path) -> Node {
        Node::start_with(host, data_dir, std::env::current_exe().unwrap())
    }

    /// The same with another program for the helper.
    pub(crate) fn start_with(host: &Host, data_dir: &Path, program: PathBuf) -> Node {
        let args = ["helper_process", "--exact", "--nocapture", "--"];
        let config = Config {
            data_dir: data_dir.to_owned(),
            interface: "wg-jaco".to_owned(),
            kind: Some(MeshKind::Userspace),
            helper: HelperCommand {
                program,
                name: None,
                args: args.into_iter().map(Into::into).collect(),
            },
        };
        let (want, wants) = mpsc::unbounded_channel();
        let (show, view) = watch::channel(Arc::default());
        let handle = host.run(move || async move {
            let (send, inputs) = mpsc::unbounded_channel();
            let deliver = move |input| {
                let _ = send.send(input);
            };
            let handle = Driver::spawn(config, deliver).await.unwrap();
            tokio::task::spawn_local(shell(handle.clone(), inputs, wants, show));
            handle
        });
        Node { handle, want, view }
    }

    pub(crate) fn want(&self, mesh: Mesh) {
        assert!(self.want.send(mesh).is_ok());
    }

    /// Waits until what is shown fits.
    pub(crate) fn wait(&self, what: &str, fits: impl Fn(&MeshView) -> bool) {
        let view = self.view.clone();
        let limit = Duration::from_secs(40);
        crate::world::wait(what, limit, || fits(&view.borrow()), || format!("{:?}", view.borrow()));
    }

    /// Waits until all of this many paths are ok.
    pub(crate) fn wait_for_paths(&self, count: usize) {
        self.wait("paths are ok", |view| {
            let is_ok = |path: &jaco_netmesh_core::PathView| path.condition == PathCondition::Ok;
            view.fault.is_none() && view.paths.len() == count && view.paths.iter().all(is_ok)
        });
    }
}

async fn shell(
    handle: DriverHandle,
    mut inputs: mpsc::UnboundedReceiver<Input>,
    mut wants: mpsc::UnboundedReceiver<Mesh>,
    show: watch::Sender<Arc<MeshView>>,
) {
    let clock = Clock::new();
    let me = NodeId::new("me");
    let mut core = NetmeshCore::new(Settings { me, port: PORT, mtu: None, seed: 1 });
    loop {
        let wait = core.deadline().map(|at| at.since(clock.mono()));
        let due = async {
            match wait {
                Some(wait) => tokio::time::sleep(wait.max(Duration::from_millis(1))).await,
                None => std::future::pending().await,
            }
        };
        let effects = tokio::select! {
            Some(input) = inputs.recv() => core.step(clock.now(), input),
            wanted = wants.recv() => match wanted {
                Some(wanted) => core.want(clock.now(), Some(wanted)),
                None => return,
            },
            () = due => core.wake(clock.now()),
        };
        core.check_invariants();
        for effect in effects {
            match effect {
                Effect::Show(view) => {
                    show.send_replace(view);
                }
                effect => handle.run(effect),
            }
        }
    }
}
