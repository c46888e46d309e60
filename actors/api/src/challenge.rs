//! Which provider publishes the proof of a domain that is checked by DNS.

use jaco_model::spec::{Challenge, DeploymentSpec};
use jaco_model::{ErrorCode, Fault};

/// Gives routes without a named provider the only one that there is, of the deployment's own before
/// those of the configuration (`known`), and refuses names that nobody knows.
///
/// # Errors
/// `validation_failed` for the first such route.
pub(crate) fn resolve(spec: &mut DeploymentSpec, known: &[String]) -> Result<(), Fault> {
    let own: Vec<String> = spec.acme_dns.keys().cloned().collect();
    let all: Vec<String> = own.iter().chain(known).cloned().collect();
    for route in &mut spec.routes {
        let Challenge::Dns(name) = &mut route.challenge else { continue };
        let eligible = if name.is_empty() && !own.is_empty() { &own } else { &all };
        let message = match eligible.as_slice() {
            [] => "there is no DNS provider: name one under acme_dns in jaco.yaml or jacod.yaml"
                .to_owned(),
            [only] if name.is_empty() => {
                name.clone_from(only);
                continue;
            }
            _ if name.is_empty() => {
                let names = eligible.join(", ");
                format!("there are several DNS providers, write challenge: dns:<name> of {names}")
            }
            _ if all.contains(name) => continue,
            _ => format!("no DNS provider is called {name}; there are {}", all.join(", ")),
        };
        let message = format!("{} is to be proven by DNS, but {message}", route.domain);
        let fault = Fault::new(ErrorCode::ValidationFailed, message);
        return Err(fault.with("domain", &route.domain));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use jaco_model::DeploymentName;
    use jaco_model::spec::{DnsMethod, DnsProvider, RouteOptions, RouteSpec, TlsMode};
    use std::collections::{BTreeMap, BTreeSet};

    fn spec(provider: &str) -> DeploymentSpec {
        let route = RouteSpec {
            domain: "*.a.example".to_owned(),
            path: String::new(),
            target: None,
            tls: TlsMode::Auto,
            challenge: Challenge::Dns(provider.to_owned()),
            shared_with: BTreeSet::new(),
            options: RouteOptions::default(),
        };
        DeploymentSpec {
            name: DeploymentName::from("shop"),
            services: BTreeMap::new(),
            networks: BTreeMap::new(),
            volumes: BTreeMap::new(),
            history: None,
            routes: vec![route],
            acme_email: None,
            acme_dns: BTreeMap::new(),
            secrets: BTreeMap::new(),
        }
    }

    fn provider() -> DnsProvider {
        let url = "https://dns.example/hook".to_owned();
        DnsProvider::new(DnsMethod::Webhook { url, headers_secret: None })
    }

    #[test]
    fn a_provider_of_the_deployment_comes_first() {
        let known = ["a".to_owned(), "b".to_owned()];
        for (written, own, chosen) in [
            ("", &["mine"][..], Some("mine")),
            ("b", &["mine"], Some("b")),
            ("mine", &["mine"], Some("mine")),
            ("a", &["a"], Some("a")),
            ("", &["mine", "other"], None),
            ("c", &["mine"], None),
        ] {
            let mut spec = spec(written);
            spec.acme_dns = own.iter().map(|name| ((*name).to_owned(), provider())).collect();
            let result = resolve(&mut spec, &known);
            let wanted = chosen.map(|name| Challenge::Dns(name.to_owned()));
            assert_eq!(result.ok().map(|()| spec.routes[0].challenge.clone()), wanted, "{written}");
        }
    }

    #[test]
    fn a_provider_is_known_or_the_only_one() {
        let resolved = |provider: &str, known: &[&str]| {
            let mut spec = spec(provider);
            let known: Vec<String> = known.iter().map(|name| (*name).to_owned()).collect();
            resolve(&mut spec, &known).map_err(|fault| fault.message.clone())?;
            match &spec.routes[0].challenge {
                Challenge::Dns(name) => Ok(name.clone()),
                Challenge::Http => Err(String::new()),
            }
        };
        assert_eq!(resolved("", &["zone"]), Ok("zone".to_owned()));
        assert_eq!(resolved("b", &["a", "b"]), Ok("b".to_owned()));
        for (provider, known, part) in [
            ("", &[][..], "there is no DNS provider"),
            ("", &["a", "b"], "dns:<name> of a, b"),
            ("c", &["a", "b"], "no DNS provider is called c"),
            ("c", &[], "acme_dns in jaco.yaml or jacod.yaml"),
        ] {
            let message = resolved(provider, known).unwrap_err();
            assert!(message.contains(part), "{message}");
        }
    }
}
