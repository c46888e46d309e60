//! Containers: list, inspect, create, start, stop, remove.

use crate::create::{
    CreateRequest, ImageDefaults, create_request, hash_map, needs_image_defaults, whole_seconds,
};
use crate::engine::Engine;
use crate::error::{fault, gone_is_fine, is_missing, status};
use crate::facts::{CLUSTER_ID, container_facts};
use crate::files::Files;
use bollard::errors::Error as ClientError;
use bollard::models::{EndpointSettings, NetworkConnectRequest};
use bollard::query_parameters::{
    CreateContainerOptionsBuilder, ListContainersOptionsBuilder, RemoveContainerOptionsBuilder,
    StopContainerOptionsBuilder,
};
use futures_util::stream::{StreamExt as _, TryStreamExt as _};
use jaco_model::Millis;
use jaco_runtime_core::{ContainerFacts, ContainerPlan, EngineFault};
use std::collections::HashMap;
use std::time::Duration;

/// Inspections at a time while everything is listed.
const INSPECTIONS: usize = 8;
/// Added to the grace of a stop for the engine's own work.
const STOP_MARGIN: Duration = Duration::from_secs(60);

impl Engine {
    /// All containers with this cluster's label, in the order of their ids.
    pub(crate) async fn containers(
        &self,
        cluster_id: &str,
    ) -> Result<Vec<ContainerFacts>, EngineFault> {
        let label = format!("{CLUSTER_ID}={cluster_id}");
        let filters = HashMap::from([("label".to_owned(), vec![label])]);
        let options = ListContainersOptionsBuilder::new().all(true).filters(&filters).build();
        let list = self.asking().list_containers(Some(options)).await;
        let list = list.map_err(|error| fault("list", &error))?;
        let ids = list.into_iter().filter_map(|summary| summary.id);
        let inspections = futures_util::stream::iter(ids)
            .map(|id| async move { self.inspect(&id).await })
            .buffer_unordered(INSPECTIONS);
        let found: Vec<Option<ContainerFacts>> = inspections.try_collect().await?;
        let mut found: Vec<ContainerFacts> = found.into_iter().flatten().collect();
        found.sort_by(|a, b| a.id.cmp(&b.id));
        Ok(found)
    }

    /// What a container does in the engine's own word, such as `running` or `exited`, by its id or
    /// name; `None` when there is none.
    ///
    /// # Errors
    /// When the engine does not say.
    pub async fn container_state(&self, container: &str) -> Result<Option<String>, EngineFault> {
        match self.asking().inspect_container(container, None).await {
            Ok(found) => {
                let status = found.state.and_then(|state| state.status);
                Ok(status.map(|status| status.to_string()))
            }
            Err(error) if is_missing(&error) => Ok(None),
            Err(error) => Err(fault("inspect", &error)),
        }
    }

    /// One container; `None` when it is gone.
    pub(crate) async fn inspect(
        &self,
        container: &str,
    ) -> Result<Option<ContainerFacts>, EngineFault> {
        match self.asking().inspect_container(container, None).await {
            Ok(answer) => Ok(Some(container_facts(answer))),
            Err(error) if is_missing(&error) => Ok(None),
            Err(error) => Err(fault("inspect", &error)),
        }
    }

    /// Makes a container and connects all of its networks. Returns its id and what the engine
    /// cannot honour.
    pub(crate) async fn create(
        &self,
        plan: &ContainerPlan,
        files: &Files,
    ) -> Result<(String, Vec<String>), EngineFault> {
        let image = self.image_defaults(plan).await?;
        let refused = |reason: String| EngineFault { op: "create", reason, retry: false };
        let mut request =
            create_request(plan, self.api(), &image).map_err(|error| refused(error.to_string()))?;
        if let Some(text) = &plan.resolv_conf {
            let file = files.write(&request.name, text).await;
            let file = file.map_err(|reason| EngineFault { retry: true, ..refused(reason) })?;
            request.mount_resolv_conf(file);
        }
        let (id, warnings) = match self.post_create(&request).await {
            Ok(made) => made,
            Err(error) if status(&error) == Some(409) => {
                match self.adopt(&request.name, plan, error).await? {
                    Some(id) => (id, Vec::new()),
                    None => {
                        let made = self.post_create(&request).await;
                        made.map_err(|error| fault("create", &error))?
                    }
                }
            }
            Err(error) => return Err(fault("create", &error)),
        };
        for (network, settings) in request.connect {
            self.connect_network(&id, &network, settings).await?;
        }
        Ok((id, request.warnings.into_iter().chain(warnings).collect()))
    }

