//! What can stop a request of a known route before it reaches a replica.

use super::answer::Refusal;
use super::pipeline::{Visit, contains, text};
use hyper::body::Incoming;
use hyper::header::{CONTENT_LENGTH, HeaderMap, HeaderValue, RETRY_AFTER, WWW_AUTHENTICATE};
use hyper::{Request, StatusCode};
use jaco_ingress_core::Route;
use jaco_model::spec::{RateKey, TlsMode};

impl Visit {
    /// To HTTPS, when there is a certificate.
    pub(super) fn secure(&self, route: &Route, request: &Request<Incoming>) -> Result<(), Refusal> {
        let (spec, options) = (&route.spec, &route.spec.options);
        if self.is_tls() || spec.tls == TlsMode::Off {
            return Ok(());
        }
        if !self.shared().certificates.has(&spec.domain) {
            if options.tls_pending_refuse {
                return Err(Refusal::unavailable("tls_pending", 5));
            }
            return Ok(());
        }
        if options.https_redirect {
            let path = request.uri().path_and_query().map_or("/", |path| path.as_str());
            let to = format!("https://{}{path}", self.host);
            return Err(Refusal::redirect(StatusCode::PERMANENT_REDIRECT, &to));
        }
        Ok(())
    }

    /// Addresses, rate, password.
    pub(super) async fn admit(&self, route: &Route, headers: &HeaderMap) -> Result<(), Refusal> {
        let options = &route.spec.options;
        let is_denied = contains(&options.ip_deny, self.client)
            || !(options.ip_allow.is_empty() || contains(&options.ip_allow, self.client));
        if is_denied {
            return Err(Refusal::new(StatusCode::FORBIDDEN, "denied"));
        }
        if let Some(limit) = &options.rate_limit {
            let who = match &limit.key {
                RateKey::Ip => self.client.to_string(),
                RateKey::Header(name) => text(headers, name).to_owned(),
                RateKey::Route => String::new(),
            };
            let key = format!("{}{} {who}", route.spec.domain, route.spec.path);
            let now = self.shared().config.clock.mono();
            if let Err(wait) = self.shared().limits.take(limit, key, now) {
                let secs = wait.as_secs() + 1;
                let refusal = Refusal::new(StatusCode::TOO_MANY_REQUESTS, "rate_limited");
                return Err(refusal.with(RETRY_AFTER, secs.into()));
            }
        }
        if let Some(auth) = &options.basic_auth
            && !self.shared().passwords.pass(auth, headers).await
        {
            let realm = auth.realm.replace(['"', '\\'], "");
            let mut refusal = Refusal::new(StatusCode::UNAUTHORIZED, "auth");
            let value = format!("Basic realm=\"{realm}\", charset=\"UTF-8\"");
            if let Ok(value) = HeaderValue::from_str(&value) {
                refusal = refusal.with(WWW_AUTHENTICATE, value);
            }
            return Err(refusal);
        }
        Ok(())
    }

    /// Maintenance, redirect, size.
    pub(super) fn divert(
        &self,
        route: &Route,
        request: &Request<Incoming>,
        path: &str,
    ) -> Result<(), Refusal> {
        let options = &route.spec.options;
        if let Some(maintenance) = &options.maintenance
            && !contains(&maintenance.allow, self.client)
        {
            let status = StatusCode::from_u16(maintenance.status);
            let status = status.unwrap_or(StatusCode::SERVICE_UNAVAILABLE);
            let wait = maintenance.retry_after.std().as_secs();
            let refusal = Refusal::new(status, "maintenance").with(RETRY_AFTER, wait.into());
            return Err(match &maintenance.body {
                Some(body) => refusal.saying(body.clone()),
                None => refusal,
            });
        }
        if let Some(redirect) = &options.redirect {
            let rest = path.strip_prefix(&route.spec.path).unwrap_or(path);
            let mut to = redirect
                .to
                .replace("{host}", &self.host)
                .replace("{path}", path)
                .replace("{scheme}", self.scheme());
            if redirect.keep_path {
                to = format!("{}{rest}", to.trim_end_matches('/'));
            }
            if let Some(query) = request.uri().query().filter(|_| redirect.keep_query) {
                to = format!("{to}?{query}");
            }
            let status = StatusCode::from_u16(redirect.status).unwrap_or(StatusCode::FOUND);
            return Err(Refusal::redirect(status, &to));
        }
        let length = text(request.headers(), CONTENT_LENGTH.as_str()).parse::<u64>().ok();
        if options.body_limit.zip(length).is_some_and(|(limit, length)| length > limit) {
            return Err(Refusal::new(StatusCode::PAYLOAD_TOO_LARGE, "body_limit"));
        }
        Ok(())
    }
}
