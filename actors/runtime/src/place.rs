//! Networks and volumes: what containers are placed into.

use crate::create::hash_map;
use crate::engine::Engine;
use crate::error::{fault, gone_is_fine, is_missing};
use crate::facts::CLUSTER_ID;
use bollard::models::{
    Ipam, IpamConfig, Network, NetworkCreateRequest, Volume, VolumeCreateRequest,
};
use bollard::query_parameters::{
    ListNetworksOptionsBuilder, ListVolumesOptionsBuilder, RemoveVolumeOptions,
};
use jaco_runtime_core::{
    BridgePlan, EngineFault, NetworkPlan, Observation, ObservedNetwork, ObservedVolume, VolumePlan,
};
use std::collections::{BTreeMap, HashMap};
use tokio::sync::Mutex;

/// Before API 1.44 the engine makes a second network of the same name when two requests come at
/// once, and both are then useless. One lock per process is enough: nobody else makes them.
static NETWORKS: Mutex<()> = Mutex::const_new(());

impl Engine {
    /// All containers, networks and volumes with this cluster's label.
    pub(crate) async fn observe(&self, cluster_id: &str) -> Result<Observation, EngineFault> {
        let label = format!("{CLUSTER_ID}={cluster_id}");
        let filters = HashMap::from([("label".to_owned(), vec![label])]);
        let docker = self.asking();
        let options = ListNetworksOptionsBuilder::new().filters(&filters).build();
        let networks = docker.list_networks(Some(options)).await;
        let networks = networks.map_err(|error| fault("list networks", &error))?;
        let networks = networks.into_iter().filter_map(observed_network);
        let mut networks: Vec<ObservedNetwork> = networks.collect();
        networks.sort_by(|a, b| a.name.cmp(&b.name));
        let options = ListVolumesOptionsBuilder::new().filters(&filters).build();
        let volumes = docker.list_volumes(Some(options)).await;
        let volumes = volumes.map_err(|error| fault("list volumes", &error))?;
        let volumes = volumes.volumes.unwrap_or_default().into_iter().map(observed_volume);
        let mut volumes: Vec<ObservedVolume> = volumes.collect();
        volumes.sort_by(|a, b| a.name.cmp(&b.name));
        let containers = self.containers(cluster_id).await?;
        Ok(Observation { containers, networks, volumes })
    }

    /// Whether a container with this cluster's label is left; not while the engine does not say.
    pub async fn runs_any_of(&self, cluster_id: &str) -> bool {
        self.containers(cluster_id).await.is_ok_and(|containers| !containers.is_empty())
    }

    /// Makes a bridge network unless there is one of that name, which must be the planned one.
    pub(crate) async fn ensure_network(&self, plan: &NetworkPlan) -> Result<(), EngineFault> {
        let _one_at_a_time = NETWORKS.lock().await;
        match self.asking().inspect_network(&plan.name, None).await {
            Ok(found) => return is_planned(plan, &found.labels.unwrap_or_default()),
            Err(error) if is_missing(&error) => {}
            Err(error) => return Err(fault("inspect network", &error)),
        }
        let made = self.ordering().create_network(network_request(plan)).await;
        made.map(drop).map_err(|error| fault("create network", &error))
    }

    /// Removes a network.
    pub(crate) async fn remove_network(&self, name: &str) -> Result<(), EngineFault> {
        gone_is_fine("remove network", self.ordering().remove_network(name).await)
    }

    /// Makes a volume unless it is there with the same driver and options.
    pub(crate) async fn ensure_volume(&self, plan: &VolumePlan) -> Result<(), EngineFault> {
        let refused =
            |reason: String| Err(EngineFault { op: "create volume", reason, retry: false });
        match self.asking().inspect_volume(&plan.name).await {
            Ok(_) if plan.external => return Ok(()),
            Ok(found) if found.driver == plan.driver && options_of(&found) == plan.driver_opts => {
                return Ok(());
            }
            Ok(found) => {
                return refused(format!(
                    "volume {} exists with driver {} and other options; remove it or choose \
                     another name",
                    plan.name, found.driver
                ));
            }
            Err(error) if is_missing(&error) && plan.external => {
                return Err(EngineFault {
                    op: "inspect volume",
                    reason: format!("external volume {} does not exist on this node", plan.name),
                    retry: true,
                });
            }
            Err(error) if is_missing(&error) => {}
            Err(error) => return Err(fault("inspect volume", &error)),
        }
        let request = VolumeCreateRequest {
            name: Some(plan.name.clone()),
            driver: Some(plan.driver.clone()),
            driver_opts: Some(hash_map(&plan.driver_opts)),
            labels: Some(hash_map(&plan.labels)),
            cluster_volume_spec: None,
        };
        let made = self.ordering().create_volume(request).await;
        made.map(drop).map_err(|error| fault("create volume", &error))
    }

    /// Removes a volume and its data.
    pub(crate) async fn remove_volume(&self, name: &str) -> Result<(), EngineFault> {
        let removed = self.ordering().remove_volume(name, None::<RemoveVolumeOptions>).await;
        gone_is_fine("remove volume", removed)
    }
}

fn options_of(volume: &Volume) -> BTreeMap<String, String> {
    volume.options.clone().into_iter().collect()
}

fn observed_volume(volume: Volume) -> ObservedVolume {
    ObservedVolume {
        name: volume.name,
        driver: volume.driver,
        labels: volume.labels.into_iter().collect(),
    }
}

fn network_request(plan: &NetworkPlan) -> NetworkCreateRequest {
    let request = NetworkCreateRequest {
        name: plan.name.clone(),
        driver: Some("bridge".to_owned()),
        internal: Some(plan.internal),
        labels: Some(hash_map(&plan.labels)),
        ..NetworkCreateRequest::default()
    };
    let Some(bridge) = &plan.bridge else { return request };
    let addresses = IpamConfig {
        subnet: Some(bridge.subnet.to_string()),
        gateway: Some(bridge.gateway.to_string()),
        ..IpamConfig::default()
    };
    NetworkCreateRequest {
        attachable: Some(false),
        enable_ipv6: Some(false),
        ipam: Some(Ipam { config: Some(vec![addresses]), ..Ipam::default() }),
        options: Some(hash_map(&bridge.options)),
        ..request
    }
}

/// Whether a network that is there may be used for a plan.
fn is_planned(plan: &NetworkPlan, found: &HashMap<String, String>) -> Result<(), EngineFault> {
    let refused = |reason: String| Err(EngineFault { op: "create network", reason, retry: true });
    if found.get(CLUSTER_ID) != plan.labels.get(CLUSTER_ID) {
        return refused(format!(
            "network {} exists and is not of this cluster; it is not touched: remove or rename it",
            plan.name
        ));
    }
    match &plan.bridge {
        Some(bridge) if found.get(BridgePlan::REVISION_LABEL) != Some(&bridge.revision) => {
            refused(format!("network {} exists with other options", plan.name))
        }
        _ => Ok(()),
    }
}

fn observed_network(network: Network) -> Option<ObservedNetwork> {
    let configs = network.ipam.and_then(|ipam| ipam.config).unwrap_or_default();
    let subnet = match configs.as_slice() {
        [only] => only.subnet.clone().unwrap_or_default(),
        _ => String::new(),
    };
    let labels = network.labels.unwrap_or_default().into_iter().collect();
    Some(ObservedNetwork { name: network.name?, labels, subnet })
}
