//! From the reference a user wrote to the digest that a revision runs.

use super::fault::pull_fault;
use super::reference::{Reference, is_image_id};
use crate::engine::Engine;
use crate::error::is_missing;
use bollard::errors::Error as ClientError;
use bollard::models::{ImageInspect, OciPlatform};
use jaco_model::entity::ImagePin;
use jaco_model::spec::PullPolicy;
use jaco_runtime_core::{PullFault, PullReason};
use std::time::Duration;

/// Longest wait for a registry while a user waits for an apply.
const REGISTRY: Duration = Duration::from_secs(5);

/// What a reference stands for now.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ResolvedImage {
    /// The reference with its digest or image id.
    pub pin: ImagePin,
    /// Why the registry was not followed, when the copy on this node was taken instead.
    pub warning: Option<String>,
}

impl Engine {
    /// Looks up what `reference` stands for: its digest in the registry, or the id of an image that
    /// only this node has.
    ///
    /// # Errors
    /// When neither the registry nor this node has the image, for the wanted `platform`
    /// (`os/arch[/variant]`) if any.
    pub async fn resolve_image(
        &self,
        reference: &str,
        policy: PullPolicy,
        platform: Option<&str>,
    ) -> Result<ResolvedImage, PullFault> {
        let parsed = Reference::parse(reference);
        let local = self.local_image(reference).await?;
        let local = local.map(|image| local_pin(reference, &parsed, &image));
        if policy == PullPolicy::Never || is_image_id(reference) {
            return local.map(certain).ok_or_else(|| absent(reference));
        }
        if let Some(digest) = parsed.digest {
            return Ok(certain(ImagePin { reference: reference.to_owned(), digest, local: false }));
        }
        // Never pushed anywhere: a registry can only know another image of the same name.
        if let Some(pin) = local.as_ref().filter(|pin| pin.local) {
            return Ok(certain(pin.clone()));
        }
        match (self.registry_digest(reference, platform).await, local) {
            (Ok(digest), _) => {
                Ok(certain(ImagePin { reference: reference.to_owned(), digest, local: false }))
            }
            (Err(fault), Some(pin)) if fault.reason != PullReason::NoPlatform => {
                let warning = format!(
                    "the registry could not be asked for {reference} ({}: {}); the copy on this \
                     node is used",
                    fault.reason.as_str(),
                    fault.message
                );
                Ok(ResolvedImage { pin, warning: Some(warning) })
            }
            (Err(fault), _) => Err(fault),
        }
    }

    /// The engine's own copy, by reference, digest or id.
    pub(super) async fn local_image(&self, name: &str) -> Result<Option<ImageInspect>, PullFault> {
        match self.asking().inspect_image(name).await {
            Ok(image) => Ok(Some(image)),
            Err(error) if is_missing(&error) => Ok(None),
            Err(error) => Err(pull_fault(&error)),
        }
    }

    async fn registry_digest(
        &self,
        reference: &str,
        platform: Option<&str>,
    ) -> Result<String, PullFault> {
        let docker = self.asking();
        let asked = tokio::time::timeout(REGISTRY, docker.inspect_registry_image(reference, None));
        let answer = match asked.await {
            Ok(answer) => answer.map_err(|error| pull_fault(&error))?,
            Err(_) => return Err(network(format!("no answer within {} s", REGISTRY.as_secs()))),
        };
        if let Some(wanted) = platform
            && !answer.platforms.is_empty()
            && !answer.platforms.iter().any(|offered| matches_platform(offered, wanted))
        {
            return Err(PullFault {
                reason: PullReason::NoPlatform,
                message: format!("{reference} is not offered for {wanted}"),
                retry_after_ms: None,
            });
        }
        let digest = answer.descriptor.digest;
        digest.ok_or_else(|| {
            pull_fault(&ClientError::DockerStreamError {
                error: format!("the registry gave no digest for {reference}"),
            })
        })
    }
}

fn local_pin(reference: &str, parsed: &Reference, image: &ImageInspect) -> ImagePin {
    let repo_digests = image.repo_digests.as_deref().unwrap_or_default();
    let digest = repo_digests.iter().find_map(|digest| parsed.digest_in(digest));
    ImagePin {
        reference: reference.to_owned(),
        digest: digest.map_or_else(|| image.id.clone().unwrap_or_default(), str::to_owned),
        local: digest.is_none(),
    }
}

fn certain(pin: ImagePin) -> ResolvedImage {
    ResolvedImage { pin, warning: None }
}

fn network(message: String) -> PullFault {
    PullFault { reason: PullReason::Network, message, retry_after_ms: None }
}

pub(super) fn absent(reference: &str) -> PullFault {
    PullFault {
        reason: PullReason::NotFound,
        message: format!("{reference} is not on this node and may not be pulled"),
        retry_after_ms: None,
    }
}

/// Whether an offered platform serves `os/arch[/variant]`. A wish without a variant takes any.
fn matches_platform(offered: &OciPlatform, wanted: &str) -> bool {
    let mut wanted = wanted.split('/');
    let fits = |offered: &Option<String>, wanted: Option<&str>| {
        wanted.is_none_or(|wanted| offered.as_deref().is_none_or(|offered| offered == wanted))
    };
    fits(&offered.os, wanted.next())
        && fits(&offered.architecture, wanted.next())
        && fits(&offered.variant, wanted.next())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn platforms_match_part_by_part() {
        let arm = OciPlatform {
            os: Some("linux".to_owned()),
            architecture: Some("arm".to_owned()),
            variant: Some("v7".to_owned()),
            ..OciPlatform::default()
        };
        for (wanted, fits) in [
            ("linux/arm/v7", true),
            ("linux/arm", true),
            ("linux/arm/v6", false),
            ("linux/amd64", false),
        ] {
            assert_eq!(matches_platform(&arm, wanted), fits, "{wanted}");
        }
    }

    #[test]
    fn an_image_without_digest_of_its_repository_is_local() {
        let image = |repo_digests: &[&str]| ImageInspect {
            id: Some("sha256:id".to_owned()),
            repo_digests: Some(repo_digests.iter().map(|d| (*d).to_owned()).collect()),
            ..ImageInspect::default()
        };
        let parsed = Reference::parse("web:1");
        let pin = local_pin("web:1", &parsed, &image(&[]));
        assert_eq!((pin.digest.as_str(), pin.local), ("sha256:id", true));
        let pin = local_pin("web:1", &parsed, &image(&["other@sha256:aa", "web@sha256:bb"]));
        assert_eq!((pin.digest.as_str(), pin.local), ("sha256:bb", false));
    }
}
