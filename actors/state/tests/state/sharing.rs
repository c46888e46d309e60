//! Networks that deployments share, and what neither side may do to the other.

use crate::fixture::{self, Bench};
use jaco_model::command::Command;
use jaco_model::spec::{NetworkAttachment, NetworkSpec, Sharing};
use jaco_model::{DeploymentName, ErrorCode, Fault};

/// A deployment with the network `net`.
fn apply(bench: &mut Bench, name: &str, network: NetworkSpec) -> Result<(), Fault> {
    let mut service = fixture::service("web", 1);
    let attachment = NetworkAttachment { network: "net".to_owned(), ..Default::default() };
    service.container.networks.push(attachment);
    let mut wish = fixture::wish(name, vec![service]);
    wish.spec.networks.insert("net".to_owned(), network);
    bench.run_numbered(Command::Apply(Box::new(wish))).result.map(drop)
}

fn shared_with(names: &[&str]) -> NetworkSpec {
    let names = names.iter().map(|name| DeploymentName::from(*name)).collect();
    NetworkSpec { shared: Sharing::Deployments(names), ..NetworkSpec::default() }
}

fn external(name: &str) -> NetworkSpec {
    NetworkSpec { external: Some(name.to_owned()), ..NetworkSpec::default() }
}

fn refusal(result: Result<(), Fault>) -> (ErrorCode, String) {
    let fault = result.expect_err("it is refused");
    (fault.code, fault.message)
}

#[test]
fn only_those_join_whom_the_owner_admits() {
    let mut bench = Bench::initialised();
    let missing = apply(&mut bench, "guest", external("shop/net"));
    let message = "there is no deployment \"shop\" with a network".to_owned();
    assert_eq!(refusal(missing), (ErrorCode::UnknownNetwork, message));
    apply(&mut bench, "shop", shared_with(&["guest"])).unwrap();
    for name in ["shop/net", "jaco_shop_net"] {
        apply(&mut bench, "guest", external(name)).unwrap();
        let stranger = refusal(apply(&mut bench, "stranger", external(name)));
        let message = "shop/net does not share its network with stranger".to_owned();
        assert_eq!(stranger, (ErrorCode::Forbidden, message));
    }
    let fault = apply(&mut bench, "guest", external("shop/nte")).unwrap_err();
    assert_eq!(fault.code, ErrorCode::UnknownNetwork);
    assert_eq!(fault.detail("suggestion"), Some("net"));
    let fault = apply(&mut bench, "guest", external("shp/net")).unwrap_err();
    assert_eq!(fault.detail("suggestion"), Some("shop"));
    let own = refusal(apply(&mut bench, "guest", external("guest/net")));
    assert_eq!(own.0, ErrorCode::UnknownNetwork);
    // A network that is external itself has nobody to share it.
    let second_hand = refusal(apply(&mut bench, "third", external("guest/net")));
    assert_eq!(second_hand.0, ErrorCode::UnknownNetwork);
}

#[test]
fn a_network_with_guests_stays() {
    let mut bench = Bench::initialised();
    let everybody = NetworkSpec { shared: Sharing::Everybody, ..NetworkSpec::default() };
    apply(&mut bench, "shop", everybody.clone()).unwrap();
    apply(&mut bench, "guest", external("shop/net")).unwrap();
    let message = "guest is in the network shop/net".to_owned();
    for closed in [NetworkSpec::default(), shared_with(&["other"]), external("guest/net")] {
        let refused = apply(&mut bench, "shop", closed);
        assert_ne!(refusal(refused).0, ErrorCode::Internal);
    }
    let closed = refusal(apply(&mut bench, "shop", NetworkSpec::default()));
    assert_eq!(closed, (ErrorCode::InUse, message.clone()));
    let delete = |name: &str| Command::Delete { deployment: name.into(), volumes: false };
    let deleted = bench.run_numbered(delete("shop")).result.map(drop);
    assert_eq!(refusal(deleted), (ErrorCode::InUse, message));
    apply(&mut bench, "shop", shared_with(&["guest"])).unwrap();
    bench.run_numbered(delete("guest")).result.unwrap();
}

#[test]
fn sharing_replaces_no_replica() {
    let mut bench = Bench::initialised();
    let hash = |bench: &Bench| {
        let record = bench.state.current(&"shop".into()).unwrap().clone();
        record.hashes.clone()
    };
    apply(&mut bench, "shop", NetworkSpec::default()).unwrap();
    let before = hash(&bench);
    apply(&mut bench, "shop", shared_with(&["guest"])).unwrap();
    assert_eq!(hash(&bench), before);
}
