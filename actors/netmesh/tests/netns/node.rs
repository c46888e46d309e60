//! A daemon's share of the mesh: core and driver, stepped as the shell does it.
//!
//! Which kind of tunnel a host has is said by `JACO_TEST_MESH`, one kind for both hosts or one for
//! each: `kernel`, or `userspace,kernel`. Without it all run the built-in one.

use crate::host::Host;
use jaco_kit::Clock;
use jaco_kit_core::Core;
use jaco_model::NodeId;
use jaco_model::entity::MeshKind;
use jaco_netmesh::{Config, Driver, DriverHandle, HelperCommand};
use jaco_netmesh_core::{
    Change, Effect, Input, Installed, Mesh, MeshView, NetmeshCore, PathCondition, Settings,
};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};
use std::time::Duration;
use tokio::sync::{mpsc, watch};

/// UDP port of every tunnel.
pub(crate) const PORT: u16 = 51820;

/// The kind of tunnel that this run is about.
pub(crate) fn kind(host: usize) -> MeshKind {
    let text = std::env::var("JACO_TEST_MESH").unwrap_or_else(|_| "userspace".to_owned());
    let kinds: Vec<&str> = text.split(',').collect();
    match kinds[host.min(kinds.len() - 1)] {
        "kernel" => MeshKind::Kernel,
        "userspace" => MeshKind::Userspace,
        other => panic!("JACO_TEST_MESH: {other} is no kind of tunnel"),
    }
}

pub(crate) struct Node {
    pub(crate) handle: DriverHandle,
    want: mpsc::UnboundedSender<Mesh>,
    view: watch::Receiver<Arc<MeshView>>,
    seen: Arc<Seen>,
}

/// What the core's orders tell.
#[derive(Default)]
struct Seen {
    /// Rounds of changes since the start.
    rounds: Mutex<Vec<Vec<Change>>>,
    /// What was found as it is wanted, since that last changed.
    settled: Mutex<Option<Installed>>,
}

impl Node {
    /// Starts it on a host. It ends when dropped; the tunnel stays.
    pub(crate) fn start(host: &Host, data_dir: &Path, kind: Option<MeshKind>) -> Node {
        Node::start_with(host, data_dir, kind, std::env::current_exe().unwrap())
    }

    /// The same with another program for the helper.
    pub(crate) fn start_with(
        host: &Host,
        data_dir: &Path,
        kind: Option<MeshKind>,
        program: PathBuf,
    ) -> Node {
        let args = ["helper_process", "--exact", "--nocapture", "--"];
        let config = Config {
            data_dir: data_dir.to_owned(),
            interface: "wg-jaco".to_owned(),
            kind,
            helper: HelperCommand {
                program,
                name: None,
                args: args.into_iter().map(Into::into).collect(),
            },
        };
        let (want, wants) = mpsc::unbounded_channel();
        let (show, view) = watch::channel(Arc::default());
        let seen = Arc::new(Seen::default());
        let see = seen.clone();
        let handle = host.run(move || async move {
            let (send, inputs) = mpsc::unbounded_channel();
            let deliver = move |input| {
                let _ = send.send(input);
            };
            let handle = Driver::spawn(config, deliver).await.unwrap();
            tokio::task::spawn_local(shell(handle.clone(), inputs, wants, show, see));
            handle
        });
        Node { handle, want, view, seen }
    }

    pub(crate) fn want(&self, mesh: Mesh) {
        *self.seen.settled.lock().unwrap() = None;
        assert!(self.want.send(mesh).is_ok());
    }

    /// Waits until what is shown fits.
    #[track_caller]
    pub(crate) fn wait(&self, what: &str, fits: impl Fn(&MeshView) -> bool) {
        let view = self.view.clone();
        let limit = Duration::from_secs(40);
        crate::world::wait(
            what,
            limit,
            || fits(&view.borrow()),
            || format!("{:?}", &**view.borrow()),
        );
    }

    /// Waits until the host has what is wanted, and says what that is.
    #[track_caller]
    pub(crate) fn settled(&self) -> Installed {
        let found = || self.seen.settled.lock().unwrap().clone();
        self.wait("all is as wanted", |view| view.fault.is_none() && found().is_some());
        found().unwrap()
    }

    /// Rounds of changes since the start.
    pub(crate) fn rounds(&self) -> Vec<Vec<Change>> {
        self.seen.rounds.lock().unwrap().clone()
    }

    /// Waits until all of this many paths are ok.
    #[track_caller]
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
    seen: Arc<Seen>,
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
        let mut observed = None;
        let effects = tokio::select! {
            Some(input) = inputs.recv() => {
                if let Input::Observed { result: Ok(installed), .. } = &input {
                    observed = Some(installed.clone());
                }
                core.step(clock.now(), input)
            }
            wanted = wants.recv() => match wanted {
                Some(wanted) => {
                    *seen.settled.lock().unwrap() = None;
                    core.want(clock.now(), Some(wanted))
                }
                None => return,
            },
            () = due => core.wake(clock.now()),
        };
        if !effects.is_empty() {
            core.check_invariants();
        }
        let mut is_changed = false;
        for effect in &effects {
            if let Effect::Apply { changes, .. } = effect {
                is_changed = true;
                seen.rounds.lock().unwrap().push(changes.clone());
            }
        }
        let mut settled = seen.settled.lock().unwrap();
        if is_changed {
            *settled = None;
        } else if observed.is_some() && looks_no_further(&effects) {
            *settled = observed;
        }
        drop(settled);
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

/// Whether what was looked at was not out of date already.
fn looks_no_further(effects: &[Effect]) -> bool {
    !effects.iter().any(|effect| matches!(effect, Effect::Observe { .. }))
}
