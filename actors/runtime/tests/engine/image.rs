//! References and pulls against a real registry inside a lab host.

use crate::bench::{Bench, IMAGE};
use jaco_model::entity::ImagePin;
use jaco_model::spec::PullPolicy;
use jaco_runtime_core::{Effect, Input, PullFault, PullReason};
use std::process::{Child, Stdio};
use std::time::Duration;

const PUSHED: &str = "127.0.0.1:5000/jaco/probe:v1";

/// A registry that listens inside the host's network.
struct Registry(Child);

impl Registry {
    fn start(bench: &Bench) -> Registry {
        let dir = bench.host().data_dir().join("registry");
        std::fs::create_dir_all(&dir).unwrap();
        let config = dir.join("config.yml");
        let text = format!(
            "version: 0.1\nlog: {{level: error}}\nhttp: {{addr: '127.0.0.1:5000'}}\n\
             storage: {{filesystem: {{rootdirectory: '{}'}}}}\n",
            dir.join("data").display()
        );
        std::fs::write(&config, text).unwrap();
        let mut command = bench.host().command("docker-registry");
        command.arg("serve").arg(config).stdout(Stdio::null()).stderr(Stdio::null());
        Registry(command.spawn().expect("docker-registry is installed"))
    }
}

impl Drop for Registry {
    fn drop(&mut self) {
        self.0.kill().unwrap();
        self.0.wait().unwrap();
    }
}

fn docker(bench: &Bench, args: &[&str]) -> bool {
    let mut command = bench.host().docker(args);
    command.stdout(Stdio::null()).status().unwrap().success()
}

async fn pull(bench: &mut Bench, image: &ImagePin, policy: PullPolicy) -> Result<(), PullFault> {
    let (instance, image) = ("shop-web-0.g1".parse().unwrap(), image.clone());
    match bench.run(|op| Effect::Pull { op, instance, image, policy, platform: None }).await {
        Input::Pulled { result, .. } => result,
        other => panic!("{other:?}"),
    }
}

#[tokio::test]
async fn references_are_pinned_and_pulled_by_digest() {
    let mut bench = Bench::up("runtime-images").await;
    let local = bench.engine().resolve_image(IMAGE, PullPolicy::Missing, None).await.unwrap();
    assert!(local.pin.local && local.pin.digest.starts_with("sha256:"), "{local:?}");
    assert_eq!(pull(&mut bench, &local.pin, PullPolicy::Missing).await, Ok(()));

    let registry = Registry::start(&bench);
    assert!(docker(&bench, &["tag", IMAGE, PUSHED]));
    jaco_lab::until("push", Duration::from_secs(20), || {
        Ok(docker(&bench, &["push", "--quiet", PUSHED]).then_some(()))
    })
    .unwrap();
    let found = bench.engine().resolve_image(PUSHED, PullPolicy::Always, None).await.unwrap();
    assert!(!found.pin.local && found.warning.is_none(), "{found:?}");
    assert_ne!(found.pin.digest, local.pin.digest);
    let never = bench.engine().resolve_image(PUSHED, PullPolicy::Never, None).await.unwrap();
    assert_eq!(never.pin, found.pin);
    let arm = Some("linux/arm64");
    let fault = bench.engine().resolve_image(PUSHED, PullPolicy::Missing, arm).await.unwrap_err();
    assert_eq!(fault.reason, PullReason::NoPlatform, "{fault:?}");

    // The engine forgets the image, and both of two pulls at once bring it back.
    assert!(docker(&bench, &["rmi", "--force", PUSHED, IMAGE]));
    let absent = pull(&mut bench, &found.pin, PullPolicy::Never).await.unwrap_err();
    assert_eq!(absent.reason, PullReason::NotFound);
    let id = |n: u64| jaco_kit_core::OpId(1_000 + n);
    for n in 0..2 {
        bench.driver.run(Effect::Pull {
            op: id(n),
            instance: format!("shop-web-{n}.g1").parse().unwrap(),
            image: found.pin.clone(),
            policy: PullPolicy::Missing,
            platform: None,
        });
    }
    for n in 0..2 {
        let pulled = bench.outcome(id(n)).await;
        assert!(matches!(pulled, Input::Pulled { result: Ok(()), .. }), "{pulled:?}");
    }
    assert_eq!(bench.driver.pulls().progress(&"shop-web-0.g1".parse().unwrap()), None);

    let missing = "127.0.0.1:5000/jaco/absent:v1";
    for policy in [PullPolicy::Missing, PullPolicy::Never] {
        let fault = bench.engine().resolve_image(missing, policy, None).await.unwrap_err();
        assert_eq!(fault.reason, PullReason::NotFound, "{fault:?}");
    }
    let reference = missing.to_owned();
    let pin = ImagePin { reference, digest: found.pin.digest.clone(), local: false };
    let fault = pull(&mut bench, &pin, PullPolicy::Missing).await.unwrap_err();
    assert_eq!(fault.reason, PullReason::NotFound, "{fault:?}");

    drop(registry);
    let fault = pull(&mut bench, &pin, PullPolicy::Missing).await.unwrap_err();
    assert_eq!(fault.reason, PullReason::Network, "{fault:?}");
    assert!(docker(
        &bench,
        &["tag", &format!("127.0.0.1:5000/jaco/probe@{}", found.pin.digest), PUSHED]
    ));
    let stale = bench.engine().resolve_image(PUSHED, PullPolicy::Always, None).await.unwrap();
    assert_eq!(stale.pin, found.pin);
    assert!(stale.warning.unwrap().contains("(network: "));
    bench.lab.down().unwrap();
}