    /// Starts a container's process; one that runs is left alone.
    pub(crate) async fn start(&self, container: &str) -> Result<(), EngineFault> {
        let started = self.ordering().start_container(container, None).await;
        started.map_err(|error| fault("start", &error))
    }

    /// Stop signal, then the kill once `grace` is over. The engine does both, so that the kill
    /// comes even when this process ends in between.
    pub(crate) async fn stop(&self, container: &str, grace: Millis) -> Result<(), EngineFault> {
        let seconds = i32::try_from(whole_seconds(grace)).unwrap_or(i32::MAX);
        let options = StopContainerOptionsBuilder::new().t(seconds).build();
        let docker = self.waiting(grace.std() + STOP_MARGIN);
        gone_is_fine("stop", docker.stop_container(container, Some(options)).await)
    }

    /// Removes a stopped container and its anonymous volumes.
    pub(crate) async fn remove(&self, container: &str, files: &Files) -> Result<(), EngineFault> {
        let found = self.asking().inspect_container(container, None).await;
        let name = found.ok().and_then(|found| found.name);
        let options = RemoveContainerOptionsBuilder::new().v(true).build();
        let removed = self.ordering().remove_container(container, Some(options)).await;
        gone_is_fine("remove", removed)?;
        if let Some(name) = name {
            files.remove(name.trim_start_matches('/')).await;
        }
        Ok(())
    }

    async fn image_defaults(&self, plan: &ContainerPlan) -> Result<ImageDefaults, EngineFault> {
        let service = plan.spec.services.get(&plan.service);
        if !service.is_some_and(|service| needs_image_defaults(&service.container)) {
            return Ok(ImageDefaults::default());
        }
        let image = self.asking().inspect_image(&plan.image).await;
        let image = image.map_err(|error| fault("create", &error))?;
        let entrypoint = image.config.and_then(|config| config.entrypoint).unwrap_or_default();
        Ok(ImageDefaults { entrypoint })
    }

    async fn post_create(
        &self,
        request: &CreateRequest,
    ) -> Result<(String, Vec<String>), ClientError> {
        let mut options = CreateContainerOptionsBuilder::new().name(&request.name);
        if let Some(platform) = &request.platform {
            options = options.platform(platform);
        }
        let docker = match &request.mac_address {
            None => self.ordering(),
            Some(mac_address) => {
                let mut body = serde_json::to_value(&request.body)?;
                body["MacAddress"] = mac_address.as_str().into();
                self.ordering_with_body(serde_json::to_vec(&body)?.into())
            }
        };
        let made = docker.create_container(Some(options.build()), request.body.clone()).await?;
        Ok((made.id, made.warnings))
    }

    /// The id of the container that has the name already, if it is the one that was asked for and
    /// has never run: an earlier attempt made it and its answer was lost. One that was asked for
    /// with other addresses, by a daemon before this one, is removed: nobody here keeps them free.
    async fn adopt(
        &self,
        name: &str,
        plan: &ContainerPlan,
        conflict: ClientError,
    ) -> Result<Option<String>, EngineFault> {
        let found = self.asking().inspect_container(name, None).await;
        let found = found.map_err(|_| fault("create", &conflict))?;
        let theirs = found.config.as_ref().and_then(|config| config.labels.clone());
        let theirs = theirs.unwrap_or_default();
        let ours = hash_map(&plan.labels);
        let is_same = plan.labels.keys().all(|key| theirs.get(key) == ours.get(key));
        let facts = container_facts(found);
        if !is_same || !facts.never_started {
            return Err(fault("create", &conflict));
        }
        if facts.has_addresses_of(plan) {
            return Ok(Some(facts.id));
        }
        let options = RemoveContainerOptionsBuilder::new().v(true).build();
        let removed = self.ordering().remove_container(&facts.id, Some(options)).await;
        gone_is_fine("create", removed).map(|()| None)
    }

    async fn connect_network(
        &self,
        container: &str,
        network: &str,
        settings: EndpointSettings,
    ) -> Result<(), EngineFault> {
        let request = NetworkConnectRequest {
            container: container.to_owned(),
            endpoint_config: Some(settings),
        };
        match self.ordering().connect_network(network, request).await {
            // An earlier attempt came this far.
            Err(error) if error.to_string().contains("already exists in network") => Ok(()),
            Err(error) => Err(fault("connect", &error)),
            Ok(()) => Ok(()),
        }
    }
}
